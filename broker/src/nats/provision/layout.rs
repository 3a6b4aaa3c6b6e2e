//! What the broker's streams look like: pure, so that what is made and what is read back are compared with one text.

use serde_json::{Value, json};

use crate::nats::names;
use crate::subject::CapabilityName;
use crate::task::Priority;
use crate::tasks::LEASE;

/// How the streams are made.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Copies of each stream: 1, or 3 or 5 in a cluster. Default 1.
    pub replicas: u32,
    /// Unfinished tasks that fit before `submit` answers `Busy`. Default 1,000,000.
    pub max_tasks: u64,
    /// Bytes of unfinished tasks that fit. Default 1 GiB.
    pub max_task_bytes: u64,
    /// Days that facts are kept. Default 30; 0: for ever.
    pub event_days: u64,
    /// Dead letters that are kept. Default 100,000.
    pub max_dead: u64,
    /// Changes of one key that its history holds. Default 1,000,000.
    pub max_history: u64,
    /// Days that large bodies are kept. Default 30; 0: for ever.
    pub blob_days: u64,
    /// Bytes of large bodies that fit. Default 2 GiB.
    pub max_blob_bytes: u64,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            replicas: 1,
            max_tasks: 1_000_000,
            max_task_bytes: 1 << 30,
            event_days: 30,
            max_dead: 100_000,
            max_history: 1_000_000,
            blob_days: 30,
            max_blob_bytes: 2 << 30,
        }
    }
}

/// Kinds of records from which a fact follows, with the fact's token.
const FACTS: [(&str, &str); 8] = [
    ("submitted", "task_created"),
    ("started", "task_started"),
    ("claimed", "task_started"),
    ("completed", "task_completed"),
    ("failed", "task_failed"),
    ("cancelled", "task_cancelled"),
    ("expired", "task_expired"),
    ("skipped", "task_skipped"),
];
/// How long presence outlives its last sign of life.
pub(crate) const PRESENCE_TTL: std::time::Duration = std::time::Duration::from_secs(2);
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;
/// The window in which the server drops a message that was sent twice.
const DUPLICATES_NS: u64 = 120_000_000_000;

impl Layout {
    /// All streams, in an order in which each finds those that it takes from.
    pub(crate) fn streams(&self) -> Vec<Value> {
        vec![
            self.tasks(),
            self.runs(),
            self.state(),
            self.events(),
            self.dead(),
            self.nodes(),
            self.shared(),
            self.blobs(),
        ]
    }

    fn stream(&self, name: &str, subjects: &[&str], more: Value) -> Value {
        let mut config = json!({
            "name": name,
            "subjects": subjects,
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "num_replicas": self.replicas,
            "allow_direct": true,
            "duplicate_window": DUPLICATES_NS,
        });
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
            config.extend(more);
        }
        config
    }

    fn tasks(&self) -> Value {
        let more = json!({
            "retention": "workqueue",
            "discard": "new",
            "discard_new_per_subject": true,
            "max_msgs_per_subject": 1,
            "max_msgs": self.max_tasks,
            "max_bytes": self.max_task_bytes,
        });
        // By name, so that a task of a priority that nobody pulls is refused and does not wait for ever.
        let subjects = names::PRIORITIES.map(|urgency| format!("cb.v1.task.*.{}.*", names::priority(urgency)));
        self.stream(names::TASKS, &subjects.each_ref().map(String::as_str), more)
    }

    fn runs(&self) -> Value {
        let republish = json!({ "src": "cb.v1.run.*.*.*", "dest": "cb.v1.done.$1.$2.$3", "headers_only": true });
        // Retention is by run, so nothing may push an old record out.
        self.stream(names::RUNS, &["cb.v1.run.*.*.*"], json!({ "discard": "new", "republish": republish }))
    }

    fn state(&self) -> Value {
        let more = json!({
            "discard": "new",
            "max_msgs_per_subject": self.max_history,
            "allow_rollup_hdrs": true,
            "deny_delete": true,
            "republish": { "src": "$KV.cb_state.>", "dest": "cb.v1.changed.>", "headers_only": true },
        });
        self.stream(names::STATE, &["$KV.cb_state.>"], more)
    }

    fn events(&self) -> Value {
        let derived: Vec<Value> = FACTS
            .iter()
            .map(|(kind, fact)| {
                json!({ "src": format!("cb.v1.run.*.*.{kind}"), "dest": format!("cb.v1.event.{fact}.$1") })
            })
            .collect();
        let result = json!({ "src": "cb.v1.run.*.*.completed", "dest": "cb.v1.event.context_updated.$1" });
        let state = json!({ "src": "$KV.cb_state.>", "dest": "cb.v1.event.context_updated.>" });
        let sources = json!([
            { "name": names::RUNS, "subject_transforms": derived },
            { "name": names::RUNS, "subject_transforms": [result] },
            { "name": names::STATE, "subject_transforms": [state] },
        ]);
        let republish = json!({ "src": "cb.v1.event.>", "dest": "cb.v1.told.>", "headers_only": true });
        let more = json!({
            "max_age": self.event_days * DAY_NS,
            "compression": "s2",
            "sources": sources,
            "republish": republish,
        });
        self.stream(names::EVENTS, &["cb.v1.event.>"], more)
    }

    fn dead(&self) -> Value {
        self.stream(names::DEAD, &["cb.v1.dead.*.*.*"], json!({ "max_msgs": self.max_dead, "discard": "new" }))
    }

    fn nodes(&self) -> Value {
        let ttl = u64::try_from(PRESENCE_TTL.as_nanos()).unwrap_or(u64::MAX);
        // The server lifts a shorter lifetime of an entry to that of its marker, so both are the same.
        let more = json!({
            "storage": "memory",
            "max_msgs_per_subject": 1,
            "max_age": ttl,
            "allow_rollup_hdrs": true,
            "allow_msg_ttl": true,
            "subject_delete_marker_ttl": 1_000_000_000_u64,
            "duplicate_window": ttl,
        });
        self.stream(names::NODES, &["$KV.cb_nodes.>"], more)
    }

    fn shared(&self) -> Value {
        // What a node serves goes by its age, and what people set does not; nothing marks what went.
        let more = json!({ "max_msgs_per_subject": 1, "allow_rollup_hdrs": true, "allow_msg_ttl": true });
        self.stream(names::SHARED, &["$KV.cb_shared.>"], more)
    }

    fn blobs(&self) -> Value {
        let more = json!({
            "discard": "new",
            "max_age": self.blob_days * DAY_NS,
            "max_bytes": self.max_blob_bytes,
            "allow_rollup_hdrs": true,
        });
        self.stream(names::BLOBS, &["$O.cb_blobs.C.>", "$O.cb_blobs.M.>"], more)
    }
}

