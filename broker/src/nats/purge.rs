//! Removing what is left of runs that ended long ago: their logs, their state, their large documents.
//!
//! Nothing of a run goes by age alone, because an old record may be what keeps a task from being done again. So a run goes
//! as a whole, once all of its tasks have ended. What is to go is written down first, under one key that all who purge
//! share; the log goes before everything else, in one step of the server, so that a run is seen whole or not at all; and
//! whoever purges next finishes what somebody before left undone.
//!
//! A large document of a log names its writer, so no other run can refer to it and it goes with the log. Files that
//! clients sent are kept under the hash of their bytes and may be shared: they stay, until they are old.
//!
//! Nodes may clear nothing away, so this is for whoever has the rights of an operator.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::js::Refusal;
use super::large;
use super::link::Link;
use super::record::{SUBMITTED, ending, parse_subject};
use super::{blobs, names};
use crate::blobs::Hash;
use crate::clock::Millis;
use crate::code;
use crate::error::{Error, Result};
use crate::id::{RunId, TaskId};
use crate::problem::Problem;

/// Large documents of one log that are removed with it. Those beyond go by their age.
pub const MAX_DOCUMENTS: usize = 4_096;

/// Records in one look.
const PAGE: usize = 256;

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// The run.
    pub run: RunId,
    /// Records of its log.
    pub records: u64,
    /// Changes of its state.
    pub changes: u64,
    /// Large documents.
    pub documents: u64,
}

/// What is to go.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    run: RunId,
    /// The newest record that was seen. A task that is retried in this moment keeps what comes after.
    up_to: u64,
    documents: BTreeSet<Hash>,
}

/// Removes a run.
///
/// # Errors
/// `NotFound`; `Config` for a run of which a task has not ended; `Busy` when somebody else purges; `Denied`;
/// `Unavailable`, and then the next purge goes on with it.
///
/// # Cancellation
/// What has begun is finished by the next purge.
pub async fn purge(link: &Link, run: &RunId) -> Result<Purged> {
    let marker = resume(link).await?;
    let Some(seen) = look(link, run).await? else { return Err(Error::not_found(format!("run {run}"))) };
    if let Some(open) = seen.open {
        let problem = Problem::new(code::WRONG_STATUS, format!("task {open} of run {run} has not ended"));
        let problem = problem.note("only a run that has ended as a whole is removed");
        return Err(Error::Config(Box::new(problem.fix(format!("callboard task cancel {run}")).into())));
    }
    carry_out(link, marker, seen.plan).await
}

/// Removes runs in which nothing has happened since `before`, the oldest first, at most `most` of them. Those of which a
/// task has not ended stay. Returns what was removed.
///
/// # Errors
/// As [`purge`]; what was removed until then is.
pub async fn purge_older(link: &Link, before: Millis, most: usize) -> Result<Vec<Purged>> {
    resume(link).await?;
    let purged = older(link, before, most).await?;
    // A request of somebody who died may have been carried out in the meantime.
    resume(link).await?;
    Ok(purged)
}

async fn older(link: &Link, before: Millis, most: usize) -> Result<Vec<Purged>> {
    let (mut purged, mut seen, mut from) = (Vec::new(), BTreeSet::new(), 1);
    let every = format!("cb.v1.run.*.*.{SUBMITTED}");
    loop {
        let page = link.page_as_stored(names::RUNS, &every, from, PAGE).await?;
        let more = page.last().is_some_and(|raw| raw.pending > 0);
        for raw in page {
            // What comes after was stored later still.
            if raw.at >= before || purged.len() >= most {
                return Ok(purged);
            }
            from = raw.seq + 1;
            let Some(run) = parse_subject(&raw.subject).map(|(task, _)| task.run()) else { continue };
            if !seen.insert(run.clone()) {
                continue;
            }
            let old = look(link, &run).await?.filter(|seen| seen.open.is_none() && seen.newest < before);
            if let Some(old) = old {
                let marker = resume(link).await?;
                purged.push(carry_out(link, marker, old.plan).await?);
            }
        }
        if !more {
            return Ok(purged);
        }
    }
}

/// A run as its log has it.
struct Look {
    plan: Plan,
    /// When its newest record was stored.
    newest: Millis,
    /// One of its tasks that has not ended.
    open: Option<TaskId>,
}

