//! What telemetry reads off a running node, without asking anybody.

use std::sync::Arc;

use callboard_agents::llm::CacheCounts;
use callboard_broker::tasks::Tasks;

use super::Inner;
use crate::tree::TreeEvents;

/// The figures of one pool.
pub(crate) struct Figures {
    pub(crate) agent: Arc<str>,
    pub(crate) running: u64,
    pub(crate) slots: u64,
    pub(crate) waiting: u64,
    pub(crate) refused: u64,
    pub(crate) panicked: u64,
}

impl Inner {
    pub(crate) fn name(&self) -> &str {
        self.hub.name.as_str()
    }

    pub(crate) fn tasks(&self) -> Arc<dyn Tasks> {
        self.hub.broker.tasks.clone()
    }

    pub(crate) fn events(&self) -> TreeEvents {
        self.tree.events()
    }

    /// Writes that were refused because another attempt had taken over.
    pub(crate) fn refused(&self) -> u64 {
        self.hub.stats.read().refused
    }

    /// The frames that its lanes have taken, and those that were missing when a later one came; none without lanes.
    pub(crate) fn lanes(&self) -> Option<(u64, u64)> {
        self.joined.lanes()
    }

    /// What the cache of its models has done; none without one.
    pub(crate) fn answers(&self) -> Option<CacheCounts> {
        self.hub.models.cache().map(|cache| cache.counts())
    }

    pub(crate) fn figures(&self) -> Vec<Figures> {
        let figures = |opened: &super::Opened| {
            let (pool, read, fill) = (&opened.pool, opened.pool.stats.read(), opened.pool.fill());
            Figures {
                agent: pool.name.clone(),
                running: read.running as u64,
                slots: (pool.workers() * pool.options.concurrency) as u64,
                waiting: fill.waiting as u64,
                refused: fill.refused,
                panicked: read.panicked,
            }
        };
        self.pools.0.iter().map(figures).collect()
    }
}
