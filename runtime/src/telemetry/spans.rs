//! The spans of attempts and requests: their parents, ids, links and ends.

use std::time::Duration;

use callboard_broker::clock::Millis;
use callboard_broker::task::{Entry, Record, Task};
use callboard_broker::tasks::Lease;
use callboard_broker::trace::TraceContext;
use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::setup::tracer;
use super::{By, ids, meters, names};

/// Starts the span of an attempt: below whoever delegated or submitted the task, linked to the attempt before. Gives the
/// context of what the attempt asks and delegates.
pub(crate) fn attempt(span: &Span, lease: &Lease, by: &By<'_>, now: Millis) -> Option<TraceContext> {
    let (task, log) = (&lease.task, begun(&lease.log));
    let (claims, is_takeover) = (claims(&log), is_takeover(&log));
    let waited = (claims == 0).then(|| Duration::from_millis(now.saturating_sub(task.created_at)));
    meters::begun(by.node, task.capability.as_str(), waited, is_takeover);
    // Never below what happens to be around: the pump that claimed it is nobody's caller.
    if span.set_parent(remote(task.traceparent)).is_err() {
        return task.traceparent;
    }
    let context =
        ids::chosen(ids::of_run(&task.run), ids::of_attempt(&task.id, claims), || own(span)).or(task.traceparent);
    if let Some(workflow) = workflow(task) {
        span.set_attribute(names::WORKFLOW, workflow);
    }
    if let (Some(before), Some(own)) = (claims.checked_sub(1), context) {
        if is_takeover {
            stand_in(task, &log.0, before, by, now);
        }
        let before = ids::of_attempt(&task.id, before);
        let flags = TraceFlags::new(own.flags());
        let before = SpanContext::new(TraceId::from_bytes(own.trace()), before, flags, true, TraceState::NONE);
        span.add_link_with_attributes(before, vec![KeyValue::new(names::LINK, names::ATTEMPT_BEFORE)]);
        span.set_attribute(names::TAKEOVER, is_takeover);
    }
    context
}

/// Tells the span of an attempt that was lost with its node: what it delegated names it as its parent, and nobody else is
/// left to tell of it. When it began is known only from its claim; the first claim of a task leaves no record.
fn stand_in(task: &Task, log: &[&Record], claims: usize, by: &By<'_>, now: Millis) {
    let Some(tracer) = tracer() else { return };
    let mut claims_back = log.iter().rev().filter_map(|record| match &record.entry {
        Entry::Claimed { attempt, node, .. } => Some((record.at, *attempt, Some(node))),
        _ => None,
    });
    let (began, attempt, node) = claims_back.nth(1).unwrap_or((task.created_at, 1, None));
    let mut of = vec![
        KeyValue::new("agent", by.agent.to_owned()),
        KeyValue::new("attempt", i64::from(attempt)),
        KeyValue::new("capability", task.capability.to_string()),
        KeyValue::new("run", task.run.to_string()),
        KeyValue::new("task", task.id.to_string()),
        KeyValue::new(names::OUTCOME, names::LOST),
        KeyValue::new(names::ERROR, names::LOST),
    ];
    of.extend(workflow(task).map(|name| KeyValue::new(names::WORKFLOW, name)));
    of.extend(node.map(|node| KeyValue::new("node", node.to_string())));
    let at = |ms: Millis| std::time::UNIX_EPOCH + Duration::from_millis(ms);
    let span = tracer.span_builder(names::ATTEMPT).with_start_time(at(began)).with_attributes(of);
    let (trace, id) = (ids::of_run(&task.run), ids::of_attempt(&task.id, claims));
    let mut span = ids::chosen(trace, id, || span.start_with_context(&tracer, &remote(task.traceparent)));
    span.set_status(Status::error(names::LOST));
    span.end_with_timestamp(at(now.max(began)));
}

/// Starts the span of a request, below the span of who asked. Gives the context of what the request asks.
pub(crate) fn request(span: &Span, came: Option<TraceContext>) -> Option<TraceContext> {
    match span.set_parent(remote(came)) {
        Ok(()) => own(span).or(came),
        Err(_) => came,
    }
}

/// The context of what is asked or delegated here and now, within a request of this context: that of the innermost span,
/// which may be one of the agent's own.
pub(crate) fn here(within: Option<TraceContext>) -> Option<TraceContext> {
    own(&Span::current()).or(within)
}

/// How the attempt or request of the current span ended, and the code of its error.
pub(crate) fn ended(how: &'static str, code: Option<&str>) {
    let span = Span::current();
    span.set_attribute(names::OUTCOME, how);
    if let Some(code) = code {
        span.set_attribute(names::ERROR, code.to_owned());
        span.set_status(Status::error(code.to_owned()));
    }
}

