//! The attempts of a task as its log tells them.

use callboard::broker::clock::Millis;
use callboard::broker::task::{Entry, Record, Release, Status};
use callboard::broker::tasks::TaskView;
use serde::Serialize;

use crate::output::time;

/// One attempt. The first leaves no record at its beginning, so it may not be known where it ran.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Attempt {
    pub(super) attempt: u32,
    pub(super) node: Option<String>,
    /// `completed`, `failed`, `retry`, `declined`, `drained`, `died` with its process; none while it runs or when its claim
    /// lapsed.
    pub(super) end: Option<String>,
    pub(super) error: Option<String>,
    pub(super) started_at: Option<String>,
    pub(super) ended_at: Option<String>,
    /// When the next one was due.
    pub(super) next_at: Option<String>,
}

/// The attempts as the log tells them.
pub(super) fn attempts(view: &TaskView, log: &[Record]) -> Vec<Attempt> {
    let begun = |attempt, node: Option<String>, at: Option<Millis>| Attempt {
        attempt,
        node,
        end: None,
        error: None,
        started_at: at.map(time::date),
        ended_at: None,
        next_at: None,
    };
    let mut all: Vec<Attempt> = Vec::new();
    for record in log {
        match &record.entry {
            Entry::Claimed { attempt, node, .. } => all.push(begun(*attempt, Some(node.to_string()), Some(record.at))),
            Entry::Released { reason, error, not_before, .. } => {
                if all.last().is_none_or(|last| last.end.is_some()) {
                    all.push(begun(all.last().map_or(1, |last| last.attempt + 1), None, None));
                }
                let Some(last) = all.last_mut() else { continue };
                last.end = Some(match reason {
                    Release::Retry => "retry".into(),
                    Release::Declined => "declined".into(),
                    Release::Drained => "drained".into(),
                });
                last.error = error.as_ref().map(|error| error.message.clone());
                last.ended_at = Some(time::date(record.at));
                last.next_at = (*reason == Release::Retry).then(|| time::date(*not_before));
            }
            Entry::Died { node, not_before, .. } => {
                if all.last().is_none_or(|last| last.end.is_some()) {
                    all.push(begun(all.last().map_or(1, |last| last.attempt + 1), Some(node.to_string()), None));
                }
                let Some(last) = all.last_mut() else { continue };
                last.end = Some("died".into());
                last.ended_at = Some(time::date(record.at));
                last.next_at = (*not_before > 0).then(|| time::date(*not_before));
            }
            Entry::Step { .. }
            | Entry::Delegated { .. }
            | Entry::Parked { .. }
            | Entry::Intent { .. }
            | Entry::Effect { .. }
            | Entry::Undone { .. } => {}
        }
    }
    let now_running = (view.status == Status::InProgress).then_some((view.node.clone(), view.started_at, view.attempt));
    let ended = view.outcome.as_ref().filter(|outcome| outcome.attempt > 0);
    let newest = ended.map(|outcome| (outcome.node.clone(), outcome.started_at, outcome.attempt)).or(now_running);
    if let Some((node, at, attempt)) = newest {
        if all.last().is_none_or(|last| last.attempt != attempt || last.end.is_some()) {
            all.push(begun(attempt, node.map(|node| node.to_string()), at));
        }
        if let (Some(last), Some(outcome)) = (all.last_mut(), ended) {
            last.end = Some(outcome.status.to_string());
            last.error = outcome.error.as_ref().map(|error| error.message.clone());
            last.ended_at = Some(time::date(outcome.finished_at));
        }
    }
    all
}
