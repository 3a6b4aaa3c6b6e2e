//! Whom a request came through: the chain that tells a loop where it would close.
//!
//! A task carries the chain of the tasks above it, an ask those and the agents that asked. Both are made of the same
//! links, so a chain that goes from tasks to asks stays one chain, also from node to node.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::id::TaskId;
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

/// The agent of a hop; none for a task further up, and for a limit.
pub fn agent_of(hop: &str) -> Option<&str> {
    match Link::of_hop(hop) {
        _ if !is_ask(hop) => None,
        Some(_) => hop.rsplitn(3, '/').nth(2),
        None => Some(hop),
    }
}

/// Whether a hop is an agent that asked, and not a task above it.
pub fn is_ask(hop: &str) -> bool {
    !hop.starts_with('/')
}

/// How many asks may hang on one another, as one more hop: `/5`. Whoever does not know it sees a task without a link.
pub fn limit(hops: u32) -> Arc<str> {
    format!("/{hops}").into()
}

/// The limit in a hop that is one.
pub fn limit_of_hop(hop: &str) -> Option<u32> {
    hop.strip_prefix('/')?.parse().ok()
}

/// The counted budget of the run that an ask is made in. Who answers spends from it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purse {
    /// The task at the root, whose budget it is.
    pub root: TaskId,
    /// What may be spent.
    pub limits: Budget,
}

impl Purse {
    /// As one more hop: `/=` and a document. Whoever does not know it sees a task without a link.
    pub fn hop(&self) -> Arc<str> {
        format!("{PURSE}{}", serde_json::to_string(self).unwrap_or_default()).into()
    }

    /// The budget in a hop that is one.
    pub fn of_hop(hop: &str) -> Option<Self> {
        serde_json::from_str(hop.strip_prefix(PURSE)?).ok()
    }
}

/// How many hops go with a message: the newest.
pub const KEPT: usize = 64;

const TOLD: &str = "/~";

/// That those above only told what follows, and do not wait for it, as one more hop. Whoever does not know it sees a task
/// without a link.
pub fn told() -> Arc<str> {
    TOLD.into()
}

/// Whether a hop says that.
pub fn is_told(hop: &str) -> bool {
    hop == TOLD
}

/// Of the hops that a request came over, those that wait for it.
pub fn that_wait(hops: &[Arc<str>]) -> &[Arc<str>] {
    let after = hops.iter().rposition(|hop| is_told(hop)).map_or(0, |at| at + 1);
    &hops[after..]
}

const PURSE: &str = "/=";
const ORIGINS: &str = "/@";

/// Where what an asker knows comes from, as one more hop: `/@` and a list; none where it knows nothing of others. Whoever
/// does not know it sees a task without a link, so there is no other `/` in it.
pub fn origins(origins: &[String]) -> Option<Arc<str>> {
    let list = serde_json::to_string(origins).ok().filter(|_| !origins.is_empty())?;
    Some(format!("{ORIGINS}{}", list.replace('/', "\\u002f")).into())
}

/// The origins in a hop that tells of them.
pub fn origins_of_hop(hop: &str) -> Option<Vec<String>> {
    serde_json::from_str(hop.strip_prefix(ORIGINS)?).ok()
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
        let agents = ["counter".into(), link.hop("counter"), link.hop("a/b"), link.hop("")];
        assert_eq!(agents.each_ref().map(|hop| agent_of(hop)), [Some("counter"), Some("counter"), Some("a/b"), None]);
        assert!(is_ask("counter") && is_ask(&link.hop("counter")) && !is_ask(&link.hop("")));
    }

    #[test]
    fn a_limit_on_the_way_is_neither_a_link_nor_an_ask() {
        let hop = limit(5);
        assert_eq!((limit_of_hop(&hop), Link::of_hop(&hop), is_ask(&hop)), (Some(5), None, false));
        assert_eq!(agent_of(&hop), None);
        let link = Link { capability: CapabilityName::parse("text.count").unwrap(), input_hash: "12".into() };
        assert_eq!((limit_of_hop(&link.hop("")), limit_of_hop("counter"), limit_of_hop("5")), (None, None, None));
    }

    #[test]
    fn a_budget_on_the_way_is_neither_a_link_nor_an_ask_nor_a_limit() {
        let limits = Budget { tokens: Some(5), ..Budget::default() };
        let purse = Purse { root: TaskId::parse("r1").unwrap(), limits };
        let hop = purse.hop();
        assert_eq!((Purse::of_hop(&hop), agent_of(&hop), limit_of_hop(&hop)), (Some(purse), None, None));
        assert!(!is_ask(&hop) && Link::of_hop(&hop).is_none());
        assert_eq!((Purse::of_hop("/=x"), Purse::of_hop(&limit(5))), (None, None));
    }

    #[test]
    fn who_only_told_does_not_wait_and_neither_does_who_waits_for_it() {
        let [a, b, c]: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
        let hop = told();
        assert_eq!((Link::of_hop(&hop), is_ask(&hop), agent_of(&hop), limit_of_hop(&hop)), (None, false, None, None));
        assert_eq!(that_wait(&[a.clone(), hop.clone(), b.clone(), hop.clone(), c.clone()]), std::slice::from_ref(&c));
        assert_eq!(that_wait(&[a.clone(), b.clone()]), [a, b]);
        assert!(that_wait(&[c, hop]).is_empty());
    }

    #[test]
    fn origins_on_the_way_are_neither_links_nor_asks_whatever_they_are() {
        let told = ["document https://a.b/text.count/12".to_owned(), "agent \"x\"\\".to_owned()];
        let hop = origins(&told).unwrap();
        assert_eq!(origins_of_hop(&hop).unwrap(), told);
        assert_eq!((Link::of_hop(&hop), is_ask(&hop), agent_of(&hop), limit_of_hop(&hop)), (None, false, None, None));
        assert_eq!((origins(&[]), origins_of_hop("/=x"), Purse::of_hop(&hop)), (None, None, None));
    }
}
