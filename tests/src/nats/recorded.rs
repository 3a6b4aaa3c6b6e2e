//! What the broker has stored, asked of it in its own words over a plain socket.

use callboard_broker::clock::Millis;
use serde_json::{Value, json};

use super::{Message, Server, Wire};

/// Records in one answer.
const PAGE: usize = 1_000;
/// The kinds of record that end a task.
const ENDS: [&str; 5] = ["completed", "failed", "cancelled", "expired", "skipped"];

/// One record of the log of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its place in the stream.
    pub seq: u64,
    /// When the server stored it.
    pub at: Millis,
    /// Whose log it is in.
    pub task: String,
    /// `submitted`, `claimed`, ..., `completed`.
    pub kind: String,
    /// The incarnation that wrote it; empty for a writer that is none of ours.
    pub boot: String,
    /// Whom it speaks of: who claimed, who lapsed, who has done it.
    pub node: String,
    /// Who says that a claim lapsed.
    pub by: String,
    /// Of an outcome: the claim that wrote it; 0: none did.
    pub lease: u64,
    /// Of a release: why it was handed back.
    pub reason: String,
}

impl Record {
    /// Whether it ends the task.
    pub fn is_end(&self) -> bool {
        ENDS.contains(&self.kind.as_str())
    }

    /// Whether somebody took the task with it.
    pub fn is_claim(&self) -> bool {
        self.kind == "started" || self.kind == "claimed"
    }

    fn read(message: &Message) -> Option<Self> {
        let header = |name: &str| {
            let line = message.headers.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(':').trim().to_owned())
        };
        let subject = header("Nats-Subject")?;
        let mut tokens = subject.split('.').skip(4);
        let (task, kind) = (tokens.next()?.to_owned(), tokens.next()?.to_owned());
        let body: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entry = &body["entry"];
        let node = [&body["node"], &entry["node"], &entry["claimed"]["node"]].into_iter().find(|node| node.is_string());
        let writer = text(&body["writer"]);
        Some(Self {
            seq: header("Nats-Sequence")?.parse().ok()?,
            at: stamp(&header("Nats-Time-Stamp")?)?,
            task,
            kind,
            boot: writer.split_once('.').map(|(boot, _)| boot.to_owned()).unwrap_or_default(),
            node: node.map(text).unwrap_or_default(),
            by: text(&body["by"]),
            lease: body["lease"].as_u64().unwrap_or_default(),
            reason: text(&entry["reason"]) + &text(&entry["released"]["reason"]),
        })
    }
}

/// All records of all tasks, in the order of the stream.
///
/// # Panics
/// When the server does not answer, or keeps what is no record.
pub fn records(server: &Server) -> Vec<Record> {
    let mut wire = server.wire();
    let inbox = "_INBOX.chaos.records";
    wire.subscribe(inbox).expect("it may listen");
    let mut records: Vec<Record> = Vec::new();
    loop {
        let from = records.last().map_or(1, |last| last.seq + 1);
        let ask = json!({ "next_by_subj": "cb.v1.run.>", "seq": from, "batch": PAGE }).to_string();
        wire.publish_with_reply("$JS.API.DIRECT.GET.CB_RUNS", inbox, ask.as_bytes()).expect("it may ask");
        let before = records.len();
        loop {
            let message = wire.receive().expect("the server answers");
            match message.headers.lines().next() {
                Some(first) if first.starts_with("NATS/1.0 ") => break,
                _ => records.push(Record::read(&message).expect("a record has a subject and a number")),
            }
        }
        if records.len() - before < PAGE {
            return records;
        }
    }
}

/// Tasks that are still queued, also those that somebody holds.
///
/// # Panics
/// When the server does not answer.
pub fn queued(wire: &mut Wire) -> u64 {
    let info = wire.ask("$JS.API.STREAM.INFO.CB_TASKS", &Value::Null).expect("the server answers");
    info["state"]["messages"].as_u64().unwrap_or_default()
}

/// RFC 3339 in UTC, as the server writes it, in ms since 1970.
fn stamp(text: &str) -> Option<Millis> {
    let (date, time) = text.trim_end_matches('Z').split_once('T')?;
    let mut date = date.split('-').map(|n| n.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let seconds = clock.split(':').try_fold(0, |sum, n| n.parse::<u64>().ok().map(|n| sum * 60 + n))?;
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // Days since March of the year 0: leap days come last in such a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some(((days - 719_468) * 86_400 + seconds) * 1_000 + millis)
}

#[test]
fn times_of_the_server_are_read() {
    assert_eq!(stamp("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(stamp("2024-02-29T12:30:45.123456789Z"), Some(1_709_209_845_123));
    assert_eq!(stamp("2026-12-31T23:59:59.9Z"), Some(1_798_761_599_900));
}