/// A log without the claims that were given back before anything was begun, as those of suspects are that may not run yet:
/// nothing was traced under them. And whether its first claim is on record; that of a task that nobody has given back
/// untouched is not, unless it is that of a version.
fn begun(log: &[Record]) -> (Vec<&Record>, bool) {
    let mut kept: Vec<&Record> = Vec::with_capacity(log.len());
    let mut first = None;
    for record in log {
        match &record.entry {
            Entry::Released { begun: false, .. } => {
                first.get_or_insert(true);
                if kept.last().is_some_and(|last| matches!(last.entry, Entry::Claimed { .. })) {
                    kept.pop();
                }
                continue;
            }
            Entry::Claimed { version, .. } => {
                first.get_or_insert(version.is_some());
            }
            Entry::Died { .. } | Entry::Released { .. } | Entry::Parked { .. } => {
                first.get_or_insert(false);
            }
            _ => {}
        }
        kept.push(record);
    }
    (kept, first.unwrap_or(false))
}

/// Whether the last claim of a log followed on one that nobody had given back: its node died, or was taken for dead.
fn is_takeover((log, first): &(Vec<&Record>, bool)) -> bool {
    let marks = log.iter().rev().map(|record| &record.entry);
    let mut marks = marks.filter(|entry| {
        matches!(entry, Entry::Claimed { .. } | Entry::Died { .. } | Entry::Released { .. } | Entry::Parked { .. })
    });
    let Some(Entry::Claimed { .. }) = marks.next() else { return false };
    match marks.next() {
        Some(Entry::Released { .. } | Entry::Parked { .. }) => false,
        Some(_) => true,
        None => !first,
    }
}

/// The name of the workflow that a task runs, if it does.
fn workflow(task: &Task) -> Option<String> {
    if names::operation(task.capability.as_str()) != names::WORKFLOW_RUN {
        return None;
    }
    let document: serde_json::Value = serde_json::from_str(task.input.json().ok()?).ok()?;
    document["name"].as_str().map(str::to_owned)
}

/// How many claims came before this one.
fn claims((log, first): &(Vec<&Record>, bool)) -> usize {
    let count = log.iter().filter(|record| matches!(record.entry, Entry::Claimed { .. })).count();
    count.saturating_sub(usize::from(*first))
}

fn own(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let span = context.span();
    let own = span.span_context();
    TraceContext::new(own.trace_id().to_bytes(), own.span_id().to_bytes(), own.trace_flags().to_u8())
}

fn remote(came: Option<TraceContext>) -> Context {
    let Some(came) = came else { return Context::new() };
    let (trace, span) = (TraceId::from_bytes(came.trace()), SpanId::from_bytes(came.span()));
    let parent = SpanContext::new(trace, span, TraceFlags::new(came.flags()), true, TraceState::NONE);
    Context::new().with_remote_span_context(parent)
}

#[cfg(test)]
mod tests {
    use callboard_broker::id::NodeName;
    use callboard_broker::task::Release;

    use super::*;

    fn log(kinds: &str) -> Vec<Record> {
        let node = NodeName::parse("n").unwrap();
        let entry = |kind| match kind {
            'c' => Entry::Claimed { attempt: 1, node: node.clone(), version: None },
            'r' => Entry::Released { reason: Release::Retry, error: None, not_before: 0, agent: None, begun: true },
            'p' => Entry::Parked { on: Vec::new() },
            'u' => Entry::Released { reason: Release::Drained, error: None, not_before: 0, agent: None, begun: false },
            'd' => Entry::Died { node: NodeName::parse("n").unwrap(), beside: 1, not_before: 0, again: false },
            _ => Entry::Step { name: "s".into(), value: callboard_broker::payload::Payload::null(), input: None },
        };
        kinds.chars().zip(1..).map(|(kind, n)| Record { n, at: 0, entry: entry(kind) }).collect()
    }

    #[test]
    fn a_takeover_is_a_claim_after_one_that_was_not_given_back() {
        for (kinds, claims_before, taken_over) in [
            ("", 0, false),
            ("s", 0, false),
            ("c", 1, true),
            ("sc", 1, true),
            ("rc", 1, false),
            ("pc", 1, false),
            ("rcssc", 2, true),
            ("uc", 0, false),
            ("dc", 1, true),
            ("dcuc", 1, true),
            ("rcuc", 1, false),
            ("dcucuc", 1, true),
        ] {
            let log = log(kinds);
            let log = begun(&log);
            assert_eq!((claims(&log), is_takeover(&log)), (claims_before, taken_over), "{kinds}");
        }
    }
}
