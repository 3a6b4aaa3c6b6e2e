//! Entries of shared state that the nodes of a broker change together: each knows them all, and changes one by
//! compare-and-set.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_broker::error::Result;
use callboard_broker::id::NodeName;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Put, StateEntry, States, Write};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Wait before state is watched again after that ended.
const AGAIN: Duration = Duration::from_millis(500);

/// What such an entry holds.
pub(crate) trait Common:
    Copy + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// How often a change that met another one is tried.
    const TRIES: usize;

    /// Whether it says anything; what does not is no entry.
    fn says_something(self) -> bool;

    /// What counts when there is no entry and a node knew this.
    fn without_entry(_known: Self) -> Self {
        Self::default()
    }
}

/// All entries below one key.
pub(crate) struct Shared<T> {
    prefix: &'static str,
    by: NodeName,
    states: Arc<dyn States>,
    known: Arc<Known<T>>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

struct Known<T> {
    entries: Mutex<HashMap<String, Local<T>>>,
    /// Told whenever one of them becomes another.
    news: watch::Sender<()>,
}

/// An entry as this node knows it.
#[derive(Clone, Copy, Default)]
struct Local<T> {
    /// Its version when it was heard of last: older news is no news.
    version: u64,
    value: T,
}

/// A change that was made.
pub(crate) struct Changed<T, R> {
    pub(crate) before: T,
    pub(crate) after: T,
    pub(crate) result: R,
}

impl<T: Common> Shared<T> {
    pub(crate) fn new(prefix: &'static str, by: NodeName, states: Arc<dyn States>) -> Self {
        let known = Known { entries: Mutex::default(), news: watch::channel(()).0 };
        Self { prefix, by, states, known: Arc::new(known), follower: Mutex::default() }
    }

    /// From now on, and until [`unfollow`](Self::unfollow), what other nodes change is known here.
    pub(crate) fn follow(&self) {
        let task = tokio::spawn(follow(self.prefix, self.states.clone(), self.known.clone()));
        *self.follower() = Some(task);
    }

    /// Lets go of shared state; done when nothing of it is held any more.
    pub(crate) async fn unfollow(&self) {
        let task = self.follower().take();
        if let Some(task) = task {
            task.abort();
            // It was told to end, and how it ended says nothing.
            let _ = task.await;
        }
    }

    fn follower(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry as it is known here.
    pub(crate) fn known(&self, name: &str) -> T {
        self.known.lock().get(name).map(|local| local.value).unwrap_or_default()
    }

    /// Resolves when something becomes known; from now on, not from when it is first polled.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.known.news.subscribe()
    }

    /// Changes what this node alone knows, without telling anybody.
    pub(crate) fn change_here(&self, name: &str, how: impl FnOnce(T) -> T) {
        let mut entries = self.known.lock();
        let local = entries.entry(name.to_owned()).or_default();
        local.value = how(local.value);
    }

    /// Changes the entry that all share. None when it cannot be reached or others change it all the time.
    pub(crate) async fn change<R>(&self, name: &str, how: impl Fn(T) -> (T, R)) -> Option<Changed<T, R>> {
        let key = Key::parse(&format!("{}.{name}", self.prefix)).ok()?;
        let mut entry = self.states.get(vec![key.clone()]).await.ok()?.pop().flatten();
        for _ in 0..T::TRIES {
            let there = entry.as_ref().and_then(|entry| entry.value.read().ok());
            let before: T = there.unwrap_or_else(|| T::without_entry(self.known(name)));
            let (after, result) = how(before);
            let version = entry.as_ref().map_or(0, |entry| entry.version);
            if after == before || !(before.says_something() || after.says_something()) {
                self.known.learn(name, version, after);
                return Some(Changed { before, after, result });
            }
            match self.put(&key, version, after).await.ok()? {
                Put::Applied(version) => {
                    self.known.learn(name, version, after);
                    return Some(Changed { before, after, result });
                }
                Put::Conflict(current) => entry = current,
                Put::Unknown => entry = self.states.get(vec![key.clone()]).await.ok()?.pop().flatten(),
            }
        }
        None
    }

    async fn put(&self, key: &Key, version: u64, value: T) -> Result<Put> {
        let expect = Expect::Version(version);
        let value = value.says_something().then(|| Payload::of(value));
        let write = Write { key: key.clone(), expect, value, by: self.by.to_string(), task: None };
        self.states.put(vec![write]).await.pop().unwrap_or(Ok(Put::Unknown))
    }
}

impl<T: Common> Known<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Local<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, prefix: &str, key: &Key, version: u64, value: Option<&Payload>) {
        let name = key.as_str().strip_prefix(prefix).and_then(|name| name.strip_prefix('.'));
        if let Some(name) = name {
            self.learn(name, version, value.and_then(|value| value.read().ok()).unwrap_or_default());
        }
    }

    /// What was read or written last is known, in whatever order it is heard of. Without an entry the node's own word
    /// counts.
    fn learn(&self, name: &str, version: u64, value: T) {
        let mut entries = self.lock();
        let local = entries.entry(name.to_owned()).or_default();
        if version > local.version || version == 0 {
            *local = Local { version: version.max(local.version), value };
            drop(entries);
            self.news.send_replace(());
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(JoinHandle::abort);
    }
}

/// Keeps what is known as it is in shared state.
async fn follow<T: Common>(prefix: &'static str, states: Arc<dyn States>, known: Arc<Known<T>>) {
    loop {
        if let Ok(mut watch) = states.watch(prefix.into()).await {
            let entries: Vec<StateEntry> = states.list(prefix.into()).await.unwrap_or_default();
            for entry in entries {
                known.hear(prefix, &entry.key, entry.version, Some(&entry.value));
            }
            while let Ok(change) = watch.next().await {
                known.hear(prefix, &change.key, change.version, change.value.as_ref());
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
