//! Providers that are left alone when they fail all the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callboard_agents::llm::ModelError;
use callboard_broker::clock::{Clock, millis};

use crate::apart::apart;
use crate::resilience::breaker::Breaker;
use crate::resilience::breakers::Breakers;
use crate::resilience::pass::Pass;

/// The least wait before it is asked again whether a request may pass.
const AGAIN: Duration = Duration::from_millis(50);
/// When whoever cannot wait for a probe should come again.
const PROBED: Duration = Duration::from_secs(1);

/// The breakers of providers on one node.
pub(crate) struct Providers {
    breakers: Arc<Breakers>,
    clock: Clock,
    /// Those who would be the probe come one after the other: all but the first learn that one is under way.
    lines: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Providers {
    pub(crate) fn new(breakers: Breakers, clock: Clock) -> Self {
        Self { breakers: Arc::new(breakers), clock, lines: Mutex::default() }
    }

    pub(crate) fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    fn line(&self, of: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).entry(of.to_owned()).or_default().clone()
    }

    /// Waits until a request to a provider may pass, at most so long.
    pub(super) async fn enter(&self, of: &str, wait: Duration) -> Result<Pass, ModelError> {
        let latest = self.clock.now().saturating_add(millis(wait));
        let mut news = self.breakers.news();
        loop {
            news.borrow_and_update();
            let passed = match self.breakers.known(of).is_closed() {
                true => Pass::of(self.breakers.clone(), of.to_owned()).await,
                false => {
                    let (line, breakers, of) = (self.line(of), self.breakers.clone(), of.to_owned());
                    apart(async move {
                        let _turn = line.lock().await;
                        Pass::of(breakers, of).await
                    })
                    .await
                }
            };
            let until = match passed {
                Ok(pass) => return Ok(pass),
                Err(until) => until,
            };
            let now = self.clock.now();
            // A probe may come back long before it would be given up.
            let is_probed = matches!(self.breakers.known(of), Breaker::HalfOpen { .. });
            let next =
                if is_probed { millis(PROBED).min(until.saturating_sub(now)) } else { until.saturating_sub(now) };
            if now >= latest || now.saturating_add(next) > latest {
                let what = "the provider is left alone, because it failed too often".to_owned();
                return Err(ModelError::resting(what, Duration::from_millis(next)));
            }
            let due = self.clock.instant(until.min(latest)).max(tokio::time::Instant::now() + AGAIN);
            tokio::select! {
                _ = tokio::time::sleep_until(due) => {}
                // It ends only with the breakers, which are held here.
                _ = news.changed() => {}
            }
        }
    }
}
