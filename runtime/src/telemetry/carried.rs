//! Nothing is traced: a context that came is passed on.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::clock::Millis;
use callboard_broker::tasks::Lease;
use callboard_broker::trace::TraceContext;
use tracing::Span;

use super::By;
use crate::node::Inner;

/// The context of what an attempt asks and delegates.
pub(crate) fn attempt(_span: &Span, lease: &Lease, _by: &By<'_>, _now: Millis) -> Option<TraceContext> {
    lease.task.traceparent
}

/// The context of what a request asks.
pub(crate) fn request(_span: &Span, came: Option<TraceContext>) -> Option<TraceContext> {
    came
}

/// The context of what is asked or delegated here and now, within a request of this context.
pub(crate) fn here(within: Option<TraceContext>) -> Option<TraceContext> {
    within
}

/// How an attempt or request ended, and the code of its error.
pub(crate) fn ended(_how: &'static str, _code: Option<&str>) {}

/// The telemetry of a program whose node is built from its arguments: there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program(());

impl Program {
    pub(crate) fn begin() -> Self {
        Self(())
    }

    pub(crate) async fn end(&self) {}
}

/// A handler has ended.
pub(crate) fn worked(_by: &By<'_>, _how: &'static str, _code: Option<&str>, _took: Duration) {}

/// A slow reader was passed over so many broadcasts.
pub(crate) fn missed(_node: &str, _broadcasts: u64) {}

/// Watches a node that has started: here nobody does.
pub(crate) fn watch(_node: &Arc<Inner>) {}

/// Counts nothing.
pub(crate) fn modelled(_node: &str, _call: &callboard_agents::llm::ModelCall<'_>) {}
