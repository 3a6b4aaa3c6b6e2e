//! Where the writer works: the connection, what is kept in memory beside it, and how a group of commands is done.
//!
//! A group is one transaction. When it cannot be committed, nothing of it has happened: the file is rolled back, the
//! memory is read back from it, and every command that writes is told why. One command's damaged row, unwritable value or
//! panic is not its neighbours' affair: then each is tried again in a transaction of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use tokio::sync::watch;

use super::core::Core;
use super::db::{self, Db};
use super::fault::{Done, Fault};
use super::job::Job;
use super::lock::Lock;
use super::marks::Mover;
use super::options::Sync;
use super::probe::{Fate, Point};
use super::tasks::{self, Waiters};
use super::turn::{News, Turn};
use super::writer::Waiting;
use crate::clock::{Clock, Millis};

/// How long after a commit that failed the writer looks at the time again.
const RETRY_MS: Millis = 1_000;

/// Dropped in this order: the connection is closed before the lock is given up.
pub(super) struct Desk {
    pub(super) db: Db,
    pub(super) core: Core,
    /// Whether `core` still has to be read back after a rollback.
    pub(super) stale: bool,
    pub(super) store: PathBuf,
    pub(super) clock: Clock,
    /// The latest time seen: stamps never go back, though the wall clock may.
    pub(super) latest: Millis,
    pub(super) sync: Sync,
    pub(super) mover: Mover,
    pub(super) waiters: Waiters,
    /// When the writer has to be woken though nobody calls.
    pub(super) pulse: watch::Sender<Option<Millis>>,
    pub(super) _lock: Lock,
}

type Jobs = Vec<Box<dyn Job>>;

/// Whether a transaction also does what has become due, which writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    Passes,
    Stands,
}

impl Desk {
    /// Does a group of commands and answers each.
    pub(super) fn write(&mut self, group: Vec<Waiting>) {
        self.db.sync_next(match self.sync {
            Sync::Always => true,
            Sync::Never => false,
            Sync::Edges => group.iter().any(|waiting| waiting.cost.edge),
        });
        let (mut looking, mut writing) = (Jobs::new(), Jobs::new());
        for Waiting { cost, job } in group {
            if cost.writes { &mut writing } else { &mut looking }.push(job);
        }
        let failed = self.attempt(Time::Passes, &mut looking, &mut writing).is_err_and(|fault| {
            self.try_apart(looking, writing, &fault);
            true
        });
        let due = match failed {
            false => self.core.tasks.next_wakeup(),
            true => self.core.tasks.next_wakeup().map(|at| at.max(self.clock.now() + RETRY_MS)),
        };
        self.pulse.send_if_modified(|at| std::mem::replace(at, due) != due);
        self.db.trim_log(&self.store);
    }

    /// After a transaction that failed: what only looks is answered without one; what writes is told, unless the fault
    /// is one command's own.
    fn try_apart(&mut self, looking: Jobs, writing: Jobs, fault: &Fault) {
        for job in looking {
            let mut alone = vec![job];
            if let Err(fault) = self.attempt(Time::Stands, &mut alone, &mut Vec::new()) {
                self.refuse(alone, &fault);
            }
        }
        if matches!(fault, Fault::Sql(_)) || writing.len() <= 1 {
            return self.refuse(writing, fault);
        }
        for job in writing {
            let mut alone = vec![job];
            if let Err(fault) = self.attempt(Time::Passes, &mut Vec::new(), &mut alone) {
                self.refuse(alone, &fault);
            }
        }
    }

    fn refuse(&self, jobs: Jobs, fault: &Fault) {
        let error = fault.tell(&self.store);
        for job in jobs {
            job.answer(Err(error.clone()));
        }
    }

    /// One transaction. When it fails, nothing has happened and no job has its answer.
    fn attempt(&mut self, time: Time, looking: &mut Jobs, writing: &mut Jobs) -> Done<()> {
        // A panic is a fault like any other: what it left half done is in the file, which is rolled back, and in
        // memory, which is read back from the file.
        let transact = AssertUnwindSafe(|| self.transact(time, looking, writing));
        let done = catch_unwind(transact).unwrap_or(Err(Fault::Panicked));
        if done.is_err() {
            self.db.rollback();
            self.stale = true;
        }
        done
    }

    fn transact(&mut self, time: Time, looking: &mut Jobs, writing: &mut Jobs) -> Done<()> {
        let now = self.clock.now().max(self.latest);
        self.latest = now;
        if self.stale {
            self.core.reload(self.db.conn(), now)?;
            self.stale = false;
        }
        let mut turn = Turn { db: &self.db, core: &mut self.core, now, news: News::default() };
        let mut ends = Vec::with_capacity(looking.len() + writing.len());
        if time == Time::Passes {
            tasks::pass_time(&mut turn)?;
        }
        for job in looking.iter_mut().chain(writing.iter_mut()) {
            let before = turn.db.writes();
            ends.push(match job.run(&mut turn) {
                // It has changed nothing, so the others can go on.
                Err(fault @ (Fault::Damaged { .. } | Fault::Told(_))) if turn.db.writes() == before => {
                    Err(fault.tell(&self.store))
                }
                ran => Ok(ran?),
            });
        }
        if time == Time::Passes {
            tasks::feed(&mut turn)?;
            // A claim that does not wait is over already.
            tasks::pass_time(&mut turn)?;
        }
        turn.settle()?;
        let news = turn.news;
        let mut answer = || {
            let jobs = looking.drain(..).chain(writing.drain(..));
            jobs.zip(ends.drain(..)).for_each(|(job, end)| job.answer(end));
        };
        if self.db.is_open() {
            match self.db.probe(Point::Commit) {
                Fate::DiskFull => return Err(db::disk_full()),
                Fate::AnswerEarly => {
                    answer();
                    self.db.probe(Point::Answered);
                }
                Fate::GoOn | Fate::Die => (),
            }
            self.db.commit()?;
        }
        answer();
        self.announce(news);
        Ok(())
    }

    /// Tells others what was committed.
    fn announce(&mut self, news: News) {
        self.mover.to(self.core.marks);
        self.waiters.deliver(&news.ended);
        for (lease, why) in news.let_go {
            self.core.tasks.let_go(lease, why);
        }
        for handed in news.handed {
            self.core.tasks.deliver(handed);
        }
    }
}
