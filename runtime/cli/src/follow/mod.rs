//! Following a run to its end, and showing how far it is.

mod rows;
mod screen;

use std::time::Duration;

use callboard::broker::Broker;
use callboard::broker::event::{Event, TASK_CANCELLED, TASK_COMPLETED, TASK_EXPIRED, TASK_FAILED, TASK_SKIPPED};
use callboard::broker::events::{EventFilter, EventStream};
use callboard::broker::id::{RunId, TaskId};
use callboard::broker::task::Outcome;
use callboard::broker::tasks::{TaskFilter, Until};

use crate::console::Console;
use crate::failure::Failure;
use crate::store::Store;

pub(crate) use rows::{Notes, Rows};
use screen::Screen;

/// How often a tree that is watched is drawn again, and how long one wait for an outcome lasts.
const REDRAW: Duration = Duration::from_millis(100);
const WAIT: Duration = Duration::from_secs(60);
/// How long the events that led to an end may come after it.
const CATCH_UP: Duration = Duration::from_secs(1);

/// A run that is being followed.
pub(crate) struct Follow {
    broker: Broker,
    task: TaskId,
    events: Box<dyn EventStream>,
    /// Whether the end of the task is among what has been shown.
    seen_end: bool,
    rows: Rows,
    screen: Screen,
}

impl Follow {
    /// Begins to follow `task` and the run that it belongs to: what is stored, then what happens. What has ended since
    /// the store was opened is news too.
    pub(crate) async fn begin(console: &Console, store: &Store, run: &RunId, task: &TaskId) -> Result<Follow, Failure> {
        let (broker, screen) = (store.broker.clone(), Screen::new(&console.out));
        // In this order nothing falls between what is stored and what happens; what is told twice does no harm.
        let from = broker.events.last().await? + 1;
        let rows = if store.nodes().is_some() { Rows::of_nodes() } else { Rows::default() };
        let (mut rows, mut seen_end) = (rows, false);
        for view in stored(&broker, run).await? {
            seen_end |= view.task.id == *task && view.outcome.is_some();
            let is_news = view.outcome.as_ref().is_some_and(|outcome| outcome.finished_at >= store.opened);
            if let Some(line) = rows.stored(&view).filter(|_| is_news) {
                screen.line(&line);
            }
        }
        let filter = EventFilter { run: Some(run.clone()), types: vec!["task".into()] };
        let events = broker.events.follow(filter, from).await?;
        Ok(Follow { broker, task: task.clone(), events, seen_end, rows, screen })
    }

    /// Waits for the end of the task.
    ///
    /// # Cancellation
    /// It can be waited for again.
    pub(crate) async fn end(&mut self) -> Result<Outcome, Failure> {
        let (tasks, task) = (self.broker.tasks.clone(), self.task.clone());
        let outcome = async move {
            loop {
                if let Some(outcome) = tasks.wait(vec![task.clone()], Until::All, WAIT).await?.pop() {
                    return Ok::<_, Failure>(outcome);
                }
            }
        };
        tokio::pin!(outcome);
        let mut ticks = tokio::time::interval(REDRAW);
        let mut following = true;
        loop {
            tokio::select! {
                biased;
                event = self.events.next(), if following => match event {
                    Ok(event) => self.see(&event),
                    // The outcome tells the end; progress is only for the eyes.
                    Err(error) => {
                        tracing::debug!(%error, "progress cannot be followed");
                        following = false;
                    }
                },
                _ = ticks.tick() => self.screen.draw(&self.rows, self.broker.clock.now(), &Notes::new()),
                outcome = &mut outcome => {
                    let outcome = outcome?;
                    if following {
                        self.catch_up().await;
                    }
                    return Ok(outcome);
                }
            }
        }
    }

    fn see(&mut self, event: &Event) {
        let ends = [TASK_COMPLETED, TASK_FAILED, TASK_CANCELLED, TASK_EXPIRED, TASK_SKIPPED];
        self.seen_end |= event.task.as_ref() == Some(&self.task) && ends.contains(&event.kind.as_str());
        if let Some(line) = self.rows.see(event) {
            self.screen.line(&line);
        }
    }

    /// Reads on to the event of the end, which was recorded together with the outcome: so all that happened is shown,
    /// in the order in which it happened, also when the outcome is told first.
    async fn catch_up(&mut self) {
        let until_end = async {
            while !self.seen_end {
                match self.events.next().await {
                    Ok(event) => self.see(&event),
                    Err(_) => return,
                }
            }
        };
        // What has not come by then is shown from what is stored.
        let _ = tokio::time::timeout(CATCH_UP, until_end).await;
    }

    /// Draws what has become of all tasks, with what is to stand beside them, and leaves it there.
    pub(crate) async fn close(mut self, run: &RunId, notes: &Notes) -> Result<(), Failure> {
        for view in stored(&self.broker, run).await? {
            if let Some(line) = self.rows.stored(&view) {
                self.screen.line(&line);
            }
        }
        self.screen.draw(&self.rows, self.broker.clock.now(), notes);
        Ok(())
    }
}

/// All tasks of a run, oldest first.
pub(crate) async fn stored(broker: &Broker, run: &RunId) -> Result<Vec<callboard::broker::tasks::TaskView>, Failure> {
    let mut all = Vec::new();
    let mut filter = TaskFilter { run: Some(run.clone()), ..TaskFilter::default() };
    loop {
        let page = broker.tasks.list(filter.clone()).await?;
        filter.after = page.last().map(|view| view.seq);
        let done = page.len() < callboard::broker::tasks::MAX_PAGE;
        all.extend(page);
        if done {
            return Ok(all);
        }
    }
}
