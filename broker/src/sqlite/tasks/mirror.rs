//! What the writer keeps in memory of unfinished tasks: the queue, who holds what, who waits, and some bodies.

use std::collections::HashMap;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::super::db::Db;
use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::writer::WeakWriter;
use super::bodies::Bodies;
use super::handout::Handout;
use super::park;
use super::rows::{self, columns};
use crate::clock::{Millis, millis};
use crate::id::TaskId;
use crate::queue::{ASIDE, Item, Limits, Queue, Want};
use crate::task::{BegunBy, Task};
use crate::tasks::{LEASE, Lease, Revoked};

/// See the module. All but `live`, `claimers` and `home` follows from the file.
pub(in super::super) struct Mirror {
    pub(super) queue: Queue,
    limits: Limits,
    /// The place of the newest task.
    pub(super) newest: u64,
    /// How long the logs of unfinished tasks are that have one, by their places.
    records: HashMap<u64, u64>,
    pub(super) bodies: Bodies,
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
            records: HashMap::new(),
            bodies: Bodies::default(),
            live: HashMap::new(),
            claimers: HashMap::new(),
            tickets: 0,
            home: WeakWriter::default(),
        }
    }

    /// Reads back what follows from the file.
    pub(in super::super) fn reload(&mut self, conn: &Connection, now: Millis) -> Done<()> {
        let mut queue = Queue::new(self.limits, self.queue.next_lease());
        let (mut lengths, mut bodies) = (HashMap::new(), Bodies::default());
        let (mut live, mut aside) = (HashMap::new(), Vec::new());
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
                lengths.insert(stored.seq, queued.records);
                item.begun_by = match rows::begun_by(conn, stored.seq) {
                    // Whoever claims it finds the damage, and sets the task aside with its reason.
                    Err(Fault::Damaged { .. }) => BegunBy::default(),
                    read => read?,
                };
                if queued.held.is_none() {
                    item.begun_by.settle();
                }
            }
            if queued.held.is_some() {
                bodies.hold(&stored.task);
            } else if item.not_before != ASIDE {
                bodies.add(stored.task, item.bytes);
            }
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
        (self.queue, self.records, self.bodies, self.live) = (queue, lengths, bodies, live);
        Ok(())
    }

    /// When the writer has to look at the time though nobody calls.
    pub(in super::super) fn next_wakeup(&self) -> Option<Millis> {
        self.queue.next_wakeup()
    }

    /// Takes in a new task.
    pub(super) fn enqueue(&mut self, item: Item, task: Task, now: Millis) {
        self.bodies.add(task, item.bytes);
        self.queue.enqueue(item, now);
    }

    /// Forgets a task that has ended.
    pub(super) fn forget(&mut self, task: &TaskId, seq: u64) {
        self.queue.remove(task);
        self.records.remove(&seq);
        self.bodies.remove(task);
    }

    /// Puts down in the file where an unfinished task stands, and keeps in memory of what it says as much as it takes there.
    pub(super) fn put_down(&mut self, db: &Db, task: &TaskId) -> Done<()> {
        let Some(place) = self.queue.get(task) else { return Ok(()) };
        if place.is_aside() {
            self.bodies.remove(task);
        } else if place.held.is_none() {
            self.bodies.let_go(task, place.item.bytes);
        }
        rows::put_queued(db, &place.item, place.held.as_deref(), self.records(place.item.seq))
    }

    /// A task as it was submitted.
    pub(super) fn body(&self, task: &TaskId, seq: u64, conn: &Connection) -> Done<Task> {
        self.bodies.get(task).cloned().map_or_else(|| rows::task_at(conn, seq), Ok)
    }

    /// How many records the log of the unfinished task at a place has.
    pub(super) fn records(&self, seq: u64) -> u64 {
        self.records.get(&seq).copied().unwrap_or(0)
    }

    /// The log of the unfinished task at a place has so many records now.
    pub(super) fn has_records(&mut self, seq: u64, records: u64) {
        if records > 0 {
            self.records.insert(seq, records);
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
