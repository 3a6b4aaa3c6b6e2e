//! What any process can see of tasks, beside whoever writes them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::super::view::View;
use super::{read, rows};
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::subject::CapabilityName;
use crate::task::{Outcome, Record};
use crate::tasks::{Depth, TaskFilter, TaskView, Until};

impl View {
    /// Waits until one or all of `tasks` have ended, at most for `wait`, and returns the outcomes that are there.
    pub(in super::super) async fn wait(
        &self,
        tasks: Vec<TaskId>,
        until: Until,
        wait: Duration,
    ) -> Result<Vec<Outcome>> {
        let began = Instant::now();
        let once: Vec<TaskId> = tasks.iter().cloned().collect::<HashSet<_>>().into_iter().collect();
        let entered = self.waiters.enter(once.clone(), until);
        entered.add(self.readers.read(move |conn| read::outcomes(conn, &once)).await?);
        // Over or not, what is there by then is the answer.
        let _ = tokio::time::timeout(wait.saturating_sub(began.elapsed()), entered.over()).await;
        let found = entered.outcomes();
        Ok(tasks.iter().filter_map(|task| found.get(task).cloned()).collect())
    }

    pub(in super::super) async fn get(&self, tasks: Vec<TaskId>) -> Result<Vec<Option<TaskView>>> {
        let now = self.clock.now();
        self.readers.read(move |conn| tasks.iter().map(|task| read::view(conn, task, now)).collect()).await
    }

    pub(in super::super) async fn log(&self, task: TaskId) -> Result<Vec<Record>> {
        self.readers
            .read(move |conn| match rows::task(conn, &task)? {
                Some(stored) => rows::whole_log(conn, stored.seq),
                None => Err(Error::not_found(format!("task {task}")).into()),
            })
            .await
    }

    pub(in super::super) async fn list(&self, filter: TaskFilter) -> Result<Vec<TaskView>> {
        let now = self.clock.now();
        self.readers.read(move |conn| read::page(conn, &filter, now)).await
    }

    pub(in super::super) async fn depth(&self) -> Result<Vec<(CapabilityName, Depth)>> {
        self.readers.read(read::depth).await
    }
}
