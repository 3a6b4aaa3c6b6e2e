//! Ids that follow from what a span is of.
//!
//! The attempt after a crash links to the one before it, whose span nobody has told it of: so the id of an attempt's span
//! is a hash of the task and of how many claims came before. And a run that nobody traced when it was submitted is still
//! one trace, because the id of that trace is a hash of the run.

use std::cell::Cell;

use callboard_broker::id::{RunId, TaskId};
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    static CHOSEN: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Random ids, but for a span that starts within [`chosen`].
#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        CHOSEN.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        CHOSEN.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Starts one span with these ids; the trace's is used only where there is no parent.
pub(super) fn chosen<T>(trace: TraceId, span: SpanId, start: impl FnOnce() -> T) -> T {
    CHOSEN.set(Some((trace, span)));
    let started = start();
    CHOSEN.set(None);
    started
}

/// The trace of a run that was submitted without one.
pub(super) fn of_run(run: &RunId) -> TraceId {
    let halves = [hash(&format!("callboard trace {run}")), hash(&format!("callboard trace {run} again"))];
    TraceId::from_bytes(std::array::from_fn(|n| halves[n / 8][n % 8]))
}

/// The span of the attempt that came after so many claims.
pub(super) fn of_attempt(task: &TaskId, claims: usize) -> SpanId {
    SpanId::from_bytes(hash(&format!("callboard attempt {task} {claims}")))
}

/// FNV-1a, mixed once more so that samplers, which look at the last bits, find them spread.
fn hash(text: &str) -> [u8; 8] {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Zero is no id.
    (hash ^ (hash >> 31)).max(1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_the_same_and_all_else_is_not() {
        let run = |n: u32| RunId::parse(&format!("run-{n}")).unwrap();
        let ids: std::collections::HashSet<_> = (0..1_000).map(|n| of_run(&run(n))).collect();
        assert_eq!(ids.len(), 1_000);
        assert_eq!(of_run(&run(7)), of_run(&run(7)));
        let task = TaskId::root(&run(1));
        assert_ne!(of_attempt(&task, 0), of_attempt(&task, 1));
        // Half of the runs fall to either side of a sampler of one half.
        let low = (0..1_000).filter(|n| of_run(&run(*n)).to_bytes()[8] < 0x80).count();
        assert!((400..600).contains(&low), "{low}");
    }
}
