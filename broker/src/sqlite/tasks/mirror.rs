//! What the writer keeps in memory of unfinished tasks: the queue, who holds what, who waits, and recent bodies.

use std::collections::HashMap;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::super::db::Db;
use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::writer::WeakWriter;
use super::handout::Handout;
use super::park;
use super::rows::{self, columns};
use crate::clock::{Millis, millis};
use crate::id::TaskId;
use crate::queue::{ASIDE, Item, Limits, Queue, Want};
use crate::task::{BegunBy, Task};
use crate::tasks::{LEASE, Lease, Revoked};

/// Bytes of task inputs that are kept in memory; the others are read from the file when they are handed out.
const BODIES: usize = 64 << 20;

/// See the module. All but `live`, `claimers` and `home` follows from the file.
pub(in super::super) struct Mirror {
    pub(super) queue: Queue,
    limits: Limits,
    /// The place of the newest task.
    pub(super) newest: u64,
    kept: Kept,
    /// Where the holders of claims, by their number, hear that they hold them no longer.
    pub(super) live: HashMap<u64, watch::Sender<Option<Revoked>>>,
    /// Claimers that wait, by their ticket.
    claimers: HashMap<u64, Claimer>,
    tickets: u64,
    /// Where what cannot be delivered goes back to: the writer whose mirror this is.
    pub(in super::super) home: WeakWriter,
}

struct Claimer {
    want: Want,
    until: Millis,
    reply: oneshot::Sender<Handout>,
}

/// What goes to a claimer that was waiting.
pub(in super::super) struct Handed {
    pub(super) ticket: u64,
    pub(super) leases: Vec<Lease>,
}

impl Mirror {
    /// A mirror of nothing yet, whose claims are numbered from `first_lease`.
    pub(in super::super) fn new(limits: Limits, first_lease: u64) -> Self {
        Self {
            queue: Queue::new(limits, first_lease),
            limits,
            newest: 0,
            kept: Kept::default(),
            live: HashMap::new(),
            claimers: HashMap::new(),
            tickets: 0,
            home: WeakWriter::default(),
        }
    }

    /// Reads back what follows from the file.
    pub(in super::super) fn reload(&mut self, conn: &Connection, now: Millis) -> Done<()> {
        let mut queue = Queue::new(self.limits, self.queue.next_lease());
        let (mut kept, mut live, mut aside) = (Kept::default(), HashMap::new(), Vec::new());
        // Of these, those that failed go behind all others; so they are read in after them.
        let mut waited = Vec::new();
        let until = now.saturating_add(millis(LEASE));
        let sql = concat!(
            "SELECT ",
            columns!(queue),
            ", ",
            columns!(task),
            " FROM queue q LEFT JOIN task t ON t.seq = q.seq ORDER BY q.seq"
        );
        file::all(conn, sql, [], |row| {
            let queued = rows::read_queued(row, 0)?.ok_or_else(|| Fault::damaged("queue", "?"))?;
            let stored = rows::read_task(conn, row, 9)?;
            let mut item = rows::item(&stored, &queued);
            if queued.records > 0 {
                item.begun_by = match rows::begun_by(conn, stored.seq) {
                    // Whoever claims it finds the damage, and sets the task aside with its reason.
                    Err(Fault::Damaged { .. }) => BegunBy::default(),
                    read => read?,
                };
                if queued.held.is_none() {
                    item.begun_by.settle();
                }
            }
            kept.add(&item, stored.task, queued.records);
            match rows::held(&queued, until) {
                Some(held) => {
                    let told = self.live.get(&held.lease).cloned().unwrap_or_else(|| watch::Sender::new(None));
                    live.insert(held.lease, told);
                    queue.restore(item, held, now);
                }
                None => {
                    if item.not_before == ASIDE {
                        aside.push((item.task.clone(), item.seq, queued.records));
                    }
                    match item.not_before {
                        0 | ASIDE => queue.enqueue(item, now),
                        _ => waited.push(item),
                    }
                }
            }
            Ok(())
        })?;
        waited.into_iter().for_each(|item| queue.enqueue(item, now));
        park::reload(conn, &mut queue, &aside, now)?;
        for (ticket, claimer) in &self.claimers {
            queue.park(*ticket, claimer.want.clone(), claimer.until);
        }
        self.newest = rows::newest(conn)?;
        (self.queue, self.kept, self.live) = (queue, kept, live);
        Ok(())
    }

