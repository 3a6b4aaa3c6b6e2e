//! Messages as they are written on a lane, and what becomes of them in the words of the contract.

use std::time::Duration;

use tokio::time::Instant;

use super::lane::End;
use super::peer::Came;
use crate::codec::{Bincode, Codec, Kind, Letter, MAX_HOPS, Malformed, Record, Top};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::messages::{Address, Message};
use crate::payload::Payload;
use crate::subject::CapabilityName;
use crate::trace::TraceContext;

/// When another try makes sense after our own end of a lane was full.
const RETRY: Duration = Duration::from_millis(100);

/// Room for most addresses.
const ROOM: usize = 256;

/// Hands the written address of a message to `take`. It is written for every message, so most need no memory of their own.
pub(super) fn with_letter<T>(message: &Message, take: impl FnOnce(&[u8]) -> T) -> T {
    let (letter, mut room) = (letter(message), [0; ROOM]);
    if let Some(written) = Bincode.fit_letter(&letter, &mut room).and_then(|length| room.get(..length)) {
        return take(written);
    }
    let mut bytes = Vec::with_capacity(2 * ROOM);
    Bincode.put_letter(&letter, &mut bytes);
    take(&bytes)
}

fn letter(message: &Message) -> Letter<'_> {
    let (by_name, to) = match &message.to {
        Address::Capability(name) => (false, name.as_str()),
        Address::Agent(name) => (true, &**name),
    };
    Letter {
        by_name,
        to,
        capability: message.capability.as_str(),
        from: &message.from,
        run: message.run.as_ref().map_or("", RunId::as_str),
        // The nearest are the ones that tell a loop.
        hops: message.hops.iter().rev().take(MAX_HOPS).rev().map(|hop| &**hop).collect(),
    }
}

/// The record of a message; number and time are filled in by the lane.
pub(super) fn top(kind: Kind, message: &Message) -> Top {
    let hops = u8::try_from(message.hops.len()).unwrap_or(u8::MAX);
    let trace = message.traceparent.map_or([0; 25], |context| context.bytes());
    Top { hops, trace, ..Top::new(kind, 0) }
}

/// A message as it was written, without body and deadline, and the length of what it was read from.
pub(super) fn addressed(payload: &[u8]) -> Result<(Message, usize), Malformed> {
    let (letter, body) = Bincode.letter(payload)?;
    let capability = |name: &str| CapabilityName::parse(name).map_err(|_| Malformed::Letter);
    let run = if letter.run.is_empty() { None } else { Some(RunId::parse(letter.run).map_err(|_| Malformed::Letter)?) };
    let message = Message {
        to: if letter.by_name { Address::Agent(letter.to.into()) } else { Address::Capability(capability(letter.to)?) },
        capability: capability(letter.capability)?,
        from: letter.from.into(),
        body: Payload::null(),
        deadline: Instant::now(),
        run,
        hops: letter.hops.into_iter().map(Into::into).collect(),
        traceparent: None,
    };
    Ok((message, payload.len() - body.len()))
}

/// The rest of a message: its body, its time, its trace.
pub(super) fn filled(message: Message, record: &Record<'_>, body: &[u8], now: Instant) -> Result<Message> {
    let deadline = now + Duration::from_millis(u64::from(record.top.left));
    let traceparent = TraceContext::from_bytes(record.top.trace);
    Ok(Message { body: Payload::from_peer(body)?, deadline, traceparent, ..message })
}

/// What the sender of a message is told, when `came` is the last word; `node` is where it was.
pub(super) fn ended(came: Came, message: &Message, node: &str, me: &str) -> Result<Payload> {
    let to = || message.to.to_string().into_boxed_str();
    match came {
        Came::Answer(answer, _) => answer,
        Came::Busy(retry_after) => Err(Error::Busy { to: to(), retry_after }),
        Came::NoAgent => Err(Error::NoRecipient { to: to() }),
        Came::End(End::Accepted) => Ok(Payload::null()),
        Came::End(End::Undelivered) => Err(Error::Undelivered { to: to() }),
        Came::End(End::Denied) => {
            let (who, what) = (format!("node {me}"), format!("speak to node {node}"));
            Err(Error::Denied { who: who.into(), what: what.into() })
        }
        Came::End(End::InDoubt) => Err(Error::Unknown { what: format!("{} on node {node}", message.to).into() }),
        Came::End(End::Deadline(limit, _)) => Err(Error::Deadline { to: to(), limit }),
        Came::End(End::Full) => Err(Error::Busy { to: to(), retry_after: RETRY }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            to: Address::Agent("clerk".into()),
            capability: CapabilityName::parse("x.y").unwrap(),
            from: "asker".into(),
            body: Payload::null(),
            deadline: Instant::now(),
            run: Some(RunId::parse("run-1").unwrap()),
            hops: vec!["a".into(), "b".into()],
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
        }
    }

    #[test]
    fn a_message_is_the_same_on_the_other_side() {
        let (sent, now) = (message(), Instant::now());
        let payload = with_letter(&sent, |letter| [letter, b"{\"a\":1}"].concat());
        let (read, length) = addressed(&payload).unwrap();
        let top = Top { left: 250, ..top(Kind::Ask, &sent) };
        let record = Record { top, payload: &payload };
        let read = filled(read, &record, &payload[length..], now).unwrap();
        assert_eq!((&read.to, &read.capability, &read.run), (&sent.to, &sent.capability, &sent.run));
        assert_eq!((&read.from, &read.hops, &read.traceparent), (&sent.from, &sent.hops, &sent.traceparent));
        assert_eq!(read.deadline - now, Duration::from_millis(250));
        assert_eq!(read.body, serde_json::json!({ "a": 1 }).into());
    }

    #[test]
    fn an_address_of_any_length_is_written() {
        let long = Message { from: "f".repeat(10 * ROOM).into(), ..message() };
        let written = with_letter(&long, <[u8]>::to_vec);
        assert_eq!(addressed(&written).unwrap().0.from, long.from);
    }

    #[test]
    fn a_name_that_breaks_the_grammar_is_refused() {
        let mut bytes = Vec::new();
        let letter = Letter { by_name: false, to: "a..b", capability: "x", from: "f", run: "", hops: Vec::new() };
        Bincode.put_letter(&letter, &mut bytes);
        assert!(matches!(addressed(&bytes), Err(Malformed::Letter)));
    }
}
