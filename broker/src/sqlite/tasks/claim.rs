//! Claims, and what time brings: leases that lapse, deadlines that pass, waits that are over.

use tokio::sync::{oneshot, watch};

use super::super::fault::{Done, Fault};
use super::super::turn::Turn;
use super::handout::{Handout, Parked};
use super::mirror::Handed;
use super::{end, rows};
use crate::clock::millis;
use crate::facts;
use crate::id::NodeName;
use crate::queue::{Batch, Due, Spent, Taken, Want};
use crate::suspect::{self, Death};
use crate::task::{Entry, Record};
use crate::tasks::{Claim, Fence, LEASE, Lease, MAX_CLAIM, Revoked};

/// What a claim comes to at once.
pub(super) enum Claimed {
    Now(Handout),
    /// There is nothing yet, and the claimer is willing to wait.
    Parked(Parked),
}

/// Hands out what is there, or parks the claimer.
pub(super) fn claim(turn: &mut Turn<'_>, claim: &Claim) -> Done<Claimed> {
    let want = Want {
        capability: claim.capability.clone(),
        slots: claim.slots.clamp(1, MAX_CLAIM),
        bulk: claim.bulk,
        node: claim.node.clone(),
        declined: claim.declined.clone(),
        lease: millis(LEASE),
        serving: claim.serving.clone(),
    };
    let batch = turn.core.tasks.queue.claim(&want, turn.now);
    let leases = hand_out(turn, &want.node, batch)?;
    let home = turn.core.tasks.home.clone();
    if !leases.is_empty() {
        return Ok(Claimed::Now(Handout::new(leases, home)));
    }
    let (reply, answer) = oneshot::channel();
    let until = turn.now.saturating_add(millis(claim.wait));
    let ticket = turn.core.tasks.park(want, until, reply);
    Ok(Claimed::Parked(Parked::new(ticket, home, answer)))
}

/// Serves claimers that wait with what has become ready in this transaction.
pub(in super::super) fn feed(turn: &mut Turn<'_>) -> Done<()> {
    for (ticket, batch) in turn.core.tasks.queue.feed(turn.now) {
        hand_to(turn, ticket, batch)?;
    }
    Ok(())
}

/// Does what has become due.
pub(in super::super) fn pass_time(turn: &mut Turn<'_>) -> Done<()> {
    for due in turn.core.tasks.queue.due(turn.now) {
        match due {
            Due::Expired(place) => end::spent(turn, &place, Spent::Expired)?,
            Due::Unserved(place, version) => end::spent(turn, &place, Spent::Unserved(version))?,
            Due::Lapsed { task, lease } => {
                turn.core.tasks.put_down(turn.db, &task)?;
                turn.news.let_go.push((lease, Some(Revoked::Replaced)));
            }
            Due::Waited(ticket, batch) => hand_to(turn, Some(ticket), batch)?,
        }
    }
    Ok(())
}

fn hand_to(turn: &mut Turn<'_>, ticket: Option<u64>, batch: Batch) -> Done<()> {
    let node = ticket.and_then(|ticket| turn.core.tasks.want(ticket)).map(|want| want.node.clone());
    let leases = match node {
        Some(node) => hand_out(turn, &node, batch)?,
        None => {
            end_spent(turn, batch)?;
            Vec::new()
        }
    };
    turn.news.handed.extend(ticket.map(|ticket| Handed { ticket, leases }));
    Ok(())
}

fn end_spent(turn: &mut Turn<'_>, batch: Batch) -> Done<Vec<Taken>> {
    for (place, why) in batch.spent {
        end::spent(turn, &place, why)?;
    }
    Ok(batch.taken)
}

fn hand_out(turn: &mut Turn<'_>, node: &NodeName, batch: Batch) -> Done<Vec<Lease>> {
    let mut leases = Vec::with_capacity(batch.taken.len());
    for taken in end_spent(turn, batch)? {
        match begin(turn, node, &taken) {
            Ok(Begun::Attempt(lease)) => leases.push(*lease),
            Ok(Begun::Deadly(deaths)) => end::deadly(turn, &taken, deaths)?,
            // Nothing is made of a damaged row, so this task can never be done: whoever waits for it is told.
            Err(Fault::Damaged { table, row }) => end::damaged(turn, &taken, &format!("row {row} of table {table}"))?,
            Err(fault) => return Err(fault),
        }
    }
    Ok(leases)
}

/// What becomes of a task that was taken from the queue.
enum Begun {
    Attempt(Box<Lease>),
    /// It is given up for these deaths.
    Deadly(Vec<Death>),
}

/// Begins an attempt: reads all of it first, then records it.
fn begin(turn: &mut Turn<'_>, node: &NodeName, taken: &Taken) -> Done<Begun> {
    let Taken { task: id, held, again, version } = taken;
    let mirror = &turn.core.tasks;
    let Some(place) = mirror.queue.get(id) else { return Err(Fault::damaged("queue", id)) };
    let seq = place.item.seq;
    let task = mirror.body(id, seq, turn.db.conn())?;
    let records = mirror.records(seq);
    // What was laid aside in its first claim counts as never handed out, and has a log.
    let again = *again || records > 0;
    let mut log = if again { rows::log(turn.db.conn(), seq, records)? } else { Vec::new() };
    let deaths = suspect::deaths(&log);
    if deaths.len() >= suspect::MAX_DEATHS {
        return Ok(Begun::Deadly(deaths));
    }
    if again || version.is_some() {
        let entry = Entry::Claimed { attempt: held.attempt, node: node.clone(), version: version.clone() };
        let record = Record { n: records + 1, at: turn.now, entry };
        rows::append(turn.db, seq, &record)?;
        log.push(record);
        turn.core.tasks.has_records(seq, records + 1);
    }
    turn.core.tasks.put_down(turn.db, id)?;
    turn.core.tasks.bodies.hold(&task);
    let told = watch::Sender::new(None);
    let fence = Fence { task: id.clone(), lease: held.lease, last: log.len() as u64 };
    let revoked = told.subscribe();
    turn.core.tasks.live.insert(held.lease, told);
    turn.happened(facts::started(&task, held.attempt, node));
    Ok(Begun::Attempt(Box::new(Lease { task, attempt: held.attempt, log, fence, revoked })))
}
