//! What stands round the models of a node, each of them a model too.
//!
//! ```text
//! Cached      an answer that is there takes nothing of all below
//!   Guarded   a provider that fails all the time is left alone, on all nodes;
//!             and no more often than all nodes together may
//!     the model
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `guarded` | a model behind both |
//! | `provider` | the breakers of providers |
//! | `limits` | rates that all nodes keep together |
//! | `name` | names of models in keys of state |

mod guarded;
mod limits;
mod name;
mod provider;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use callboard_agents::llm::{Cache, CacheConfig, CachePlace, Model, ModelLimits, Models};
use callboard_broker::Broker;
use callboard_broker::id::NodeName;

use guarded::Guarded;
use limits::Limits;
use provider::Providers;

use crate::resilience::breakers::{Breakers, OF_PROVIDERS};
use crate::resilience::shared::Shared;

/// What a node shares with all others of its broker on account of its models.
pub(crate) struct Guards {
    limits: Arc<Limits>,
    providers: Arc<Providers>,
}

impl Guards {
    pub(crate) fn new(config: &ModelLimits, name: &NodeName, broker: &Broker) -> Self {
        let clock = broker.clock.clone();
        let shared = Shared::new(limits::PREFIX, name.clone(), broker.states.clone());
        let breakers = Breakers::new(OF_PROVIDERS, name.clone(), broker.clone());
        Self {
            limits: Arc::new(Limits::new(config.clone(), clock.clone(), shared)),
            providers: Arc::new(Providers::new(breakers, clock)),
        }
    }

    /// From now on what other nodes see and take is known here.
    pub(crate) fn follow(&self) {
        self.limits.shared().follow();
        self.providers.breakers().follow();
    }

    /// Lets go of shared state; done when nothing of it is held any more.
    pub(crate) async fn unfollow(&self) {
        self.limits.shared().unfollow().await;
        self.providers.breakers().unfollow().await;
    }

    /// A model behind them. Where another one stands in for it, a provider that is left alone is not waited for.
    fn round(&self, model: Arc<dyn Model>, has_other: bool) -> Arc<dyn Model> {
        Arc::new(Guarded::new(model, self.providers.clone(), self.limits.clone(), !has_other))
    }

    /// The models of a node, with what is configured for them round each.
    pub(crate) fn over(&self, models: Models, cache: &CacheConfig, name: &NodeName, broker: &Broker) -> Models {
        let has_own = models.cache().is_some();
        let models = models.over(|model, has_other| self.round(model, has_other));
        let clock = broker.clock.clone();
        match cache.place {
            // Whoever gave the models with a cache of their own has chosen.
            _ if has_own => models,
            CachePlace::Off => models,
            CachePlace::Memory => models.cached(Arc::new(Cache::in_memory(cache.clone(), clock))),
            CachePlace::Store => {
                let states = broker.states.clone();
                models.cached(Arc::new(Cache::in_store(cache.clone(), clock, states, name.as_str())))
            }
        }
    }
}
