//! Outcomes that no attempt writes, and beginning again after one.

use std::collections::{HashMap, HashSet};

use futures_util::future::try_join_all;

use super::room::{Appended, Room};
use crate::dead_letter::NewDeadLetter;
use crate::error::{Error, Result};
use crate::facts::{self, Stood};
use crate::id::{RunId, TaskId};
use crate::nats::dead::{Fate, tells_of};
use crate::nats::names;
use crate::nats::record::{EndMark, Story, end_document, ending, parse_subject};
use crate::queue::Spent;
use crate::suspect;
use crate::task::{Entry, Outcome, Status, Task};
use crate::tasks::{Recorded, Revoked};

/// Tasks of one level that are cancelled at a time.
const AT_ONCE: usize = 32;
/// How often an end may find that somebody has just written.
const TRIES: usize = 64;

impl Room {
    /// Ends a task without an attempt: spent, or (`None`) because its parent was cancelled. Whether it has ended now;
    /// otherwise its story is to be read again.
    pub(super) async fn end_unclaimed(
        &self,
        task: &Task,
        story: &Story,
        why: Option<Spent>,
        // The place of its queue message; 0: it stands in no queue.
        queued: u64,
    ) -> Result<bool> {
        let now = self.now();
        let (letter, outcome) = match why {
            None => (None, facts::cancelled(task, &story.into(), "the end of its parent", now)),
            Some(spent) => {
                let (letter, outcome) = facts::spent(task, &story.into(), spent, now);
                self.dead.bury_task(&letter).await?;
                (Some(letter), outcome)
            }
        };
        let Appended::At(_) = self.write_end(task, &outcome, story.last).await? else {
            self.reconsider(&task.id, letter.as_ref()).await;
            return Ok(false);
        };
        if let Some(letter) = letter {
            letter.reason.count();
        }
        self.held.revoke(&task.id, Revoked::Ended(outcome.status));
        if queued > 0 {
            self.link.delete(names::TASKS, queued).await?;
        }
        Ok(true)
    }

    /// Takes a letter back whose outcome met a conflict, when another one stands that it does not tell of. While none
    /// stands it is kept, and not shown: whoever comes next may end the task so, and has found its letter there.
    pub(super) async fn reconsider(&self, task: &TaskId, letter: Option<&NewDeadLetter>) {
        let Some(letter) = letter else { return };
        let taken = match self.ended_as(task).await {
            Ok(Some(status)) if !tells_of(letter.reason, Some(status)) => self.dead.take_back(letter).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            tracing::debug!(%task, %error, "a dead letter was not taken back, and is not shown");
        }
    }

    /// Whether a task has its outcome, by what the leader knows.
    pub(super) async fn has_ended(&self, task: &TaskId) -> Result<bool> {
        Ok(self.ended_as(task).await?.is_some())
    }

    /// How a task has ended, by what the leader knows: its outcome is its last record.
    async fn ended_as(&self, task: &TaskId) -> Result<Option<Status>> {
        let (_, subject) = self.link.newest(names::RUNS, &names::records(task)).await?;
        Ok(parse_subject(&subject).and_then(|(_, kind)| ending(kind)))
    }

    async fn write_end(&self, task: &Task, outcome: &Outcome, last: u64) -> Result<Appended> {
        let mark = self.mark();
        let end = EndMark { writer: mark.clone(), lease: 0, key: task.key.clone() };
        self.append_record(&task.id, outcome.status.as_str(), last, end_document(outcome, &end)?, &mark).await
    }

    pub(super) async fn cancel(&self, root: TaskId, by: String) -> Result<Vec<TaskId>> {
        let (mut cancelled, mut seen) = (Vec::new(), HashSet::new());
        loop {
            let run = self.run_stories(&root.run()).await?;
            if !run.contains_key(&root) && self.queued(&root).await?.is_none() {
                return Err(Error::not_found(format!("task {root}")));
            }
            let before = seen.len();
            let (mut level, mut walked) = (vec![root.clone()], HashSet::from([root.clone()]));
            while !level.is_empty() {
                let fresh: Vec<&TaskId> = level.iter().filter(|id| seen.insert((*id).clone())).collect();
                for some in fresh.chunks(AT_ONCE) {
                    let ended = try_join_all(some.iter().map(|id| self.cancel_one(id, &by))).await?;
                    let these = some.iter().zip(ended).filter(|(_, ended)| *ended);
                    cancelled.extend(these.map(|(id, _)| (*id).clone()));
                }
                let below = level.iter().flat_map(|id| children(&run, id));
                level = below.filter(|id| walked.insert(id.clone())).collect();
            }
            // What was delegated between the look and the mark, which nothing can follow, is seen by another look.
            if seen.len() == before {
                return Ok(cancelled);
            }
        }
    }

    /// Whether this call cancelled it.
    async fn cancel_one(&self, id: &TaskId, by: &str) -> Result<bool> {
        for _ in 0..TRIES {
            let story = self.story(id).await?;
            if story.outcome.is_some() {
                return Ok(false);
            }
            let queued = self.queued(id).await?;
            let Some(task) = story.task.clone().or_else(|| queued.as_ref().map(|(task, ..)| task.clone())) else {
                return Ok(false);
            };
            let outcome = facts::cancelled(&task, &(&story).into(), by, self.now());
            if let Appended::At(_) = self.write_end(&task, &outcome, story.last).await? {
                self.held.revoke(id, Revoked::Ended(Status::Cancelled));
                self.held.revoke_below(id);
                if let Some((.., seq)) = queued {
                    self.link.delete(names::TASKS, seq).await?;
                }
                return Ok(true);
            }
        }
        Err(Error::unavailable(format!("task {id} changes faster than it can be cancelled")))
    }

