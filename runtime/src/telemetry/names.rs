//! Every name that a collector sees. The `gen_ai` ones are those of OpenTelemetry's conventions for generative AI, which
//! are still in development; when they change, they change here.
//!
//! In the program spans and fields have short names, because log lines show them too. They are renamed on their way out.

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Array, Key, KeyValue, Value};
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

/// What the call of a model does, in the words of the conventions.
pub(super) const CHAT: &str = "chat";
/// The name of such a call's span within the program.
const MODEL_CALL: &str = "model.chat";
/// What the call of a tool does, in the words of the conventions.
const EXECUTE: &str = "execute_tool";
/// The name of such a call's span within the program.
const TOOL_CALL: &str = "tool.call";
const FINISH: &str = "gen_ai.response.finish_reasons";
pub(super) const PROVIDER: &str = "gen_ai.provider.name";
pub(super) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(super) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(super) const TOKEN_TYPE: &str = "gen_ai.token.type";
/// Attribute: for which role a model was asked.
pub(super) const ROLE: &str = "callboard.role";

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
pub const METRICS: [Metric; 25] = [
    DURATION,
    WAIT,
    TAKEOVERS,
    REFUSED,
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
    MODEL_DURATION,
    MODEL_FIRST,
    MODEL_TOKENS,
    MODEL_COST,
    CACHE_HITS,
    CACHE_MISSES,
    CACHE_TOKENS,
    CACHE_COST,
];

const fn metric(name: &'static str, unit: &'static str, about: &'static str) -> Metric {
    Metric { name, unit, about }
}

pub(super) const DURATION: Metric = metric("gen_ai.invoke_agent.duration", "s", "How long agents worked.");
pub(super) const WAIT: Metric = metric("callboard.task.wait", "s", "The age of tasks when their first attempt began.");
pub(super) const TAKEOVERS: Metric =
    metric("callboard.task.takeovers", "{attempt}", "Attempts that took over from one that was lost with its node.");
pub(super) const REFUSED: Metric = metric(
    "callboard.task.refused",
    "{write}",
    "Writes of attempts that were refused because another attempt had taken over.",
);
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
pub(super) const MODEL_DURATION: Metric =
    metric("gen_ai.client.operation.duration", "s", "How long calls of language models took.");
pub(super) const MODEL_FIRST: Metric = metric(
    "gen_ai.client.operation.time_to_first_chunk",
    "s",
    "How long it took until a language model began to answer.",
);
pub(super) const MODEL_TOKENS: Metric =
    metric("gen_ai.client.token.usage", "{token}", "Tokens of calls of language models.");
pub(super) const MODEL_COST: Metric = metric(
    "callboard.model.cost",
    "{micro}",
    "What calls of language models cost, in millionths of what prices are in.",
);

pub(super) const CACHE_HITS: Metric =
    metric("callboard.model.cache.hits", "{answer}", "Answers of language models that were there from before.");
pub(super) const CACHE_MISSES: Metric = metric(
    "callboard.model.cache.misses",
    "{answer}",
    "Answers of language models that might have been there and had to be asked for.",
);
pub(super) const CACHE_TOKENS: Metric =
    metric("callboard.model.cache.saved_tokens", "{token}", "Tokens that answers from before did not use again.");
pub(super) const CACHE_COST: Metric = metric(
    "callboard.model.cache.saved_cost",
    "{micro}",
    "What answers from before did not cost again, in millionths of what prices are in.",
);

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

/// Fields of the span of a model's call, and what they are called outside.
const MODEL_FIELDS: [(&str, &str); 11] = [
    ("answered_by", RESPONSE_MODEL),
    ("code", ERROR),
    ("finish", FINISH),
    ("first_s", "gen_ai.response.time_to_first_chunk"),
    ("input_tokens", "gen_ai.usage.input_tokens"),
    ("max_tokens", "gen_ai.request.max_tokens"),
    ("model", REQUEST_MODEL),
    ("output_tokens", "gen_ai.usage.output_tokens"),
    ("provider", PROVIDER),
    ("role", ROLE),
    ("temperature", "gen_ai.request.temperature"),
];

/// The span of a model's call: `chat MODEL`.
fn rename_chat(span: &mut SpanData) {
    let model = span.attributes.iter().find(|one| one.key.as_str() == "model").map(|one| one.value.to_string());
    // Where another stood in, the provider is that of whoever answered.
    let from = span.attributes.iter().position(|one| one.key.as_str() == "answered_from");
    let from = from.map(|at| span.attributes.remove(at).value);
    for attribute in &mut span.attributes {
        if let Some((_, name)) = MODEL_FIELDS.iter().find(|(field, _)| *field == attribute.key.as_str()) {
            attribute.key = Key::from_static_str(name);
        }
        match (attribute.key.as_str(), &from) {
            (PROVIDER, Some(from)) => attribute.value = from.clone(),
            (FINISH, _) => {
                let reason = attribute.value.as_str().into_owned();
                attribute.value = Value::Array(Array::String(vec![reason.into()]));
            }
            _ => {}
        }
    }
    if let Some(error) = span.attributes.iter().find(|one| one.key.as_str() == ERROR) {
        span.status = Status::error(error.value.to_string());
    }
    span.name = format!("{CHAT} {}", model.unwrap_or_default()).trim_end().to_owned().into();
    span.span_kind = SpanKind::Client;
    span.attributes.push(KeyValue::new(OPERATION, CHAT));
}

/// Fields of the span of a tool's call, and what they are called outside.
const TOOL_FIELDS: [(&str, &str); 3] = [("code", ERROR), ("does", "callboard.tool.does"), ("tool", "gen_ai.tool.name")];

/// The span of a tool's call: `execute_tool NAME`.
fn rename_tool(span: &mut SpanData) {
    let tool = span.attributes.iter().find(|one| one.key.as_str() == "tool").map(|one| one.value.to_string());
    for attribute in &mut span.attributes {
        if let Some((_, name)) = TOOL_FIELDS.iter().find(|(field, _)| *field == attribute.key.as_str()) {
            attribute.key = Key::from_static_str(name);
        }
    }
    if let Some(error) = span.attributes.iter().find(|one| one.key.as_str() == ERROR) {
        span.status = Status::error(error.value.to_string());
    }
    span.name = format!("{EXECUTE} {}", tool.unwrap_or_default()).trim_end().to_owned().into();
    span.attributes.push(KeyValue::new(OPERATION, EXECUTE));
}

/// Gives a span of ours its name outside; anybody else's stays as it is.
pub(super) fn rename(span: &mut SpanData) {
    let kind = match &*span.name {
        MODEL_CALL => return rename_chat(span),
        TOOL_CALL => return rename_tool(span),
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