async fn look(link: &Link, run: &RunId) -> Result<Option<Look>> {
    let mut plan = Plan { run: run.clone(), up_to: 0, documents: BTreeSet::new() };
    let (mut tasks, mut newest) = (BTreeMap::<TaskId, bool>::new(), 0);
    loop {
        let page = link.page_as_stored(names::RUNS, &names::run(run), plan.up_to + 1, PAGE).await?;
        let more = page.last().is_some_and(|raw| raw.pending > 0);
        for raw in page {
            (plan.up_to, newest) = (raw.seq, raw.at);
            if let Some((task, kind)) = parse_subject(&raw.subject) {
                *tasks.entry(task).or_default() |= ending(kind).is_some();
            }
            if plan.documents.len() < MAX_DOCUMENTS {
                plan.documents.extend(large::refers_to(&raw.body));
            }
        }
        if !more {
            break;
        }
    }
    let open = tasks.into_iter().find_map(|(task, ended)| (!ended).then_some(task));
    Ok((plan.up_to > 0).then_some(Look { plan, newest, open }))
}

/// Finishes what somebody has left undone. Returns the sequence of the shared key.
///
/// Nodes may write that key, and must get nothing removed by it. So a log that is there stays, and what is written down:
/// nothing of that run was removed yet, or somebody has only claimed that it is to go.
async fn resume(link: &Link) -> Result<u64> {
    let Some(raw) = link.last_of(names::SHARED, &[names::purging()], None).await?.pop() else { return Ok(0) };
    // Emptied: nothing is left undone.
    let Ok(plan) = serde_json::from_slice::<Plan>(&raw.body) else { return Ok(raw.seq) };
    match clear_beside(link, &plan).await? {
        Some(_) => mark(link, raw.seq, Vec::new()).await,
        None => Ok(raw.seq),
    }
}

async fn carry_out(link: &Link, marker: u64, plan: Plan) -> Result<Purged> {
    let body = serde_json::to_vec(&plan).map_err(|e| Error::decode(e.to_string()))?;
    let marker = mark(link, marker, body).await?;
    let records = clear(link, names::RUNS, &names::run(&plan.run), Some(plan.up_to + 1)).await?;
    let (changes, documents) = clear_beside(link, &plan).await?.unwrap_or_default();
    mark(link, marker, Vec::new()).await?;
    Ok(Purged { run: plan.run, records, changes, documents })
}

/// Writes the shared key, unless somebody else has.
async fn mark(link: &Link, expected: u64, body: Vec<u8>) -> Result<u64> {
    let key = names::purging();
    match link.store_after(&key, &key, expected, body.into()).await {
        Ok(stored) => Ok(stored.seq),
        Err(Refusal::Conflict) => {
            Err(Error::Busy { to: "purging".into(), retry_after: std::time::Duration::from_secs(1) })
        }
        Err(refusal) => Err(refusal.into_error("purging")),
    }
}

/// Removes what a run had beside its log, once that is gone: changes of state and large documents. A run whose log is
/// there, because it was never removed or because a task of it was tried again, keeps them, and there is no answer.
async fn clear_beside(link: &Link, plan: &Plan) -> Result<Option<(u64, u64)>> {
    if !link.page_as_stored(names::RUNS, &names::run(&plan.run), 1, 1).await?.is_empty() {
        return Ok(None);
    }
    let changes = clear(link, names::STATE, &names::state_of_run(&plan.run), None).await?;
    let mut documents = 0;
    for document in &plan.documents {
        documents += u64::from(blobs::remove(link, document).await?);
    }
    Ok(Some((changes, documents)))
}

/// Removes messages from a stream: those on a subject, up to a sequence that stays. How many there were.
pub(super) async fn clear(link: &Link, stream: &str, filter: &str, before: Option<u64>) -> Result<u64> {
    let mut ask = json!({ "filter": filter });
    if let Some(before) = before {
        ask["seq"] = before.into();
    }
    let said = link.api(&format!("STREAM.PURGE.{stream}"), ask).await?.map_err(|e| e.into_error(stream))?;
    Ok(said["purged"].as_u64().unwrap_or_default())
}