    pub(super) async fn conclude(&self, outcome: Outcome) -> Result<Recorded> {
        let id = outcome.task.clone();
        for _ in 0..TRIES {
            let (story, queued) = (self.newest_glance(&id).await?, self.queued(&id).await?);
            let task = story.task.clone().or_else(|| queued.as_ref().map(|(task, ..)| task.clone()));
            let task = task.ok_or_else(|| Error::not_found(format!("task {id}")))?;
            let outcome = facts::conclusion(&task, outcome.clone())?;
            if let Some(recorded) = &story.outcome {
                let same = facts::says_the_same(recorded, &outcome);
                return if same { Ok(Recorded::Already) } else { Err(facts::taken(&id, story.n())) };
            }
            if story.held.is_some() {
                return Err(facts::taken(&id, story.n()));
            }
            let mut last = story.last;
            if let (None, Some((task, writer, _))) = (&story.task, &queued) {
                // Nobody pulls what people answer, so what was put in by hand has no record yet.
                let at = self.put_on_record(task, writer, task.created_at, last).await?;
                let Appended::At(seq) = at else { continue };
                last = seq;
            }
            if let Appended::At(_) = self.write_end(&task, &outcome, last).await? {
                if let Some((.., seq)) = queued {
                    self.link.delete(names::TASKS, seq).await?;
                }
                return Ok(Recorded::New);
            }
        }
        Err(Error::unavailable(format!("task {id} changes faster than it can be concluded")))
    }

    /// The whole stories of all tasks of a run.
    pub(super) async fn run_stories(&self, run: &RunId) -> Result<HashMap<TaskId, Story>> {
        let records = self.link.all(names::RUNS, &names::run(run), 1).await?;
        let mut by_task: HashMap<TaskId, Vec<_>> = HashMap::new();
        for raw in &records {
            if let Some((task, _)) = parse_subject(&raw.subject) {
                by_task.entry(task).or_default().push(raw);
            }
        }
        Ok(by_task.into_iter().map(|(task, records)| (task, Story::read(records))).collect())
    }

    pub(super) async fn retry(&self, id: TaskId) -> Result<TaskId> {
        let run = self.run_stories(&id.run()).await?;
        let task_of = |id: &TaskId| run.get(id).and_then(|story| story.task.as_ref());
        let task = task_of(&id).ok_or_else(|| Error::not_found(format!("task {id}")))?;
        let newest = newest(&run, &task.base);
        if let Some(newest) = newest.filter(|newest| newest.generation > task.generation) {
            return Ok(newest.id.clone());
        }
        match run.get(&id).and_then(|story| story.outcome.as_ref()).map(|outcome| outcome.status) {
            None | Some(Status::Completed) => {
                let (expected, actual) = (u64::from(task.generation), u64::from(task.generation));
                return Err(Error::Conflict { key: format!("task {id}").into(), expected, actual });
            }
            Some(_) => {}
        }
        let parent = task.parent.as_ref().and_then(task_of).map(|parent| &parent.base);
        let parent = parent.and_then(|base| self::newest(&run, base));
        let next = task.next_generation(parent, self.now());
        self.submit(vec![next.clone()]).await.remove(0)?;
        Ok(next.id)
    }
}

impl Room {
    /// What became of each task.
    pub(super) async fn fates(&self, tasks: Vec<TaskId>) -> Result<Vec<Fate>> {
        let mut runs: HashMap<RunId, HashMap<TaskId, Story>> = HashMap::new();
        let mut fates = Vec::new();
        for id in tasks {
            let run = id.run();
            if !runs.contains_key(&run) {
                runs.insert(run.clone(), self.run_stories(&run).await?);
            }
            let run = runs.get(&run);
            let retries = |task: &&Task| task.retry_of.as_ref() == Some(&id);
            let next = run.and_then(|run| run.values().filter_map(|story| story.task.as_ref()).find(retries));
            let next = next.map(|task| task.id.clone());
            let story = run.and_then(|run| run.get(&id));
            let ended = match story.map(|story| story.outcome.as_ref()) {
                // A copy may not have heard of it yet.
                Some(None) => self.ended_as(&id).await?,
                outcome => outcome.flatten().map(|outcome| outcome.status),
            };
            fates.push(Fate { is_known: story.is_some(), ended, next });
        }
        Ok(fates)
    }
}

fn newest<'a>(run: &'a HashMap<TaskId, Story>, base: &TaskId) -> Option<&'a Task> {
    let all = run.values().filter_map(|story| story.task.as_ref()).filter(|task| task.base == *base);
    all.max_by_key(|task| task.generation)
}

/// What a task delegated: the tasks that name it as their parent, and those that its log names; in the order of their
/// submission.
fn children(run: &HashMap<TaskId, Story>, parent: &TaskId) -> Vec<TaskId> {
    let of = |story: &&Story| story.task.as_ref().is_some_and(|task| task.parent.as_ref() == Some(parent));
    let mut found: Vec<(u64, TaskId)> =
        run.values().filter(of).filter_map(|story| Some((story.seq, story.task.as_ref()?.id.clone()))).collect();
    let log = run.get(parent).map_or(&[][..], |story| &story.log);
    found.extend(log.iter().filter_map(|record| match &record.entry {
        Entry::Delegated { child, .. } => Some((run.get(child).map_or(u64::MAX, |story| story.seq), child.clone())),
        _ => None,
    }));
    found.sort();
    found.into_iter().map(|(_, id)| id).collect()
}

impl From<&Story> for Stood {
    fn from(story: &Story) -> Self {
        let held = story.held.as_ref().map(|held| (held.node.clone(), held.since));
        Self { attempts: story.attempts, claims: story.claims, held, deaths: suspect::deaths(&story.log) }
    }
}
