//! What keeps a run finite: whether a call may be made, decided before it is. Pure.

use callboard_broker::budget::{Budget, MAX_HOPS};
use callboard_broker::error::{Error, Result};
use callboard_broker::lineage::{self, Link};

mod ledger;
mod loops;

pub(crate) use ledger::Ledger;

/// Whether a task at this depth below `root` may delegate `next`, when `chain` is what it and those above it were asked
/// for, root first.
pub(crate) fn delegates(budget: &Budget, root: &str, depth: usize, chain: &[Link], next: &Link) -> Result<()> {
    loops::check(chain, next, budget.ping_pong())?;
    within("levels of tasks below the root", depth + 1, budget.depth(), root)
}

/// Whether whoever came through `hops`, itself the last, may ask for `next`.
pub(crate) fn asks(budget: &Budget, hops: &[impl AsRef<str>], next: &Link) -> Result<()> {
    let chain: Vec<Link> = hops.iter().filter_map(|hop| Link::of_hop(hop.as_ref())).collect();
    loops::check(&chain, next, budget.ping_pong())?;
    let asks = hops.iter().filter(|hop| lineage::is_ask(hop.as_ref())).count();
    within("asks that hang on one another", asks, MAX_HOPS, "")
}

fn within(what: &str, used: usize, limit: u32, root: &str) -> Result<()> {
    if used <= limit as usize {
        return Ok(());
    }
    Err(Error::Exhausted { what: what.into(), limit: limit.into(), root: root.into() })
}

#[cfg(test)]
mod tests {
    use callboard_broker::subject::CapabilityName;

    use super::*;

    fn link(n: usize) -> Link {
        Link { capability: CapabilityName::parse(&format!("x.n{n}")).unwrap(), input_hash: "h".into() }
    }

    #[test]
    fn a_chain_is_as_long_as_its_limit_and_no_longer() {
        let budget = Budget { depth: Some(3), ..Budget::default() };
        let chain: Vec<Link> = (0..3).map(link).collect();
        assert!(delegates(&budget, "r", 2, &chain, &link(9)).is_ok());
        let over = delegates(&budget, "r", 3, &chain, &link(9)).unwrap_err().to_string();
        assert_eq!(over, "the budget of r is used up: 3 levels of tasks below the root");
        let hops = |agents: usize| (0..agents).map(|n| link(n).hop("a").to_string()).collect::<Vec<_>>();
        assert!(asks(&budget, &hops(32), &link(99)).is_ok());
        let over = asks(&budget, &hops(33), &link(99)).unwrap_err().to_string();
        assert_eq!(over, "over the limit of 32 asks that hang on one another");
    }

    #[test]
    fn the_tasks_above_an_ask_close_its_circle_but_do_not_make_it_longer() {
        let hops: Vec<_> = (0..30).map(|n| link(n).hop("")).chain((30..62).map(|n| link(n).hop("agent"))).collect();
        assert!(asks(&Budget::default(), &hops, &link(99)).is_ok());
        assert!(matches!(asks(&Budget::default(), &hops, &link(0)), Err(Error::Loop { .. })));
    }
}
