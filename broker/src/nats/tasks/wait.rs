//! Waiting for outcomes.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;

use super::hub::Hint;
use super::room::Room;
use crate::error::Result;
use crate::id::{RunId, TaskId};
use crate::nats::record::ending;
use crate::task::Outcome;
use crate::tasks::Until;

/// How long a waiter relies on hints before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Room {
    pub(super) async fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> Result<Vec<Outcome>> {
        let ids: BTreeSet<TaskId> = tasks.iter().cloned().collect();
        let runs: BTreeSet<RunId> = ids.iter().map(TaskId::run).collect();
        let mut listening = Vec::new();
        for run in &runs {
            listening.push(self.hub.listen(run).await?);
        }
        let mut hints: Vec<_> = listening.iter().map(|listening| listening.hints()).collect();
        let mut ended: HashMap<TaskId, Outcome> = HashMap::new();
        let give_up = Instant::now() + wait;
        let mut look_at: Vec<TaskId> = ids.iter().cloned().collect();
        loop {
            for story in self.glance(&look_at).await? {
                ended.extend(story.outcome.map(|outcome| (outcome.task.clone(), outcome)));
            }
            let over = match until {
                Until::Any => !ended.is_empty() || ids.is_empty(),
                Until::All => ended.len() == ids.len(),
            };
            if over || Instant::now() >= give_up {
                return Ok(tasks.iter().filter_map(|id| ended.get(id).cloned()).collect());
            }
            let open = |id: &TaskId| ids.contains(id) && !ended.contains_key(id);
            let again = (Instant::now() + LOOK_AGAIN).min(give_up);
            look_at = match tokio::time::timeout_at(again, told(&mut hints, open)).await {
                Ok(Some(told)) => told,
                // Time is over, or some hints were missed: the stream is what counts.
                Ok(None) | Err(_) => ids.iter().filter(|id| !ended.contains_key(*id)).cloned().collect(),
            };
        }
    }
}

/// Those of the tasks that hints say have ended; `None` when hints were missed.
async fn told(hints: &mut [Receiver<Hint>], open: impl Fn(&TaskId) -> bool) -> Option<Vec<TaskId>> {
    let mut told = Vec::new();
    let mut note = |hint: Hint| {
        if open(&hint.task) && ending(&hint.kind).is_some() {
            told.push(hint.task);
        }
        !told.is_empty()
    };
    loop {
        let (first, ..) = select_all(hints.iter_mut().map(|hints| Box::pin(hints.recv()))).await;
        if note(first.ok()?) {
            break;
        }
    }
    // What else is there already is looked at in the same go.
    for hints in hints {
        while let Ok(hint) = hints.try_recv() {
            note(hint);
        }
    }
    Some(told)
}
