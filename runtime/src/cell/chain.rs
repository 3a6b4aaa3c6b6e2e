//! Whom a request came through, and what it may still call. Nothing is hashed before it calls somebody.

use std::sync::{Arc, OnceLock};

use callboard_agents::host::{Call, Facts};
use callboard_broker::budget::Budget;
use callboard_broker::error::Result;
use callboard_broker::lineage::Link;
use callboard_broker::payload::Payload;
use callboard_broker::task::Task;

use crate::limits;

/// A request with the chain that led to it.
#[derive(Default)]
pub(crate) struct Chain {
    above: Vec<Arc<str>>,
    /// What it was asked for; none for what nobody waits for in its own name, such as a broadcast.
    input: Option<Payload>,
    budget: Budget,
    hops: OnceLock<Vec<Arc<str>>>,
}

impl Chain {
    /// A task's: the tasks above it.
    pub(crate) fn of_task(task: &Task) -> Self {
        let above = task.lineage.iter().map(|link| link.hop("")).collect();
        Self { above, input: Some(task.input.clone()), budget: task.budget, hops: OnceLock::new() }
    }

    /// A message's, as it came with it.
    pub(crate) fn of_message(hops: Vec<Arc<str>>, body: &Payload) -> Self {
        Self { above: hops, input: Some(body.clone()), ..Self::default() }
    }

    /// The chain that goes with a call, this request included.
    pub(crate) fn hops(&self, facts: &Facts) -> Vec<Arc<str>> {
        let hops = self.hops.get_or_init(|| {
            let hash = self.input.as_ref().and_then(|input| input.content_hash().ok());
            let own = match hash {
                Some(input_hash) => Link { capability: facts.capability.clone(), input_hash }.hop(&facts.agent),
                None => facts.agent.clone(),
            };
            self.above.iter().cloned().chain([own]).collect()
        });
        hops.clone()
    }

    /// Refuses an ask that would close a loop or make the chain too long.
    pub(crate) fn check(&self, facts: &Facts, call: &Call) -> Result<()> {
        let next = Link { capability: call.capability.clone(), input_hash: call.body.content_hash()? };
        limits::asks(&self.budget, &self.hops(facts), &next)
    }
}
