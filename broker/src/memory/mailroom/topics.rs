//! Broadcasts: who reads which topic, and how far behind each reader is.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::BoxFuture;
use crate::error::{Error, Result};
use crate::messages::{ALL, BACKLOG, Broadcast, Subscription};
use crate::subject;

/// All readers, the oldest first.
#[derive(Default)]
pub(super) struct Topics(Arc<Mutex<Vec<Arc<Reader>>>>);

struct Reader {
    topic: Box<str>,
    who: Box<str>,
    behind: Mutex<Behind>,
    arrived: Notify,
}

/// What a reader has not read yet; the oldest makes room.
#[derive(Default)]
struct Behind {
    broadcasts: VecDeque<Broadcast>,
    missed: u64,
}

impl Topics {
    pub(super) fn send(&self, broadcast: Broadcast) -> Result<()> {
        subject::token("topic", &broadcast.topic)?;
        let readers = lock(&self.0);
        let others = || readers.iter().filter(|r| *r.who != *broadcast.from);
        for reader in others().filter(|r| *r.topic == *broadcast.topic) {
            reader.push(broadcast.clone());
        }
        if *broadcast.topic == *ALL {
            let mut reached: HashSet<&str> = others().filter(|r| *r.topic == *ALL).map(|r| &*r.who).collect();
            for reader in others() {
                if reached.insert(&reader.who) {
                    reader.push(broadcast.clone());
                }
            }
        }
        Ok(())
    }

    pub(super) fn subscribe(&self, topic: &str, who: &str) -> Box<dyn Subscription> {
        let reader =
            Arc::new(Reader { topic: topic.into(), who: who.into(), behind: Mutex::default(), arrived: Notify::new() });
        lock(&self.0).push(reader.clone());
        Box::new(Reading { reader, readers: self.0.clone() })
    }
}

impl Reader {
    fn push(&self, broadcast: Broadcast) {
        let mut behind = lock(&self.behind);
        if behind.broadcasts.len() == BACKLOG {
            behind.broadcasts.pop_front();
            behind.missed += 1;
        }
        behind.broadcasts.push_back(broadcast);
        drop(behind);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<Result<Broadcast>> {
        let mut behind = lock(&self.behind);
        match std::mem::take(&mut behind.missed) {
            0 => behind.broadcasts.pop_front().map(Ok),
            missed => Some(Err(Error::Lagged { missed })),
        }
    }
}

struct Reading {
    reader: Arc<Reader>,
    readers: Arc<Mutex<Vec<Arc<Reader>>>>,
}

impl Subscription for Reading {
    fn next(&mut self) -> BoxFuture<'_, Result<Broadcast>> {
        Box::pin(async move {
            loop {
                if let Some(read) = self.reader.take() {
                    return read;
                }
                self.reader.arrived.notified().await;
            }
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        lock(&self.readers).retain(|reader| !Arc::ptr_eq(reader, &self.reader));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
