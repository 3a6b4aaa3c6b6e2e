//! What the tests of a node share on every wing.

use std::time::Duration;

use callboard::broker::dead_letter::DeadLetter;
use callboard::broker::task::Status;
use callboard::broker::tasks::TaskFilter;
use callboard::diag::Echo;
use callboard::{Capability, Context, Node, Result};

pub(crate) const SHOUT: Capability<String, String> = Capability::new("text.shout");
pub(crate) const COUNT: Capability<u32, u32> = Capability::new("test.count");
pub(crate) const WAIT: Capability<u64, u64> = Capability::new("test.wait");

pub(crate) async fn shout(_ctx: Context, text: String) -> Result<String> {
    Ok(text.to_uppercase())
}

pub(crate) async fn wait(_ctx: Context, ms: u64) -> Result<u64> {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(ms)
}

pub(crate) fn echoing(text: &str) -> Echo {
    Echo { text: text.into(), delay_ms: 0, fail_times: 0, panic: false }
}

/// The figures of one pool of a node.
pub(crate) fn figures(node: &Node, pool: &str) -> callboard::Value {
    node.agents().into_iter().find(|(name, _)| name == pool).unwrap().1
}

/// The dead letters of a node. SQLite stores those of messages beside: what the writer answers comes after them.
pub(crate) async fn dead(node: &Node) -> Vec<DeadLetter> {
    node.broker().tasks.depth().await.unwrap();
    node.broker().dead.list(0, 100).await.unwrap()
}

/// Where the tasks of a node stand, in the order of submission.
pub(crate) async fn statuses(node: &Node) -> Vec<Status> {
    let tasks = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    tasks.into_iter().map(|view| view.status).collect()
}

/// Lets a little time pass, so that what was begun is at work.
pub(crate) async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Waits until it holds, looking again and again: how soon that is, is up to the machine.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let held = tokio::time::timeout(Duration::from_secs(60), held).await;
    assert!(held.is_ok(), "never came: {what}");
}

/// Says when it is dropped.
pub(crate) struct Dropped(pub(crate) Option<tokio::sync::oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // Nobody has to listen.
        let _ = self.0.take().map(|tell| tell.send(()));
    }
}
