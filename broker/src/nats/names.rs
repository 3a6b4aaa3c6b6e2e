//! Streams, buckets and subjects on the wire, each spelled once.
//!
//! The verb comes first and the version second; a name that comes from outside has passed
//! [`subject`](crate::subject) before it gets here. The tenant is the server's account, never a token.

use crate::blobs::Hash;
use crate::id::{NodeName, RunId, TaskId};
use crate::subject::CapabilityName;
use crate::task::Priority;

/// Queued tasks: one message per task.
pub const TASKS: &str = "CB_TASKS";
/// All that happened to tasks.
pub const RUNS: &str = "CB_RUNS";
/// Facts, derived by the server from the other streams or published.
pub const EVENTS: &str = "CB_EVENTS";
/// What came to nothing.
pub const DEAD: &str = "CB_DEAD";
/// The stream under the bucket of shared state.
pub const STATE: &str = "KV_cb_state";
/// The stream under the bucket of nodes that are present. Gone with the server.
pub const NODES: &str = "KV_cb_nodes";
/// The stream under the bucket of what nodes share: who serves what, settings of pools.
pub const SHARED: &str = "KV_cb_shared";

/// Everything in a stream. The server counts it without a look at each subject, which it needs for any other wildcard.
pub const ALL: &str = ">";

/// The bucket of shared state.
pub const STATE_BUCKET: &str = "cb_state";
/// The bucket of nodes that are present.
pub const NODES_BUCKET: &str = "cb_nodes";
/// The bucket of what nodes share.
pub const SHARED_BUCKET: &str = "cb_shared";
/// The object store of bodies that are too large for a message.
pub const BLOBS_BUCKET: &str = "cb_blobs";

/// The stream under the object store of large bodies.
pub const BLOBS: &str = "OBJ_cb_blobs";

/// The consumer of outcomes that wakes parked tasks.
pub const JOIN: &str = "join";
/// The parked tasks.
pub const PARKED: &str = "cb.v1.run.*.*.parked";

/// The priorities, the most urgent first.
pub const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Bulk];

/// A priority as a token.
pub fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Bulk => "bulk",
    }
}

/// Where a task is queued.
pub fn task(capability: &CapabilityName, urgency: Priority, task: &TaskId) -> String {
    format!("cb.v1.task.{}.{}.{task}", capability.to_token(), priority(urgency))
}

/// Where a task is queued, whatever its capability and priority.
pub fn task_anywhere(task: &TaskId) -> String {
    format!("cb.v1.task.*.*.{task}")
}

/// The consumer of one priority of a capability.
pub fn consumer(capability: &CapabilityName, urgency: Priority) -> String {
    format!("cap-{}-{}", capability.to_token(), priority(urgency))
}

/// What that consumer gets.
pub fn consumer_filter(capability: &CapabilityName, urgency: Priority) -> String {
    format!("cb.v1.task.{}.{}.*", capability.to_token(), priority(urgency))
}

/// One kind of record of a task.
pub fn record(task: &TaskId, kind: &str) -> String {
    format!("cb.v1.run.{}.{task}.{kind}", task.run())
}

/// All records of a task.
pub fn records(task: &TaskId) -> String {
    record(task, "*")
}

/// All records of a run.
pub fn run(run: &RunId) -> String {
    format!("cb.v1.run.{run}.*.*")
}

/// All state of a run.
pub fn state_of_run(run: &RunId) -> String {
    format!("$KV.{STATE_BUCKET}.run.{run}.>")
}

/// The parked tasks of a run.
pub fn parked_of(run: &RunId) -> String {
    format!("cb.v1.run.{run}.*.parked")
}

/// The pieces of large documents of a run. No task has that name.
pub fn piece(run: &RunId) -> String {
    format!("cb.v1.run.{run}.=.piece")
}

/// Where it is written down which run is being removed.
pub fn purging() -> String {
    format!("$KV.{SHARED_BUCKET}.purge")
}

/// The hints that something of a run was stored.
pub fn done(run: &RunId) -> String {
    format!("cb.v1.done.{run}.*.*")
}