/// The consumer that hands each outcome to one node, which wakes the task that was laid aside for it.
pub(crate) fn join() -> Value {
    let ended = ["completed", "failed", "cancelled", "expired", "skipped"];
    let ended: Vec<String> = ended.iter().map(|status| format!("cb.v1.run.*.*.{status}")).collect();
    json!({
        "name": names::JOIN,
        "durable_name": names::JOIN,
        "filter_subjects": ended,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "ack_wait": u64::try_from(LEASE.as_nanos()).unwrap_or(u64::MAX),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": 4_096,
    })
}

/// What of a stream is its operator's choice.
fn bounds(stream: &Value) -> impl Iterator<Item = &'static str> + use<> {
    // In the queue it is no bound: one message a task is what makes a submission known.
    let each = (stream["retention"] != "workqueue").then_some("max_msgs_per_subject");
    ["num_replicas", "max_msgs", "max_bytes", "max_age", "duplicate_window", "compression"].into_iter().chain(each)
}

/// A stream without its bounds.
pub(crate) fn without_bounds(mut stream: Value) -> Value {
    for bound in bounds(&stream) {
        stream.as_object_mut().and_then(|config| config.remove(bound));
    }
    stream
}

/// Which bounds of a layout were asked for by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// How many copies.
    pub replicas: bool,
    /// How long facts are kept.
    pub event_days: bool,
}

/// A stream that is there already as `found`, with the bounds that it has where no others were asked for.
pub(crate) fn keeping(mut stream: Value, found: &Value, asked: Asked) -> Value {
    let is_events = stream["name"] == names::EVENTS;
    for bound in bounds(&stream) {
        let is_asked = match bound {
            "num_replicas" => asked.replicas,
            "max_age" => asked.event_days && is_events,
            // Below zero, or none: without bound.
            "max_bytes" => found[bound].as_i64().is_some_and(|has| has > 0 && stream[bound].as_i64() > Some(has)),
            _ => false,
        };
        let Some(config) = stream.as_object_mut().filter(|_| !is_asked) else { continue };
        match &found[bound] {
            // What the server leaves out is its zero.
            Value::Null => drop(config.remove(bound)),
            has => drop(config.insert(bound.to_owned(), has.clone())),
        }
    }
    stream
}

/// A stream in memory: gone when the server restarts, and then made again by the nodes.
pub(crate) fn in_memory(stream: &str) -> bool {
    stream == names::NODES
}

/// The consumer from which the tasks of one priority of a capability are pulled.
pub(crate) fn consumer(capability: &CapabilityName, urgency: Priority) -> Value {
    let ack_wait = u64::try_from(LEASE.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "name": names::consumer(capability, urgency),
        "durable_name": names::consumer(capability, urgency),
        "filter_subject": names::consumer_filter(capability, urgency),
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "ack_wait": ack_wait,
        // Slots and records are the limits: a server that counted too would hold back what a node could do.
        "max_deliver": -1,
        "max_ack_pending": -1,
        "max_waiting": 4_096,
    })
}
