//! Which task it was that took its process down, found without blaming those that ran beside it.
//!
//! When a process has died, whoever sees it appends to the log of each task that the process held how many others it held
//! ([`died`]). The first death says nothing yet: machines are switched off, and work goes on elsewhere at once. From the
//! second on, or when processes die one soon [after the other](AGAIN), the task is a *suspect* until one of its attempts
//! has come to an end, or to where it only waits for other tasks. A suspect runs with nothing but suspects beside it, and
//! in a company of at most half the one in which it died: after some halvings it runs alone, and instead of in pairs at
//! once, which would find the same one death later. A death counts against a task only when it ran alone; after
//! [`MAX_DEATHS`] of them in a row in which it made no headway it is given up.
//!
//! So of a company of n tasks each that kills its process is found after about log2 n deaths, and [`MAX_DEATHS`] alone;
//! one that does not is never blamed, because no process dies of it. All of it follows from the log of one task, so it is
//! the same on every wing, and survives whatever dies; only SQLite, where one process does all the work, writes down
//! there that another one had died just before.

use std::time::Duration;

use crate::clock::Millis;
use crate::id::NodeName;
use crate::task::{Entry, Record, Release, Retry};

#[cfg(test)]
mod tests;

/// Deaths of a process in which a task ran alone, in a row and without headway, after which it is given up. More than one
/// would take for a proof, because machines are switched off and processes killed for other reasons.
pub const MAX_DEATHS: usize = 5;
/// Deaths in a row that make no suspect of a task yet, unless the store had seen another process die [just
/// before](AGAIN).
pub const FORGIVEN: usize = 1;
/// How soon after the last one the death of a process is no accident of its machine. Only where one process does all the
/// work: of many nodes one may well be killed within that time.
pub const AGAIN: Duration = Duration::from_secs(10);
/// A company that is not tried: two alone take as long as two beside each other who die of it, and cost no death.
const PAIR: usize = 2;
/// How often a suspect is put off, since its last death, because its node was not free in time; then it runs beside others.
pub const PUT_OFF: usize = 5;
/// How long a suspect has the process for itself, at the first time; twice as long after each further death beside others.
/// One that runs longer than that is not what the process died of so soon, and others run beside it again.
pub const TRIAL: Duration = Duration::from_secs(10);
/// How often that is doubled at most.
const DOUBLED: u32 = 12;

/// A death that counts against a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The node whose process died.
    pub node: NodeName,
    /// When that was seen.
    pub at: Millis,
}

/// The deaths that count against the task with this log: those in which it ran alone, since it last recorded something
/// that a later attempt finds again, or an attempt came to an end.
pub fn deaths(log: &[Record]) -> Vec<Death> {
    let mut deaths: Vec<Death> = Vec::new();
    for record in log.iter().rev() {
        match &record.entry {
            Entry::Died { node, beside: 0, .. } => deaths.push(Death { node: node.clone(), at: record.at }),
            // What an attempt does before each death is no headway: an intent may be declared every time.
            Entry::Died { .. } | Entry::Claimed { .. } | Entry::Intent { .. } | Entry::Undone { .. } => {}
            Entry::Released { reason: Release::Declined | Release::Drained, .. } => {}
            Entry::Released { reason: Release::Retry, .. }
            | Entry::Parked { .. }
            | Entry::Step { .. }
            | Entry::Effect { .. }
            | Entry::Delegated { .. } => break,
        }
    }
    deaths.reverse();
    deaths
}

/// How a suspect has to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// In a company of at most so many, itself included; 1: alone.
    pub company: usize,
    /// How long nothing else is begun beside it.
    pub trial: Duration,
}

/// What was recorded since an attempt last came to an end, or only waited, newest first.
fn since_an_end(log: &[Record]) -> impl Iterator<Item = &Record> {
    let is_end = |entry: &Entry| matches!(entry, Entry::Parked { .. } | Entry::Released { reason: Release::Retry, .. });
    log.iter().rev().take_while(move |record| !is_end(&record.entry))
}

/// Whether the task with this log is a suspect.
pub fn suspicion(log: &[Record]) -> Option<Suspicion> {
    let (mut company, mut deaths, mut beside_others, mut put_off) = (usize::MAX, 0, 0_u32, 0);
    for record in since_an_end(log) {
        match &record.entry {
            Entry::Died { beside, again, .. } => {
                let half = (*beside as usize).div_ceil(2);
                company = company.min(if half > PAIR { half } else { 1 });
                deaths += if *again { 1 + FORGIVEN } else { 1 };
                beside_others += u32::from(*beside > 0);
            }
            Entry::Released { begun: false, not_before: 1.., .. } if deaths == 0 => put_off += 1,
            _ => {}
        }
    }
    let again = beside_others.saturating_sub(1 + FORGIVEN as u32);
    let trial = TRIAL * 2_u32.pow(again.min(DOUBLED));
    (deaths > FORGIVEN && put_off < PUT_OFF).then_some(Suspicion { company, trial })
}

/// The record that the process of `node` died, which held the task with this log and `beside` others. A suspect that ran
/// alone waits like a failed attempt, so that all others go first; the first death says nothing of it yet, and work goes
/// on elsewhere at once, unless it came soon [again](AGAIN). After the last there is nothing to wait for.
pub fn died(log: &[Record], retry: &Retry, node: NodeName, beside: usize, again: bool, now: Millis) -> Entry {
    let beside = u32::try_from(beside).unwrap_or(u32::MAX);
    let counted = deaths(log).len();
    let times = u32::try_from(counted.saturating_sub(1)).unwrap_or(u32::MAX);
    let wait = retry.base_ms.saturating_mul(1_u64.checked_shl(times).unwrap_or(u64::MAX)).min(retry.max_ms);
    let died_before = since_an_end(log).filter(|record| matches!(record.entry, Entry::Died { .. })).count();
    let waits = beside == 0 && counted + 1 < MAX_DEATHS && died_before >= FORGIVEN;
    let not_before = if waits { now.saturating_add(wait) } else { 0 };
    Entry::Died { node, beside, not_before, again }
}

/// The suspects that run together, and nothing beside them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Company {
    members: usize,
    most: Option<usize>,
    trial: Duration,
}

impl Company {
    /// Takes one more suspect in, if it may run beside those who are in and they beside it.
    pub fn admit(&mut self, suspicion: Suspicion) -> bool {
        let most = self.most.unwrap_or(usize::MAX).min(suspicion.company);
        if self.members >= most {
            return false;
        }
        self.members += 1;
        self.most = Some(most);
        self.trial = self.trial.max(suspicion.trial);
        true
    }

    /// How many it has.
    pub fn members(&self) -> usize {
        self.members
    }

    /// How many it may have, once it has one.
    pub fn most(&self) -> Option<usize> {
        self.most
    }

    /// How long they have the process for themselves.
    pub fn trial(&self) -> Duration {
        self.trial
    }
}
