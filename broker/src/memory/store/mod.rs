//! What stands behind the wing's lock.
//!
//! The methods here are the transactions: each is given the time, decides, and changes tasks, queue, events and dead
//! letters together. `hand` hands tasks out and takes them back, `end` ends them, `keep` says what may be forgotten.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::Options;
use super::dead::Letters;
use super::events::EventLog;
use super::handover::Handover;
use super::states::StateRoom;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::facts;
use crate::id::TaskId;
use crate::queue::{Item, Place, Queue, Want};
use crate::task::{BegunBy, Outcome, Record, Status, Task};
use crate::tasks::{Child, Lease, Revoked, Submitted, TaskView, Until};

mod end;
mod hand;
mod keep;
mod waits;

use keep::Runs;
use waits::Waits;

/// A task with all that happened to it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) task: Arc<Task>,
    pub(super) seq: u64,
    pub(super) log: Vec<Record>,
    pub(super) outcome: Option<Outcome>,
    /// The claim that recorded the outcome; 0: none did.
    ended_by: u64,
    /// Attempts begun, once it has ended; before that the queue knows.
    attempts: u32,
    /// Tells the attempt that holds the task that it does no longer.
    revoke: Option<watch::Sender<Option<Revoked>>>,
    pub(super) children: Vec<TaskId>,
}

impl Kept {
    fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    fn last(&self) -> u64 {
        self.log.len() as u64
    }
}

/// Everything but messages.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) tasks: HashMap<TaskId, Kept>,
    /// By order of submission.
    pub(super) order: BTreeMap<u64, TaskId>,
    pub(super) runs: Runs,
    pub(super) queue: Queue,
    pub(super) states: StateRoom,
    pub(super) events: EventLog,
    pub(super) dead: Letters,
    waits: Waits,
    claimers: HashMap<u64, oneshot::Sender<Handover>>,
    handed_out: Vec<(oneshot::Sender<Handover>, Vec<Lease>)>,
    last_seq: u64,
    last_ticket: u64,
    /// The latest time seen: stamps never go back, though the wall clock may.
    now: Millis,
    /// When the timer will look again.
    armed: Option<Millis>,
}