    /// When the writer has to look at the time though nobody calls.
    pub(in super::super) fn next_wakeup(&self) -> Option<Millis> {
        self.queue.next_wakeup()
    }

    /// Takes in a new task.
    pub(super) fn enqueue(&mut self, item: Item, task: Task, now: Millis) {
        self.kept.add(&item, task, 0);
        self.queue.enqueue(item, now);
    }

    /// Forgets a task that has ended.
    pub(super) fn forget(&mut self, task: &TaskId) {
        self.queue.remove(task);
        self.kept.remove(task);
    }

    /// Puts down in the file where an unfinished task stands.
    pub(super) fn put_down(&self, db: &Db, task: &TaskId) -> Done<()> {
        match self.queue.get(task) {
            Some(place) => rows::put_queued(db, &place.item, place.held.as_ref(), self.records(task)),
            None => Ok(()),
        }
    }

    /// A task as it was submitted.
    pub(super) fn body(&self, task: &TaskId, seq: u64, conn: &Connection) -> Done<Task> {
        let kept = self.kept.tasks.get(task).and_then(|kept| kept.task.clone());
        kept.map_or_else(|| rows::task_at(conn, seq), Ok)
    }

    /// How many records the log of an unfinished task has.
    pub(super) fn records(&self, task: &TaskId) -> u64 {
        self.kept.tasks.get(task).map_or(0, |kept| kept.records)
    }

    /// The log of an unfinished task has so many records now.
    pub(super) fn has_records(&mut self, task: &TaskId, records: u64) {
        if let Some(kept) = self.kept.tasks.get_mut(task) {
            kept.records = records;
        }
    }

    /// Lets a claimer wait; its ticket.
    pub(super) fn park(&mut self, want: Want, until: Millis, reply: oneshot::Sender<Handout>) -> u64 {
        self.tickets += 1;
        self.queue.park(self.tickets, want.clone(), until);
        self.claimers.insert(self.tickets, Claimer { want, until, reply });
        self.tickets
    }

    /// A claimer waits no longer.
    pub(super) fn unpark(&mut self, ticket: u64) {
        self.queue.unpark(ticket);
        self.claimers.remove(&ticket);
    }

    /// Who waits under a ticket.
    pub(super) fn want(&self, ticket: u64) -> Option<&Want> {
        self.claimers.get(&ticket).map(|claimer| &claimer.want)
    }

    /// After the commit: a claim holds no longer, and its holder is told why unless he knows.
    pub(in super::super) fn let_go(&mut self, lease: u64, why: Option<Revoked>) {
        if let (Some(told), Some(why)) = (self.live.remove(&lease), why) {
            told.send_replace(Some(why));
        }
    }

    /// After the commit: what a claimer waited for.
    pub(in super::super) fn deliver(&mut self, handed: Handed) {
        let handout = Handout::new(handed.leases, self.home.clone());
        if let Some(claimer) = self.claimers.remove(&handed.ticket) {
            // One that has gone meanwhile gives its tasks back by dropping them.
            let _ = claimer.reply.send(handout);
        }
    }
}

/// What is known of unfinished tasks beside their places: how long their logs are, and as many bodies as fit.
#[derive(Default)]
struct Kept {
    tasks: HashMap<TaskId, KeptTask>,
    bytes: usize,
}

struct KeptTask {
    task: Option<Task>,
    bytes: usize,
    records: u64,
}

impl Kept {
    fn add(&mut self, item: &Item, task: Task, records: u64) {
        let fits = self.bytes + item.bytes <= BODIES;
        let bytes = if fits { item.bytes } else { 0 };
        self.bytes += bytes;
        self.tasks.insert(item.task.clone(), KeptTask { task: fits.then_some(task), bytes, records });
    }

    fn remove(&mut self, task: &TaskId) {
        if let Some(kept) = self.tasks.remove(task) {
            self.bytes -= kept.bytes;
        }
    }
}
