use std::sync::Arc;

use callboard_broker::error::{Error, Result};
use callboard_broker::state::{self, Key, States, Watch};

use super::{Change, State};
use crate::{Payload, Updates};

impl<T: Payload> State<T> {
    /// The current entry, if there is one, and then every change in order. `Lagged` when the reader falls too far
    /// behind, which ends it; a change that cannot be read as `T` is an error and ends nothing.
    pub fn watch(&self) -> Updates<Result<Change<T>>> {
        let start = Watching::Begin(self.states.clone(), self.key.clone());
        let version = self.version;
        Updates::unfold(start, move |at| async move {
            let (change, at) = at.next().await?;
            Some((change.and_then(|change| Change::of(change, version)), at))
        })
    }

    /// All changes so far, oldest first.
    pub fn history(&self) -> Updates<Result<Change<T>>> {
        let start = Reading::Begin(self.states.clone(), self.key.clone());
        let version = self.version;
        Updates::unfold(start, move |at| async move {
            let (change, at) = at.next().await?;
            Some((change.and_then(|change| Change::of(change, version)), at))
        })
    }
}

enum Watching {
    Begin(Arc<dyn States>, Result<Key>),
    Open(Box<dyn Watch>, Key),
    Ended,
}

impl Watching {
    async fn next(self) -> Option<(Result<state::Change>, Self)> {
        let (mut watch, key) = match self {
            Self::Ended => return None,
            Self::Open(watch, key) => (watch, key),
            Self::Begin(states, key) => match open(&*states, key).await {
                Ok(opened) => opened,
                Err(e) => return Some((Err(e), Self::Ended)),
            },
        };
        loop {
            match watch.next().await {
                // A watch is of a key and all below it.
                Ok(change) if change.key != key => {}
                Ok(change) => return Some((Ok(change), Self::Open(watch, key))),
                Err(e) => return Some((Err(e), Self::Ended)),
            }
        }
    }
}

async fn open(states: &dyn States, key: Result<Key>) -> Result<(Box<dyn Watch>, Key), Error> {
    let key = key?;
    Ok((states.watch(key.as_str().into()).await?, key))
}

enum Reading {
    Begin(Arc<dyn States>, Result<Key>),
    Read(std::vec::IntoIter<state::Change>),
}

impl Reading {
    async fn next(self) -> Option<(Result<state::Change>, Self)> {
        let mut rest = match self {
            Self::Read(rest) => rest,
            Self::Begin(states, key) => match history(&*states, key).await {
                Ok(all) => all.into_iter(),
                Err(e) => return Some((Err(e), Self::Read(Vec::new().into_iter()))),
            },
        };
        rest.next().map(|change| (Ok(change), Self::Read(rest)))
    }
}

async fn history(states: &dyn States, key: Result<Key>) -> Result<Vec<state::Change>> {
    states.history(key?).await
}