impl Store {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            tasks: HashMap::new(),
            order: BTreeMap::new(),
            runs: Runs::new(options.finished),
            queue: Queue::new(options.queue, 1),
            states: StateRoom::new(options),
            events: EventLog::new(options.events),
            dead: Letters::default(),
            waits: Waits::default(),
            claimers: HashMap::new(),
            handed_out: Vec::new(),
            last_seq: 0,
            last_ticket: 0,
            now: 0,
            armed: None,
        }
    }

    /// Stores one task; `bytes` is what [`facts::admit`] said.
    pub(super) fn submit(&mut self, task: Task, bytes: usize, now: Millis) -> Result<Submitted> {
        if let Some(known) = self.tasks.get(&task.id) {
            facts::same_input(&known.task, &task)?;
            return Ok(Submitted::Known);
        }
        if let Some(parent) = &task.parent {
            let kept = self.tasks.get(parent).ok_or_else(|| Error::not_found(format!("task {parent}")))?;
            if let Some(outcome) = &kept.outcome {
                return Err(facts::orphaned(outcome));
            }
        }
        self.room(1, bytes)?;
        self.store(task, bytes, now);
        Ok(Submitted::New)
    }

    /// Whether children may be stored under `parent`, without storing any: the bytes of those that are new.
    fn check_children(&self, parent: &TaskId, children: &[(Child, usize)]) -> Result<()> {
        let (mut seen, mut queued, mut size) = (HashMap::new(), 0, 0);
        for (child, bytes) in children {
            let task = child.task();
            if task.parent.as_ref() != Some(parent) {
                return Err(Error::decode(format!("task {} is no child of {parent}", task.id)));
            }
            facts::stored_with(child, 0)?;
            let known = self.tasks.get(&task.id).map(|kept| kept.task.as_ref());
            match known.or(seen.insert(&task.id, task)) {
                Some(known) => facts::same_input(known, task)?,
                None if matches!(child, Child::Queued(_)) => (queued, size) = (queued + 1, size + bytes),
                None => {}
            }
        }
        self.room(queued, size)
    }

    fn add_child(&mut self, child: Child, bytes: usize, now: Millis) {
        if self.tasks.contains_key(&child.task().id) {
            return;
        }
        self.store(child.task().clone(), bytes, now);
        // What cannot be an outcome was refused before.
        if let Ok(Some(outcome)) = facts::stored_with(&child, now) {
            self.end(outcome, 0, None, now);
        }
    }

    fn room(&self, tasks: usize, bytes: usize) -> Result<()> {
        if self.queue.has_room(tasks, bytes) {
            return Ok(());
        }
        Err(Error::Busy { to: "the task queue".into(), retry_after: RETRY_AFTER })
    }

    fn store(&mut self, task: Task, bytes: usize, now: Millis) {
        self.last_seq += 1;
        let (id, seq) = (task.id.clone(), self.last_seq);
        self.events.add(facts::created(&task), now);
        self.order.insert(seq, id.clone());
        self.runs.add(&task);
        if let Some(parent) = task.parent.as_ref().and_then(|parent| self.tasks.get_mut(parent)) {
            parent.children.push(id.clone());
        }
        let item = Item {
            task: id.clone(),
            seq,
            capability: task.capability.clone(),
            priority: task.priority,
            deadline: task.deadline,
            not_before: 0,
            claims: 0,
            free: 0,
            bytes,
            begun_by: BegunBy::default(),
        };
        let kept = Kept {
            task: Arc::new(task),
            seq,
            log: Vec::new(),
            outcome: None,
            ended_by: 0,
            attempts: 0,
            revoke: None,
            children: Vec::new(),
        };
        self.tasks.insert(id, kept);
        self.queue.enqueue(item, now);
    }

    /// Remembers a claimer that found nothing.
    pub(super) fn park(&mut self, want: Want, until: Millis) -> (u64, oneshot::Receiver<Handover>) {
        self.last_ticket += 1;
        let (send, receive) = oneshot::channel();
        self.claimers.insert(self.last_ticket, send);
        self.queue.park(self.last_ticket, want, until);
        (self.last_ticket, receive)
    }

    pub(super) fn unpark(&mut self, ticket: u64) {
        self.claimers.remove(&ticket);
        self.queue.unpark(ticket);
    }

    /// Starts a wait for the ends of tasks; when it is over already, what there is.
    pub(super) fn wait(
        &mut self,
        tasks: &[TaskId],
        until: Until,
    ) -> Result<(u64, oneshot::Receiver<()>), Vec<Outcome>> {
        let ids: HashSet<&TaskId> = tasks.iter().collect();
        let open: Vec<TaskId> = ids.iter().filter(|id| self.is_open(id)).map(|id| (*id).clone()).collect();
        let over = match until {
            Until::Any => open.len() < ids.len() || ids.is_empty(),
            Until::All => open.is_empty(),
        };
        let found = self.outcomes(tasks);
        if over {
            return Err(found);
        }
        self.last_ticket += 1;
        let needed = if until == Until::Any { 1 } else { ids.len() };
        Ok((self.last_ticket, self.waits.add(self.last_ticket, open, needed, found)))
    }

    /// Ends a wait; what there is by now, in the order asked.
    pub(super) fn waited(&mut self, ticket: u64, tasks: &[TaskId]) -> Vec<Outcome> {
        let found = self.waits.remove(ticket);
        tasks.iter().filter_map(|id| found.get(id).cloned()).collect()
    }

    pub(super) fn unwait(&mut self, ticket: u64) {
        self.waits.remove(ticket);
    }

    /// Whether a task may still end; one that is not there yet may.
    fn is_open(&self, task: &TaskId) -> bool {
        self.tasks.get(task).is_none_or(Kept::is_open)
    }

    /// The outcomes that are there, in the order asked.
    fn outcomes(&self, tasks: &[TaskId]) -> Vec<Outcome> {
        tasks.iter().filter_map(|id| self.tasks.get(id)?.outcome.clone()).collect()
    }

    /// A task with where it stands.
    pub(super) fn view(&self, kept: &Kept) -> TaskView {
        let place = self.queue.get(&kept.task.id);
        let held = place.and_then(|p| p.held.as_ref());
        let status = match (&kept.outcome, held) {
            (Some(outcome), _) => outcome.status,
            (None, Some(_)) => Status::InProgress,
            (None, None) => Status::Pending,
        };
        TaskView {
            task: kept.task.as_ref().clone(),
            seq: kept.seq,
            status,
            attempt: place.map_or(kept.attempts, |p| p.item.attempts()),
            node: held.map(|h| h.node.clone()),
            started_at: held.map(|h| h.since),
            not_before: place
                .filter(|p| p.held.is_none() && !p.is_aside())
                .map(|p| p.item.not_before)
                .filter(|at| *at > self.now),
            parked: place.is_some_and(Place::is_aside),
            outcome: kept.outcome.clone(),
        }
    }

    pub(super) fn take_handed_out(&mut self) -> Vec<(oneshot::Sender<Handover>, Vec<Lease>)> {
        std::mem::take(&mut self.handed_out)
    }

    /// Notes when the timer looks again, for [`is_due_earlier`](Self::is_due_earlier).
    pub(super) fn arm(&mut self) -> Option<Millis> {
        self.armed = self.queue.next_wakeup();
        self.armed
    }

    /// Whether something is due before the timer looks again.
    pub(super) fn is_due_earlier(&self) -> bool {
        let next = self.queue.next_wakeup();
        next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed))
    }
}

/// What somebody is told whose task found no room.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);
