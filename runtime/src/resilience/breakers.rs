//! The breakers of a node, one for each capability, shared with all nodes of its broker.
//!
//! While a breaker is closed its node counts by itself and nothing is written. A breaker that is not is an entry of shared
//! state, `global.callboard-breaker.<capability>`, that is changed by compare-and-set: so all nodes see one breaker, one probe passes at
//! a time wherever it comes from, and each change is an event once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_broker::Broker;
use callboard_broker::error::{Error, Result};
use callboard_broker::event::{BREAKER_CLOSED, BREAKER_HALF_OPENED, BREAKER_OPENED, NewEvent};
use callboard_broker::id::NodeName;
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Put, States, Write};
use callboard_broker::subject::CapabilityName;
use serde_json::json;
use tokio::task::JoinHandle;

use super::breaker::{Breaker, Seen};

/// Below which key of state they are.
const PREFIX: &str = "global.callboard-breaker";
/// How often a change that met another one is tried.
const TRIES: usize = 5;
/// Wait before state is watched again after that ended.
const AGAIN: Duration = Duration::from_millis(500);

type Known = Arc<Mutex<HashMap<CapabilityName, Local>>>;

/// A breaker as this node knows it.
#[derive(Clone, Copy, Default)]
struct Local {
    /// The version of the entry that it was last: older news is no news.
    version: u64,
    breaker: Breaker,
}

/// The breakers of one node.
pub(crate) struct Breakers {
    name: NodeName,
    broker: Broker,
    known: Known,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl Breakers {
    pub(crate) fn new(name: NodeName, broker: Broker) -> Self {
        Self { name, broker, known: Known::default(), follower: Mutex::default() }
    }

    /// From now on, and until [`unfollow`](Self::unfollow), what other nodes see is known here.
    pub(crate) fn follow(&self) {
        let task = tokio::spawn(follow(self.broker.states.clone(), self.known.clone()));
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

    /// Lets a request pass or not.
    ///
    /// # Errors
    /// `Unavailable` when the breaker is open, or half-open with a probe under way.
    pub(crate) async fn admit(&self, capability: &CapabilityName) -> Result<()> {
        let now = self.broker.clock.now();
        let open = || Error::unavailable(format!("the circuit of {capability} is open: it failed too often"));
        match self.known(capability).admit(now) {
            (Breaker::Closed { .. }, _) => Ok(()),
            (_, false) => Err(open()),
            _ => match self.change(capability, |breaker| breaker.admit(now)).await {
                Some(true) => Ok(()),
                Some(false) => Err(open()),
                // Who cannot be asked cannot say no.
                None => Ok(()),
            },
        }
    }

    /// Takes note of what became of a request.
    pub(crate) async fn seen(&self, capability: &CapabilityName, seen: Seen) {
        let now = self.broker.clock.now();
        {
            let mut known = lock(&self.known);
            let Local { version, breaker } = known.get(capability).copied().unwrap_or_default();
            let counted = breaker.seen(seen, now);
            if let (Breaker::Closed { .. }, Breaker::Closed { .. }) = (breaker, counted) {
                if counted != breaker {
                    known.insert(capability.clone(), Local { version, breaker: counted });
                }
                return;
            }
        }
        self.change(capability, |breaker| (breaker.seen(seen, now), ())).await;
    }

    fn known(&self, capability: &CapabilityName) -> Breaker {
        lock(&self.known).get(capability).copied().unwrap_or_default().breaker
    }

    /// Changes the breaker that all share. None when it cannot be reached or others change it all the time.
    async fn change<T>(&self, capability: &CapabilityName, how: impl Fn(Breaker) -> (Breaker, T)) -> Option<T> {
        let key = Key::parse(&format!("{PREFIX}.{capability}")).ok()?;
        for _ in 0..TRIES {
            let entry = self.broker.states.get(vec![key.clone()]).await.ok()?.pop().flatten();
            let shared = entry.as_ref().and_then(|entry| entry.value.read().ok());
            let before = shared.unwrap_or_else(|| match self.known(capability) {
                closed @ Breaker::Closed { .. } => closed,
                // Somebody closed it, and the news is still on its way.
                _ => Breaker::default(),
            });
            let (after, result) = how(before);
            let version = entry.map_or(0, |entry| entry.version);
            let is_shared = |breaker: Breaker| !matches!(breaker, Breaker::Closed { .. });
            if after == before || !(is_shared(before) || is_shared(after)) {
                learn(&self.known, capability, version, after);
                return Some(result);
            }
            let expect = Expect::Version(version);
            let value = is_shared(after).then(|| Payload::of(after));
            let write = Write { key: key.clone(), expect, value, by: self.name.to_string(), task: None };
            match self.broker.states.put(vec![write]).await.pop()? {
                Ok(Put::Applied(version)) => {
                    learn(&self.known, capability, version, after);
                    self.tell(capability, before, after).await;
                    return Some(result);
                }
                Ok(Put::Conflict(_) | Put::Unknown) => {}
                Err(_) => return None,
            }
        }
        None
    }

    async fn tell(&self, capability: &CapabilityName, before: Breaker, after: Breaker) {
        if before.word() == after.word() {
            return;
        }
        let kind = match after {
            Breaker::Closed { .. } => BREAKER_CLOSED,
            Breaker::Open { .. } => BREAKER_OPENED,
            Breaker::HalfOpen { .. } => BREAKER_HALF_OPENED,
        };
        let event = NewEvent {
            kind: kind.into(),
            agent: self.name.to_string(),
            run: None,
            task: None,
            payload: Payload::of(json!({ "capability": capability, "breaker": after })),
        };
        for published in self.broker.events.publish(vec![event]).await {
            if let Err(error) = published {
                tracing::warn!(%error, %capability, state = after.word(), "a change of a breaker could not be told");
            }
        }
    }
}

impl Drop for Breakers {
    fn drop(&mut self) {
        self.follower().iter().for_each(JoinHandle::abort);
    }
}

/// Keeps what is known as it is in shared state.
async fn follow(states: Arc<dyn States>, known: Known) {
    loop {
        if let Ok(mut watch) = states.watch(PREFIX.into()).await {
            for entry in states.list(PREFIX.into()).await.unwrap_or_default() {
                hear(&known, &entry.key, entry.version, Some(&entry.value));
            }
            while let Ok(change) = watch.next().await {
                hear(&known, &change.key, change.version, change.value.as_ref());
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn hear(known: &Known, key: &Key, version: u64, value: Option<&Payload>) {
    let name = key.as_str().strip_prefix(PREFIX).and_then(|name| name.strip_prefix('.'));
    let Some(Ok(capability)) = name.map(CapabilityName::parse) else { return };
    let breaker = value.and_then(|value| value.read().ok()).unwrap_or_default();
    learn(known, &capability, version, breaker);
}

/// What was read or written last is known, in whatever order it is heard of. Without an entry the node's own count counts.
fn learn(known: &Known, capability: &CapabilityName, version: u64, breaker: Breaker) {
    let mut known = lock(known);
    let local = known.entry(capability.clone()).or_default();
    if version > local.version || version == 0 {
        *local = Local { version: version.max(local.version), breaker };
    }
}

fn lock(known: &Known) -> MutexGuard<'_, HashMap<CapabilityName, Local>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
