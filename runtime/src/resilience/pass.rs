//! What a request that a breaker let through holds until it has ended.

use std::sync::Arc;

use callboard_broker::clock::Millis;
use callboard_broker::error;
use callboard_broker::subject::CapabilityName;

use super::breaker::Seen;
use super::breakers::{Breakers, Passed};

/// That a request has passed. What became of it is told, or else that nothing is known.
pub(crate) struct Pass {
    breakers: Arc<Breakers>,
    of: String,
    passed: Option<Passed>,
}

impl Pass {
    /// As [`Breakers::pass`].
    pub(crate) async fn of(breakers: Arc<Breakers>, of: String) -> Result<Self, Millis> {
        let passed = breakers.pass(&of).await?;
        Ok(Self { breakers, of, passed: Some(passed) })
    }

    /// As [`Breakers::admit`].
    pub(crate) async fn to(breakers: Arc<Breakers>, capability: &CapabilityName) -> error::Result<Self> {
        let (of, passed) = (capability.to_string(), breakers.admit(capability).await?);
        Ok(Self { breakers, of, passed: Some(passed) })
    }

    /// Whether it still holds: meanwhile the breaker may have come to let nobody through but its probe.
    pub(crate) fn holds(&self) -> bool {
        matches!(self.passed, Some(Passed::Probe)) || self.breakers.known(&self.of).is_closed()
    }

    pub(crate) async fn ended(&mut self, seen: Seen) {
        if let Some(passed) = self.passed {
            self.breakers.ended(&self.of, passed, seen).await;
            self.passed = None;
        }
    }
}

impl Drop for Pass {
    /// A probe that nobody waits for any more makes way for the next one.
    fn drop(&mut self) {
        if let (Some(Passed::Probe), Ok(runtime)) = (self.passed, tokio::runtime::Handle::try_current()) {
            let (breakers, of) = (self.breakers.clone(), std::mem::take(&mut self.of));
            runtime.spawn(async move { breakers.ended(&of, Passed::Probe, Seen::Nothing).await });
        }
    }
}
