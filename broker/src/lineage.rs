//! Whom a request came through: the chain that tells a loop where it would close.
//!
//! A task carries the chain of the tasks above it, an ask those and the agents that asked. Both are made of the same
//! links, so a chain that goes from tasks to asks stays one chain, also from node to node.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::subject::CapabilityName;

/// One request on the way: for which capability, and the hash of its input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Link {
    /// The capability.
    pub capability: CapabilityName,
    /// The hash of the input.
    pub input_hash: String,
}

impl Link {
    /// This link as one of the hops of a message: `agent/capability/hash`. Without an agent it is a task further up.
    pub fn hop(&self, agent: &str) -> Arc<str> {
        format!("{agent}/{}/{}", self.capability, self.input_hash).into()
    }

    /// The link in a hop; none where only the agent is named.
    pub fn of_hop(hop: &str) -> Option<Self> {
        let mut parts = hop.rsplitn(3, '/');
        let (input_hash, capability) = (parts.next()?, parts.next()?);
        parts.next()?;
        let capability = CapabilityName::parse(capability).ok()?;
        Some(Self { capability, input_hash: input_hash.into() })
    }
}

/// Whether a hop is an agent that asked, and not a task above it.
pub fn is_ask(hop: &str) -> bool {
    !hop.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_the_same_after_its_way_as_a_hop() {
        let link = Link { capability: CapabilityName::parse("text.count").unwrap(), input_hash: "ab12".into() };
        for agent in ["counter", "", "a/b"] {
            assert_eq!(Link::of_hop(&link.hop(agent)).as_ref(), Some(&link));
        }
        assert_eq!(Link::of_hop("counter"), None);
        assert!(is_ask("counter") && is_ask(&link.hop("counter")) && !is_ask(&link.hop("")));
    }
}
