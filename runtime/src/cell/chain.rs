//! Whom a request came through, and what it may still call. Nothing is hashed before it calls somebody.

use std::sync::{Arc, OnceLock};

use callboard_agents::host::{Call, Facts};
use callboard_broker::budget::{Budget, MAX_HOPS};
use callboard_broker::error::Result;
use callboard_broker::lineage::{self, Link, Purse};
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
    /// Where what whoever handed it on knew came from.
    origins: Vec<String>,
    /// The counted budget of the run; of a task, and of what is asked in it.
    purse: Option<Purse>,
    /// How many asks may hang on one another, as those above have it.
    limit: Option<u32>,
    hops: OnceLock<Vec<Arc<str>>>,
}

impl Chain {
    /// A task's: the tasks above it.
    pub(crate) fn of_task(task: &Task) -> Self {
        let above = task.lineage.iter().map(|link| link.hop("")).collect();
        let root = task.ancestors.first().unwrap_or(&task.id);
        let purse = task.budget.counts().then(|| Purse { root: root.clone(), limits: counted(task.budget) });
        let (input, origins) = (Some(task.input.clone()), task.origins.clone());
        Self { above, input, budget: task.budget, origins, purse, limit: None, hops: OnceLock::new() }
    }

    /// A message's, as it came with it.
    pub(crate) fn of_message(hops: Vec<Arc<str>>, body: &Payload) -> Self {
        let purse = hops.iter().rev().find_map(|hop| Purse::of_hop(hop));
        let limit = hops.iter().filter_map(|hop| lineage::limit_of_hop(hop)).min();
        let origins = hops.iter().filter_map(|hop| lineage::origins_of_hop(hop)).flatten().collect();
        // Each asker tells all that it knows of them, and next to itself: of a long chain only the end goes with a call.
        let is_said_again = |hop: &str| {
            let is_limit = lineage::limit_of_hop(hop).is_some() || Purse::of_hop(hop).is_some();
            is_limit || lineage::origins_of_hop(hop).is_some()
        };
        let above = hops.into_iter().filter(|hop| !is_said_again(hop)).collect();
        Self { above, input: Some(body.clone()), origins, purse, limit, ..Self::default() }
    }

    /// What it may spend from, as far as its run has a budget that is counted.
    pub(crate) fn purse(&self) -> Option<&Purse> {
        self.purse.as_ref()
    }

    /// Where what this request was given may come from: the agent that handed it on, if one did, and all that it knew.
    pub(crate) fn came_from(&self) -> Vec<String> {
        let agent = self.above.iter().rfind(|hop| !lineage::is_told(hop)).map(|above| match Link::of_hop(above) {
            Some(link) => format!("agent {}", link.capability),
            None => format!("agent {above}"),
        });
        agent.into_iter().chain(self.origins.iter().cloned()).collect()
    }

    /// The chain that goes with a call, this request included.
    pub(crate) fn hops(&self, facts: &Facts) -> Vec<Arc<str>> {
        let hops = self.hops.get_or_init(|| {
            let hash = self.input.as_ref().and_then(|input| input.content_hash().ok());
            let own = match hash {
                Some(input_hash) => Link { capability: facts.capability.clone(), input_hash }.hop(&facts.agent),
                None => facts.agent.clone(),
            };
            let most = self.limit.map_or(self.budget.hops(), |limit| limit.min(self.budget.hops()));
            let limit = (most < MAX_HOPS).then(|| lineage::limit(most));
            self.above.iter().cloned().chain(limit).chain(self.purse.as_ref().map(Purse::hop)).chain([own]).collect()
        });
        hops.clone()
    }

    /// The same answers that one request may get to the same call in a row.
    pub(crate) fn repeats(&self) -> u32 {
        self.budget.repeats()
    }

    /// The children of one task that are queued or at work at a time.
    pub(crate) fn width(&self) -> u32 {
        self.budget.width()
    }

    /// Whether it answers an ask, or works for somebody who does.
    pub(crate) fn is_asked(&self) -> bool {
        lineage::that_wait(&self.above).iter().any(|hop| lineage::is_ask(hop))
    }

    /// Refuses an ask that would close a loop or make the chain too long.
    pub(crate) fn check(&self, facts: &Facts, call: &Call) -> Result<Link> {
        let next = Link { capability: call.capability.clone(), input_hash: call.body.content_hash()? };
        limits::asks(&self.budget, &self.hops(facts), &next).map(|()| next)
    }
}

/// What of a budget is counted over a whole run.
fn counted(budget: Budget) -> Budget {
    let Budget { tasks, steps, tokens, cost_micros, .. } = budget;
    Budget { tasks, steps, tokens, cost_micros, ..Budget::default() }
}
