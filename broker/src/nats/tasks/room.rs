//! What the calls share: reading stories, appending records, marks of single writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::desk::Desk;
use super::held::Holdings;
use super::hub::Hub;
use super::versions::Versions;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::nats::dead::DeadKeeper;
use crate::nats::js::{MULTI, Raw, Refusal};
use crate::nats::link::Link;
use crate::nats::names;
use crate::nats::record::{Story, parse_subject};
use crate::nats::seen::Seen;
use crate::subject::CapabilityName;
use crate::values;

/// How long a write whose answer was lost is looked up and tried again.
const PERSIST: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// How often copies of a stream are asked for what its leader has.
pub(super) const LOOKS: usize = 200;
/// Kinds of records of one task at most: how many tasks one look can hold.
const KINDS: usize = 13;

/// The tasks of this wing. The last one that goes ends its helpers.
pub(crate) struct TaskRoom(pub(super) Arc<Room>);

pub(crate) struct Room {
    pub(super) link: Arc<Link>,
    pub(super) dead: Arc<DeadKeeper>,
    seen: Arc<Seen>,
    writes: AtomicU64,
    pub(super) held: Holdings,
    pub(super) versions: Versions,
    pub(super) hub: Arc<Hub>,
    pub(super) desks: Mutex<HashMap<CapabilityName, Arc<Desk>>>,
    /// Something changed that the keeper may have to look at.
    pub(super) stirred: Notify,
    /// This process has put a task into the queue.
    pub(super) queued_here: Notify,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    At(u64),
    Conflict,
}

impl TaskRoom {
    /// The room, with its keeper when this process does work.
    pub(crate) fn open(link: Arc<Link>, works: bool, dead: Arc<DeadKeeper>, seen: Arc<Seen>) -> Self {
        let room = Arc::new(Room {
            hub: Hub::new(link.clone()),
            link,
            dead,
            seen,
            writes: AtomicU64::new(0),
            held: Holdings::default(),
            versions: Versions::default(),
            desks: Mutex::default(),
            stirred: Notify::new(),
            queued_here: Notify::new(),
        });
        super::keeper::start(&room, works);
        Self(room)
    }
}

impl Room {
    pub(super) fn now(&self) -> Millis {
        self.link.clock.now()
    }

