//! What any process can see of state: as it is, as it was, as it changes.

use std::collections::VecDeque;

use rusqlite::Connection;

use super::super::core::marks;
use super::super::fault::Done;
use super::super::marks::Follower;
use super::super::readers::Readers;
use super::super::view::View;
use super::rows::{self, Entries};
use crate::BoxFuture;
use crate::error::Result;
use crate::state::{Change, Key, Moment, StateEntry, Watch};

/// Changes that are read at a time.
const BATCH: u64 = 256;

impl View {
    pub(in super::super) async fn get_state(&self, keys: Vec<Key>) -> Result<Vec<Option<StateEntry>>> {
        self.readers.read(move |conn| keys.iter().map(|key| rows::entry(conn, key)).collect()).await
    }

    pub(in super::super) async fn list_state(&self, prefix: String) -> Result<Vec<StateEntry>> {
        self.readers.read(move |conn| rows::below(conn, &prefix)).await
    }

    pub(in super::super) async fn history(&self, key: Key) -> Result<Vec<Change>> {
        self.readers.read(move |conn| rows::history(conn, &key)).await
    }

    pub(in super::super) async fn state_at(&self, moment: Moment, prefix: String) -> Result<Vec<StateEntry>> {
        let look = move |conn: &Connection| {
            let sequence = match moment {
                Moment::Sequence(sequence) => sequence,
                Moment::Time(time) => rows::changes_until(conn, time)?,
            };
            Ok(at(conn, sequence)?.into_values().filter(|entry| entry.key.is_below(&prefix)).collect())
        };
        self.readers.read(look).await
    }

    pub(in super::super) async fn watch_state(&self, prefix: String) -> Result<Watching> {
        let (readers, follower, below) = (self.readers.clone(), self.mover.follow(), prefix.clone());
        let (entries, seen) =
            self.readers.read(move |conn| Ok((rows::below(conn, &below)?, marks(conn)?.change))).await?;
        let ready = entries.into_iter().map(as_first).collect();
        Ok(Watching { readers, marks: follower, prefix, seen, ready })
    }
}

/// All entries after change number `sequence`: the nearest snapshot before it, and the changes since.
fn at(conn: &Connection, sequence: u64) -> Done<Entries> {
    let until = sequence.min(marks(conn)?.change);
    let (mut seen, mut entries) = rows::snapshot(conn, until)?;
    while seen < until {
        let changes = rows::changes(conn, seen, until, BATCH)?;
        let Some(last) = changes.last() else { break };
        seen = last.sequence;
        changes.into_iter().for_each(|change| apply(&mut entries, change));
    }
    Ok(entries)
}

fn apply(entries: &mut Entries, change: Change) {
    let Change { key, value, version, by, at, .. } = change;
    match value {
        Some(value) => {
            let entry = StateEntry { key: key.clone(), value, version, updated_by: by, updated_at: at };
            entries.insert(key, entry);
        }
        None => drop(entries.remove(&key)),
    }
}

/// What is there is shown to a watcher before what changes.
fn as_first(entry: StateEntry) -> Change {
    let StateEntry { key, value, version, updated_by: by, updated_at: at } = entry;
    Change { sequence: version, key, value: Some(value), previous: None, version, by, at, task: None }
}

/// A place in the history. Every change is in the file, so a watcher never falls too far behind.
pub(in super::super) struct Watching {
    readers: Readers,
    marks: Follower,
    prefix: String,
    seen: u64,
    ready: VecDeque<Change>,
}

impl Watch for Watching {
    fn next(&mut self) -> BoxFuture<'_, Result<Change>> {
        Box::pin(async move {
            loop {
                if let Some(change) = self.ready.pop_front() {
                    return Ok(change);
                }
                self.marks.beyond(self.seen, |marks| marks.change).await?;
                let seen = self.seen;
                let changes = self.readers.read(move |conn| rows::changes(conn, seen, u64::MAX, BATCH)).await?;
                self.seen = changes.last().map_or(seen, |change| change.sequence);
                self.ready.extend(changes.into_iter().filter(|change| change.key.is_below(&self.prefix)));
            }
        })
    }
}
