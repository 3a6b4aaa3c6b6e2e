//! Every name that a collector sees. The `gen_ai` ones are those of OpenTelemetry's conventions for generative AI, which
//! are still in development; when they change, they change here.
//!
//! In the program spans and fields have short names, because log lines show them too. They are renamed on their way out.

use opentelemetry::trace::SpanKind;
use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

/// What makes spans and metrics.
pub(super) const SCOPE: &str = "callboard";

/// Attribute: how it ended.
pub(super) const OUTCOME: &str = "callboard.outcome";
/// Attribute: the code of the error it ended with.
pub(super) const ERROR: &str = "error.type";
/// Attribute of an attempt after the first: whether the one before it was lost with its node.
pub(super) const TAKEOVER: &str = "callboard.takeover";
/// Attribute of a link: what it leads to.
pub(super) const LINK: &str = "callboard.link";
/// The name of an attempt's span within the program.
pub(super) const ATTEMPT: &str = "agent.task";
/// Outcome of an attempt whose node was lost.
pub(super) const LOST: &str = "lost";
/// Outcome of an attempt that was taken for lost, and replaced.
pub(super) const REPLACED: &str = "replaced";
/// The attempt before.
pub(super) const ATTEMPT_BEFORE: &str = "attempt_before";
/// Attribute of a workflow's span: its name.
pub(super) const WORKFLOW: &str = "gen_ai.workflow.name";
pub(super) const OPERATION: &str = "gen_ai.operation.name";
const CONVERSATION: &str = "gen_ai.conversation.id";
pub(super) const AGENT: &str = "gen_ai.agent.name";
pub(super) const CAPABILITY: &str = "callboard.capability";
pub(super) const NODE: &str = "callboard.node";

/// Attribute of metrics: whether it was a task or a message.
pub(super) const KIND: &str = "callboard.kind";
/// Attribute of metrics: a child's path in the tree.
pub(super) const CHILD: &str = "callboard.child";
/// Attribute of metrics: why a dead letter is one.
pub(super) const REASON: &str = "callboard.reason";

/// A metric as a collector sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is counted in: `s`, or one of something in braces.
    pub unit: &'static str,
    /// What it says.
    pub about: &'static str,
}

/// All metrics of a node.
pub const METRICS: [Metric; 16] = [
    DURATION,
    WAIT,
    TAKEOVERS,
    PENDING,
    IN_PROGRESS,
    RUNNING,
    SLOTS,
    PANICS,
    WAITING,
    BUSY,
    MISSED,
    RESTARTS,
    GAVE_UP,
    DEAD,
    FRAMES,
    GAPS,
];

const fn metric(name: &'static str, unit: &'static str, about: &'static str) -> Metric {
    Metric { name, unit, about }
}

pub(super) const DURATION: Metric = metric("gen_ai.invoke_agent.duration", "s", "How long agents worked.");
pub(super) const WAIT: Metric = metric("callboard.task.wait", "s", "The age of tasks when their first attempt began.");
pub(super) const TAKEOVERS: Metric =
    metric("callboard.task.takeovers", "{attempt}", "Attempts that took over from one that was lost with its node.");
pub(super) const PENDING: Metric = metric("callboard.task.pending", "{task}", "Tasks that wait, on the whole broker.");
pub(super) const IN_PROGRESS: Metric =
    metric("callboard.task.in_progress", "{task}", "Tasks that are claimed, on the whole broker.");
pub(super) const RUNNING: Metric =
    metric("callboard.agent.running", "{request}", "Tasks and messages at work, waiting parents included.");
pub(super) const SLOTS: Metric = metric("callboard.agent.slots", "{slot}", "How much may be at work at once.");
pub(super) const WAITING: Metric = metric("callboard.message.waiting", "{message}", "Messages that wait to be taken.");
pub(super) const BUSY: Metric =
    metric("callboard.message.refused", "{message}", "Messages that were refused because the queue was full.");
pub(super) const MISSED: Metric =
    metric("callboard.broadcast.missed", "{message}", "Broadcasts that passed over a reader who was too slow.");
pub(super) const PANICS: Metric = metric("callboard.agent.panics", "{panic}", "Handlers that panicked.");
pub(super) const RESTARTS: Metric = metric("callboard.tree.restarts", "{restart}", "Children that are started again.");
pub(super) const GAVE_UP: Metric =
    metric("callboard.tree.gave_up", "{supervisor}", "Children with whose exit a supervisor gave up.");
pub(super) const DEAD: Metric = metric("callboard.dead_letters", "{letter}", "Dead letters that this process kept.");
pub(super) const FRAMES: Metric = metric("callboard.lane.frames", "{frame}", "Frames taken from other nodes.");
pub(super) const GAPS: Metric =
    metric("callboard.lane.gaps", "{frame}", "Frames that were missing when a later one came; they are sent again.");

/// What the agent of a workflow does.
pub(super) const WORKFLOW_RUN: &str = "invoke_workflow";

/// What an agent of a capability does, in the words of the conventions.
pub(super) fn operation(capability: &str) -> &'static str {
    if capability == "workflow" { WORKFLOW_RUN } else { "invoke_agent" }
}

/// Fields of our spans, and what they are called outside.
const FIELDS: [(&str, &str); 7] = [
    ("agent", AGENT),
    ("attempt", "callboard.attempt"),
    ("capability", CAPABILITY),
    ("from", "callboard.from"),
    ("node", NODE),
    ("run", "callboard.run"),
    ("task", "callboard.task"),
];

/// Gives a span of ours its name outside; anybody else's stays as it is.
pub(super) fn rename(span: &mut SpanData) {
    let kind = match &*span.name {
        ATTEMPT => SpanKind::Consumer,
        "agent.request" => SpanKind::Server,
        _ => return,
    };
    for attribute in &mut span.attributes {
        if let Some((_, name)) = FIELDS.iter().find(|(field, _)| *field == attribute.key.as_str()) {
            attribute.key = Key::from_static_str(name);
        }
    }
    let value = |name: &str| span.attributes.iter().find(|one| one.key.as_str() == name).map(|one| one.value.clone());
    let text = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
    let operation = operation(&text(value(CAPABILITY)));
    let of = text(value(if operation == WORKFLOW_RUN { WORKFLOW } else { AGENT }));
    let run = value("callboard.run").map(|run| KeyValue::new(CONVERSATION, run));
    span.name = format!("{operation} {of}").trim_end().to_owned().into();
    span.span_kind = kind;
    span.attributes.extend(run.into_iter().chain([KeyValue::new(OPERATION, operation)]));
}

/// Whether a span of ours is told by somebody else: by the attempt that took over from it.
pub(super) fn is_replaced(span: &SpanData) -> bool {
    let outcome = span.attributes.iter().find(|one| one.key.as_str() == OUTCOME);
    outcome.is_some_and(|outcome| outcome.value.as_str() == REPLACED)
}
