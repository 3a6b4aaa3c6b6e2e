//! Answers that all nodes of a broker, and all processes over one store, find.
//!
//! Each is an entry of shared state, `global.callboard-answers.<key>`. A node counts the hits of what it has found by
//! itself and tells the store whenever they have doubled: so the store knows which are used, at the price of a few writes
//! for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callboard_broker::clock::Millis;
use callboard_broker::error::Result;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::{Expect, Key, States, Write};
use serde::{Deserialize, Serialize};

use super::CacheKey;
use super::MAX_KEPT;
use super::kept::{is_over, surplus};
use crate::llm::Response;

/// Below which key of state they are.
const PREFIX: &str = "global.callboard-answers";
/// How often hits are told against others who tell theirs.
const TRIES: usize = 3;

/// An answer as it stands there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Shelved {
    /// When it was given.
    pub(super) at: Millis,
    hits: u64,
    /// It.
    pub(super) answer: Response,
}

/// The answers of a store.
pub(super) struct Store {
    states: Arc<dyn States>,
    by: String,
    limit: usize,
    keep: Millis,
    /// How many there were when this was last counted, and those that were put there from here since.
    known: AtomicUsize,
}

impl Store {
    pub(super) fn new(states: Arc<dyn States>, by: String, limit: usize, keep: Millis) -> Self {
        Self { states, by, limit, keep, known: AtomicUsize::new(usize::MAX) }
    }

    /// The answer under a key, unless it is too old.
    pub(super) async fn find(&self, key: &CacheKey, now: Millis) -> Result<Option<Shelved>> {
        let Some(entry) = self.states.get(vec![place(key)?]).await?.pop().flatten() else { return Ok(None) };
        let shelved: Shelved = entry.value.read()?;
        Ok(Some(shelved).filter(|shelved| !is_over(shelved.at, self.keep, now)))
    }

    /// Puts an answer there; when there are too many, those with the fewest hits go, a tenth of all at a time.
    pub(super) async fn put(&self, key: &CacheKey, answer: &Response, now: Millis) -> Result<()> {
        let value = Body::of(Shelved { at: now, hits: 1, answer: answer.clone() });
        if value.json()?.len() > MAX_KEPT {
            return Ok(());
        }
        self.write(place(key)?, Expect::Any, Some(value)).await?;
        // At the top it stays: nothing was counted yet.
        let counted = |known: usize| Some(known.saturating_add(1));
        let known = self.known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        if known.is_ok_and(|known| known < self.limit) {
            return Ok(());
        }
        self.make_room(key, now).await
    }

    /// How many go at a time, because all have to be read for it: a tenth.
    fn room(&self) -> usize {
        (self.limit / 10).max(1)
    }

    async fn make_room(&self, new: &CacheKey, now: Millis) -> Result<()> {
        let new = place(new)?;
        let all = self.states.list(PREFIX.into()).await?;
        let others: Vec<_> = all.into_iter().filter(|entry| entry.key != new).collect();
        // One that cannot be read is as old as can be.
        let about = others.iter().map(|entry| entry.value.read::<Shelved>().map_or((0, 0), |one| (one.hits, one.at)));
        let gone = surplus(&about.collect::<Vec<_>>(), self.limit - self.room(), self.keep, now);
        self.known.store(others.len() + 1 - gone.len(), Ordering::Relaxed);
        let delete = |at: &usize| Write {
            key: others[*at].key.clone(),
            expect: Expect::Version(others[*at].version),
            value: None,
            by: self.by.clone(),
            task: None,
        };
        // One that was changed meanwhile stays: it is in use.
        self.states.put(gone.iter().map(delete).collect()).await.into_iter().try_for_each(|put| put.map(drop))
    }

    /// It was found so many times more.
    pub(super) async fn used(&self, key: &CacheKey, more: u64) -> Result<()> {
        for _ in 0..TRIES {
            let Some(entry) = self.states.get(vec![place(key)?]).await?.pop().flatten() else { return Ok(()) };
            let mut shelved: Shelved = entry.value.read()?;
            shelved.hits += more;
            if self.write(entry.key, Expect::Version(entry.version), Some(Body::of(shelved))).await? {
                break;
            }
        }
        Ok(())
    }

    /// Lets go of it.
    pub(super) async fn remove(&self, key: &CacheKey) -> Result<()> {
        self.write(place(key)?, Expect::Any, None).await.map(drop)
    }

    /// Whether it was applied.
    async fn write(&self, key: Key, expect: Expect, value: Option<Body>) -> Result<bool> {
        let write = Write { key, expect, value, by: self.by.clone(), task: None };
        let put = self.states.put(vec![write]).await.pop();
        Ok(matches!(put.transpose()?, Some(callboard_broker::state::Put::Applied(_))))
    }
}

fn place(key: &CacheKey) -> Result<Key> {
    Ok(Key::parse(&format!("{PREFIX}.{key}"))?)
}