/// A fact of this type, its dots written `_`, of a run (`_` without one).
pub fn event(kind: &str, run: Option<&RunId>) -> String {
    format!("cb.v1.event.{}.{}", kind.replace('.', "_"), run.map_or("_", RunId::as_str))
}

/// Where the server says that it has stored something on a subject of state or of facts.
pub fn told(subject: &str) -> String {
    let state = subject.strip_prefix("$KV.cb_state.").map(|rest| format!("cb.v1.changed.{rest}"));
    let fact = || subject.strip_prefix("cb.v1.event.").map(|rest| format!("cb.v1.told.{rest}"));
    state.or_else(fact).unwrap_or_else(|| subject.to_owned())
}

/// A dead letter. `capability` is `agent` for a message to an agent by name.
pub fn dead(capability: &str, reason: &str, task: &str) -> String {
    format!("cb.v1.dead.{}.{reason}.{task}", capability.replace('.', "-"))
}

/// A verb of a node's control.
pub fn control(node: &NodeName, verb: &str) -> String {
    format!("cb.v1.ctl.{node}.{verb}")
}

/// How many workers the pools of a capability are to have: all of them, or that of one node.
pub fn pool(capability: &CapabilityName, node: Option<&NodeName>) -> String {
    let node = node.map(|node| format!(".{node}")).unwrap_or_default();
    format!("$KV.{SHARED_BUCKET}.pool.{}{node}", capability.to_token())
}

/// All of those.
pub fn pools() -> String {
    format!("$KV.{SHARED_BUCKET}.pool.>")
}

/// The description of a large body.
pub fn blob(hash: &Hash) -> String {
    format!("$O.{BLOBS_BUCKET}.M.{}", base64_url(hash.as_str().as_bytes()))
}

/// The pieces of a large body.
pub fn pieces(id: &str) -> String {
    format!("$O.{BLOBS_BUCKET}.C.{id}")
}

/// Base64 with the alphabet for URLs and with padding, as the names of objects are written.
pub fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= three.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        }
    }
    text
}

/// Where anybody asks for a dead letter to be put back.
pub const RETRY: &str = "cb.v1.ctl.dead.retry";
/// Where anybody asks for a task to be cancelled.
pub const CANCEL: &str = "cb.v1.ctl.task.cancel";
/// Where anybody answers a question to people.
pub const ANSWER: &str = "cb.v1.ctl.inbox.answer";
/// What is asked of any node. They read like verbs of nodes that are called `dead`, `task` and `inbox`.
pub(crate) const OF_ANY: [&str; 3] = [RETRY, CANCEL, ANSWER];

/// A key of shared state.
pub fn state(key: &str) -> String {
    format!("$KV.{STATE_BUCKET}.{key}")
}

/// What a node says to another: only that node may publish there.
pub fn lane(to: &str, from: &str) -> String {
    format!("cb.v1.lane.{to}.{from}")
}

/// All that is said to a node, and what the server says about what it sent.
pub fn lanes(to: &NodeName) -> String {
    format!("cb.v1.lane.{to}.>")
}

/// Where the server says that nobody listens to `peer`; the range of questions follows.
pub fn unheard(from: &NodeName, peer: &str) -> String {
    format!("cb.v1.lane.{from}.nr.{peer}.")
}

/// A capability, asked by hand.
pub fn req(capability: &CapabilityName) -> String {
    format!("cb.v1.req.{}", capability.to_token())
}

/// An agent of a node, asked by hand.
pub fn agent(node: &NodeName, agent: &str) -> String {
    format!("cb.v1.agent.{node}.{agent}")
}

/// A topic.
pub fn topic(topic: &str) -> String {
    format!("cb.v1.all.{topic}")
}

/// The sign of life of a node.
pub fn presence(node: &str) -> String {
    format!("$KV.{NODES_BUCKET}.{node}")
}

/// What a node serves.
pub fn served(node: &str) -> String {
    format!("$KV.{SHARED_BUCKET}.served.{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_are_written_as_other_clients_write_them() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("??>~", "Pz8-fg==")] {
            assert_eq!(base64_url(plain.as_bytes()), coded, "{plain}");
        }
    }
}
