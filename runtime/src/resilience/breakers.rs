//! The breakers of a node, one for each capability or provider of models, shared with all nodes of its broker.
//!
//! While a breaker is closed its node counts by itself and nothing is written. A breaker that is not is an entry of shared
//! state, `global.callboard-breaker.<capability>` or `global.callboard-provider.<provider>`, that is changed by
//! compare-and-set: so all nodes see one breaker, one probe passes at a time wherever it comes from, and each change is an
//! event once.

use callboard_broker::Broker;
use callboard_broker::clock::Millis;
use callboard_broker::error::{Error, Result};
use callboard_broker::event::{BREAKER_CLOSED, BREAKER_HALF_OPENED, BREAKER_OPENED, NewEvent};
use callboard_broker::id::NodeName;
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use serde_json::json;
use tokio::sync::watch;

use super::breaker::{Breaker, CAPABILITY, PROVIDER, Rule, Seen};
use super::shared::{Changed, Common, Shared};

/// What breakers are of.
pub(crate) struct Of {
    /// Below which key of state they are.
    prefix: &'static str,
    /// What an event calls it.
    noun: &'static str,
    rule: Rule,
}

/// One for each capability.
pub(crate) const OF_CAPABILITIES: Of = Of { prefix: "global.callboard-breaker", noun: "capability", rule: CAPABILITY };
/// One for each provider of models.
pub(crate) const OF_PROVIDERS: Of = Of { prefix: "global.callboard-provider", noun: "provider", rule: PROVIDER };

impl Common for Breaker {
    const TRIES: usize = 5;

    fn says_something(self) -> bool {
        !self.is_closed()
    }

    fn without_entry(known: Self) -> Self {
        match known {
            Self::Closed { .. } => known,
            // Somebody closed it, and the news is still on its way.
            _ => Self::default(),
        }
    }
}

/// How somebody passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// With all others.
    Closed,
    /// As the one that finds out.
    Probe,
}

/// The breakers of one node.
pub(crate) struct Breakers {
    of: Of,
    name: NodeName,
    broker: Broker,
    shared: Shared<Breaker>,
}

impl Breakers {
    pub(crate) fn new(of: Of, name: NodeName, broker: Broker) -> Self {
        let shared = Shared::new(of.prefix, name.clone(), broker.states.clone());
        Self { of, name, broker, shared }
    }

    /// From now on, and until [`unfollow`](Self::unfollow), what other nodes see is known here.
    pub(crate) fn follow(&self) {
        self.shared.follow();
    }

    /// Lets go of shared state; done when nothing of it is held any more.
    pub(crate) async fn unfollow(&self) {
        self.shared.unfollow().await;
    }