    /// A mark that no other write in the world has.
    pub(super) fn mark(&self) -> String {
        format!("{:08x}.{}", self.link.boot, self.writes.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether this process made that mark.
    pub(super) fn is_ours(&self, mark: &str) -> bool {
        boot_of(mark) == Some(self.link.boot)
    }

    pub(super) fn desks(&self) -> MutexGuard<'_, HashMap<CapabilityName, Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the newest record of each kind says of tasks: enough to know where they stand, not their whole logs.
    pub(super) async fn glance(&self, tasks: &[TaskId]) -> Result<Vec<Story>> {
        let mut by_task: HashMap<TaskId, Vec<Raw>> = HashMap::new();
        for chunk in tasks.chunks(MULTI / KINDS) {
            let filters: Vec<String> = chunk.iter().map(names::records).collect();
            for raw in self.link.last_of(names::RUNS, &filters, None).await? {
                if let Some((task, _)) = parse_subject(&raw.subject) {
                    by_task.entry(task).or_default().push(raw);
                }
            }
        }
        Ok(tasks.iter().map(|task| Story::read(by_task.get(task).into_iter().flatten())).collect())
    }

    /// Where a task stands by what the leader of the stream knows; a copy may not have heard of the newest record yet.
    pub(super) async fn newest_glance(&self, task: &TaskId) -> Result<Story> {
        let (newest, _) = self.link.newest(names::RUNS, &names::records(task)).await?;
        for _ in 0..LOOKS {
            let story = self.glance(std::slice::from_ref(task)).await?.pop().unwrap_or_default();
            if story.last >= newest {
                return Ok(story);
            }
        }
        Err(Error::unavailable(format!("{}: the copies of the log of runs are behind", self.link.address)))
    }

    /// The whole story of a task.
    pub(super) async fn story(&self, task: &TaskId) -> Result<Story> {
        Ok(Story::read(&self.link.all(names::RUNS, &names::records(task), 1).await?))
    }

    /// The whole stories of tasks; those without records of the contract cost one look together.
    pub(super) async fn stories(&self, tasks: &[TaskId]) -> Result<Vec<Story>> {
        let mut stories = self.glance(tasks).await?;
        for (task, story) in tasks.iter().zip(&mut stories) {
            if !story.log.is_empty() {
                *story = self.story(task).await?;
            }
        }
        Ok(stories)
    }

    /// Appends a record to the log of a task when its newest record is `expected`.
    ///
    /// # Errors
    /// `Unknown` when no answer came for 20 s; whatever the server refused for another reason.
    pub(super) async fn append_record(
        &self,
        task: &TaskId,
        kind: &str,
        expected: u64,
        body: String,
        mark: &str,
    ) -> Result<Appended> {
        let (subject, filter) = (names::record(task, kind), names::records(task));
        let body = match kind {
            // Agents write these for themselves and each other; a root and its outcome are read by everybody.
            "step" | "effect" => self.link.pack_in(&task.run(), body, mark, values::INLINE).await?,
            _ if !task.is_first_root() => self.link.pack_in(&task.run(), body, mark, values::INLINE).await?,
            _ => self.link.pack(body, mark).await?,
        };
        let (since, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let stored = self.link.store_after(&subject, &filter, expected, body.clone()).await;
            match stored {
                Ok(stored) => return Ok(self.note(stored.seq, kind)),
                Err(Refusal::Failed(error)) => return Err(error),
                Err(Refusal::Full) => return Err(Refusal::Full.into_error("the log of runs")),
                Err(Refusal::Conflict | Refusal::Occupied | Refusal::Unknown(_)) => {}
            }
            match self.find(task, expected, mark).await {
                Ok(Found::Ours(seq)) => return Ok(self.note(seq, kind)),
                Ok(Found::Another) => return Ok(Appended::Conflict),
                // Not there yet: it may be on its way, and then a second copy meets a conflict.
                Ok(Found::Nothing) | Err(_) => {}
            }
            if since.elapsed() >= PERSIST {
                return Err(Error::Unknown { what: format!("{kind} of task {task}").into() });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn note(&self, seq: u64, kind: &str) -> Appended {
        self.seen.note_run(seq, kind);
        Appended::At(seq)
    }

    /// What stands after record `expected` of a task.
    async fn find(&self, task: &TaskId, expected: u64, mark: &str) -> Result<Found> {
        let filter = names::records(task);
        let (newest, _) = self.link.newest(names::RUNS, &filter).await?;
        if newest <= expected {
            return Ok(Found::Nothing);
        }
        for _ in 0..LOOKS {
            let records = self.link.all(names::RUNS, &filter, expected + 1).await?;
            if let Some(raw) = records.iter().find(|raw| mark_of(raw) == mark) {
                return Ok(Found::Ours(raw.seq));
            }
            // A copy that is behind the leader says nothing of what it has not got.
            if records.last().is_some_and(|last| last.seq >= newest) {
                return Ok(Found::Another);
            }
        }
        Ok(Found::Nothing)
    }
}

enum Found {
    Ours(u64),
    Another,
    Nothing,
}

/// The incarnation that made a mark; none for those of others than us.
pub(super) fn boot_of(mark: &str) -> Option<u32> {
    mark.split_once('.').and_then(|(boot, _)| u32::from_str_radix(boot, 16).ok())
}

/// The mark of whoever wrote a document.
pub(super) fn mark_of(raw: &Raw) -> String {
    #[derive(serde::Deserialize)]
    struct Marked {
        #[serde(default)]
        writer: String,
    }
    serde_json::from_slice::<Marked>(&raw.body).map(|marked| marked.writer).unwrap_or_default()
}

/// A document of ours as text.
pub(super) fn text<T: Serialize>(document: &T) -> Result<String> {
    serde_json::to_string(document).map_err(|e| Error::decode(format!("a record cannot be written: {e}")))
}
