//! What a message of the stream of dead letters says.

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::clock::Millis;
use crate::dead_letter::{DeadLetter, NewDeadLetter, Reason};
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::nats::js::Raw;
use crate::nats::names;
use crate::payload::Payload;
use crate::subject;
use crate::task::Status;

/// A dead letter as it is stored: its number is its sequence, and whether it was put back is asked when it is read.
#[derive(Serialize, Deserialize)]
struct Kept {
    at: Millis,
    reason: Reason,
    capability: String,
    to: String,
    from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskId>,
    #[serde(default)]
    body: Payload,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The document of a letter. A body that the server would not take is left out, which the letter then says.
pub(super) fn write(letter: &NewDeadLetter, at: Millis, limit: usize) -> Result<Vec<u8>> {
    let NewDeadLetter { reason, capability, to, from, task, body, error } = letter.clone();
    let (body, why_not) = match body.json() {
        Ok(text) if text.len() <= limit => (body, None),
        Ok(text) => (Payload::null(), Some(format!("its body of {} bytes is too large to be kept", text.len()))),
        Err(error) => (Payload::null(), Some(error.to_string())),
    };
    let error = match (error, why_not) {
        (Some(error), Some(why_not)) => Some(format!("{error}; {why_not}")),
        (error, why_not) => error.or(why_not),
    };
    let kept = Kept { at, reason, capability, to, from, task, body, error };
    serde_json::to_vec(&kept).map_err(|e| Error::decode(format!("a dead letter cannot be written: {e}")))
}

/// Reads a letter; what is none is shown as one that cannot be read.
pub(super) fn read(raw: &Raw) -> DeadLetter {
    let kept = serde_json::from_slice(&raw.body).unwrap_or_else(|error| unreadable(raw, &error));
    let Kept { at, reason, capability, to, from, task, body, error } = kept;
    DeadLetter::new(raw.seq, at, NewDeadLetter { reason, capability, to, from, task, body, error })
}

fn unreadable(raw: &Raw, error: &serde_json::Error) -> Kept {
    let token = |n: usize| raw.subject.split('.').nth(n).unwrap_or_default();
    let text = String::from_utf8_lossy(&raw.body);
    Kept {
        at: raw.at,
        reason: Reason::Undecodable,
        capability: token(3).replace('-', "."),
        to: token(5).to_owned(),
        from: "external".into(),
        task: TaskId::parse(token(5)).ok(),
        body: Payload::from_json(text.clone()).unwrap_or_else(|_| json!(text).into()),
        error: Some(format!("it cannot be read as a dead letter: {error}")),
    }
}

/// How the last token of a message's letter begins, and that of no task's.
pub(super) const OF_MESSAGE: char = '_';

/// The last token of the letter of a task: its id. What was put into the queue under a name that is no id is kept under
/// that name, or under its hash where the name could not stand in a subject of ours.
pub(super) fn token(letter: &NewDeadLetter) -> String {
    let name = letter.task.as_ref().map_or(letter.to.as_str(), TaskId::as_str);
    if subject::token("task", name).is_ok() && !name.starts_with(OF_MESSAGE) {
        return name.to_owned();
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple().to_string()
}

/// Where the letter of a task stands.
pub(super) fn subject(letter: &NewDeadLetter) -> String {
    names::dead(&letter.capability, letter.reason.as_str(), &token(letter))
}

/// Whether a letter with this reason is about a task that has ended so; `None`: it has not. What cannot be read is about
/// the message that was in the queue, whatever became of a task of that name.
pub(crate) fn tells_of(reason: Reason, ended: Option<Status>) -> bool {
    match reason {
        Reason::Expired => ended == Some(Status::Expired),
        Reason::NoRecipient | Reason::Failed | Reason::TooManyClaims => ended == Some(Status::Failed),
        Reason::Undecodable | Reason::Spoofed => true,
    }
}

/// Whether it is a message: only those make room for others.
pub(super) fn is_message(raw: &Raw) -> bool {
    raw.subject.rsplit('.').next().is_some_and(|token| token.starts_with(OF_MESSAGE))
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;

    fn letter(body: Payload) -> NewDeadLetter {
        NewDeadLetter {
            reason: Reason::Expired,
            capability: "agent".into(),
            to: "a".into(),
            from: "b".into(),
            task: None,
            body,
            error: Some("late".into()),
        }
    }

    fn raw(body: Vec<u8>) -> Raw {
        let subject = "cb.v1.dead.research-web.failed.run".into();
        Raw { subject, seq: 3, at: 5, headers: HeaderMap::new(), body: body.into(), pending: 0 }
    }

    #[test]
    fn a_letter_reads_as_it_was_written() {
        let letter = letter(json!({ "b": 1 }).into());
        let read = read(&raw(write(&letter, 9, 100).unwrap()));
        assert_eq!(read, DeadLetter::new(3, 9, letter));
    }

    #[test]
    fn a_body_that_is_too_large_is_left_out_and_named() {
        let read = read(&raw(write(&letter(json!("xxxxxxxxxx").into()), 9, 10).unwrap()));
        assert_eq!(read.body, Payload::null());
        assert_eq!(read.error.as_deref(), Some("late; its body of 12 bytes is too large to be kept"));
    }

    #[test]
    fn a_letter_tells_of_an_end_of_its_kind_and_of_none_that_has_not_come() {
        let told = |reason| {
            let ends = [Status::Completed, Status::Failed, Status::Cancelled, Status::Expired, Status::Skipped];
            let told: Vec<Status> = ends.into_iter().filter(|end| tells_of(reason, Some(*end))).collect();
            (told, tells_of(reason, None))
        };
        assert_eq!(told(Reason::Expired), (vec![Status::Expired], false));
        for reason in [Reason::Failed, Reason::TooManyClaims, Reason::NoRecipient] {
            assert_eq!(told(reason), (vec![Status::Failed], false));
        }
        assert_eq!((told(Reason::Undecodable).0.len(), tells_of(Reason::Undecodable, None)), (5, true));
    }

    #[test]
    fn what_is_no_letter_is_shown_as_what_its_subject_says() {
        let read = read(&raw(b"oops".to_vec()));
        assert_eq!((read.reason, read.capability.as_str(), read.seq), (Reason::Undecodable, "research.web", 3));
        assert_eq!((read.task.unwrap().as_str(), read.body), ("run", json!("oops").into()));
    }
}