    /// Resolves when a breaker becomes another.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.shared.news()
    }

    /// A breaker as it is known here.
    pub(crate) fn known(&self, name: &str) -> Breaker {
        self.shared.known(name)
    }

    /// Lets a request for a capability pass or not.
    ///
    /// # Errors
    /// `Unavailable` when the breaker is open, or half-open with a probe under way.
    pub(crate) async fn admit(&self, capability: &CapabilityName) -> Result<Passed> {
        let open = || Error::unavailable(format!("the circuit of {capability} is open: it failed too often"));
        self.pass(capability.as_str()).await.map_err(|_| open())
    }

    /// Lets a request pass, or says from when on it is worth to come again.
    pub(crate) async fn pass(&self, name: &str) -> std::result::Result<Passed, Millis> {
        let now = self.broker.clock.now();
        let known = self.known(name);
        match known.admit(now) {
            (Breaker::Closed { .. }, _) => Ok(Passed::Closed),
            (_, false) => Err(known.until()),
            _ => match self.change(name, |breaker| breaker.admit(now)).await {
                Some(Changed { result: false, after, .. }) => Err(after.until()),
                Some(Changed { after, .. }) if after.is_closed() => Ok(Passed::Closed),
                Some(_) => Ok(Passed::Probe),
                // What nobody can be asked is decided by what is known here.
                None => {
                    let mut admitted = false;
                    self.shared.change_here(name, |breaker| {
                        let (after, is_let_in) = breaker.admit(now);
                        admitted = is_let_in;
                        after
                    });
                    if admitted { Ok(Passed::Probe) } else { Err(self.known(name).until()) }
                }
            },
        }
    }

    /// Takes note of what became of work for a capability that nobody had to let in (a task is queued whatever the
    /// breaker says), and when it began: before the breaker was half-open, it says nothing of how the capability is now.
    pub(crate) async fn seen(&self, capability: &CapabilityName, seen: Seen, began: Millis) {
        self.note(capability.as_str(), seen, |breaker| breaker.heeds(began)).await;
    }

    /// Takes note of what became of a request that passed so. Who passed while it was closed has nothing to say of one
    /// that was opened since: many are under way at once, and those that end late would open it again and again.
    pub(crate) async fn ended(&self, name: &str, passed: Passed, seen: Seen) {
        self.note(name, seen, move |breaker| passed == Passed::Probe || breaker.is_closed()).await;
    }

    async fn note(&self, name: &str, seen: Seen, counts: impl Fn(Breaker) -> bool) {
        let now = self.broker.clock.now();
        let mut is_common = false;
        self.shared.change_here(name, |breaker| {
            let counted = breaker.seen(seen, now, &self.of.rule);
            is_common = counts(breaker) && !(breaker.is_closed() && counted.is_closed());
            if breaker.is_closed() && counted.is_closed() { counted } else { breaker }
        });
        if is_common {
            let see = |breaker: Breaker| match counts(breaker) {
                true => (breaker.seen(seen, now, &self.of.rule), ()),
                false => (breaker, ()),
            };
            if self.change(name, see).await.is_none() {
                self.shared.change_here(name, |breaker| see(breaker).0);
            }
        }
    }

    async fn change<R>(&self, name: &str, how: impl Fn(Breaker) -> (Breaker, R)) -> Option<Changed<Breaker, R>> {
        let changed = self.shared.change(name, how).await?;
        self.tell(name, changed.before, changed.after).await;
        Some(changed)
    }

    async fn tell(&self, name: &str, before: Breaker, after: Breaker) {
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
            payload: Payload::of(json!({ self.of.noun: name, "breaker": after })),
        };
        for published in self.broker.events.publish(vec![event]).await {
            if let Err(error) = published {
                tracing::warn!(%error, of = name, state = after.word(), "a change of a breaker could not be told");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use Seen::{Failure, Success};
    use callboard_broker::clock::Clock;
    use callboard_broker::memory;

    use super::*;

    /// A capability that failed five times just now.
    async fn opened() -> (Breakers, CapabilityName) {
        let broker = memory::open(memory::Options { clock: Clock::following_tokio(), ..memory::Options::default() });
        let breakers = Breakers::new(OF_CAPABILITIES, NodeName::parse("n").unwrap(), broker);
        let capability = CapabilityName::parse("test.first").unwrap();
        for _ in 0..5 {
            breakers.seen(&capability, Failure, breakers.broker.clock.now()).await;
        }
        assert_eq!(breakers.known("test.first").word(), "opened");
        (breakers, capability)
    }

    #[tokio::test(start_paused = true)]
    async fn what_began_before_the_probe_neither_closes_a_half_open_breaker_nor_opens_it() {
        let (breakers, capability) = opened().await;
        let began = breakers.broker.clock.now();
        tokio::time::sleep(Duration::from_secs(31)).await;
        let probe = breakers.admit(&capability).await.unwrap();
        let probing = breakers.known("test.first");
        for seen in [Success, Success, Success, Failure] {
            breakers.ended("test.first", Passed::Closed, seen).await;
            breakers.seen(&capability, seen, began).await;
            assert_eq!(breakers.known("test.first"), probing, "{seen:?}");
        }
        assert!(breakers.admit(&capability).await.is_err(), "the probe is still under way");
        breakers.ended("test.first", probe, Success).await;
        for _ in 0..2 {
            let probe = breakers.admit(&capability).await.unwrap();
            assert_eq!(probe, Passed::Probe);
            breakers.ended("test.first", probe, Success).await;
        }
        assert!(breakers.known("test.first").is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_began_with_the_probe_speaks_for_it() {
        let (breakers, capability) = opened().await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(31)).await;
            breakers.admit(&capability).await.unwrap();
            breakers.seen(&capability, Success, breakers.broker.clock.now()).await;
        }
        assert!(breakers.known("test.first").is_closed());
    }
}
