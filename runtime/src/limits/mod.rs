//! What keeps a run finite: whether a call may be made, decided before it is. Pure.

use std::sync::Arc;

use callboard_broker::budget::Budget;
use callboard_broker::error::{Error, Result};
use callboard_broker::lineage::{self, Link};

mod ledger;
mod loops;
mod repeats;

pub(crate) use ledger::Ledger;
pub(crate) use repeats::Repeats;

/// Whether a task at this depth below `root` may delegate `next`, when `chain` is what it and those above it were asked
/// for, root first.
pub(crate) fn delegates(budget: &Budget, root: &str, depth: usize, chain: &[Link], next: &Link) -> Result<()> {
    loops::check(chain, next, budget.ping_pong())?;
    within("levels of tasks below the root", depth + 1, budget.depth(), root)
}

/// Whether whoever came through `hops`, itself the last, may ask for `next`.
pub(crate) fn asks(budget: &Budget, hops: &[Arc<str>], next: &Link) -> Result<()> {
    let chain: Vec<Link> = hops.iter().filter_map(|hop| Link::of_hop(hop)).collect();
    loops::check(&chain, next, budget.ping_pong())?;
    let asks = lineage::that_wait(hops).iter().filter(|hop| lineage::is_ask(hop)).count();
    let limits = hops.iter().filter_map(|hop| lineage::limit_of_hop(hop));
    within("asks that hang on one another", asks, limits.fold(budget.hops(), u32::min), "")
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
        let hops = |agents: usize| (0..agents).map(|n| link(n).hop("a")).collect::<Vec<_>>();
        assert!(asks(&budget, &hops(32), &link(99)).is_ok());
        let over = asks(&budget, &hops(33), &link(99)).unwrap_err().to_string();
        assert_eq!(over, "over the limit of 32 asks that hang on one another");
    }

    #[test]
    fn a_limit_on_asks_holds_where_it_is_set_and_for_whoever_is_asked_with_it() {
        let hops = |agents: usize| (0..agents).map(|n| link(n).hop("a")).collect::<Vec<_>>();
        let two = Budget { hops: Some(2), ..Budget::default() };
        assert!(asks(&two, &hops(2), &link(99)).is_ok());
        let over = asks(&two, &hops(3), &link(99)).unwrap_err().to_string();
        assert_eq!(over, "over the limit of 2 asks that hang on one another");
        let carried = |agents| [lineage::limit(2)].into_iter().chain(hops(agents)).collect::<Vec<_>>();
        assert!(asks(&Budget::default(), &carried(2), &link(99)).is_ok());
        assert_eq!(asks(&Budget::default(), &carried(3), &link(99)).unwrap_err().to_string(), over);
    }

    #[test]
    fn the_tasks_above_an_ask_close_its_circle_but_do_not_make_it_longer() {
        let hops: Vec<_> = (0..30).map(|n| link(n).hop("")).chain((30..62).map(|n| link(n).hop("agent"))).collect();
        assert!(asks(&Budget::default(), &hops, &link(99)).is_ok());
        assert!(matches!(asks(&Budget::default(), &hops, &link(0)), Err(Error::Loop { .. })));
    }
}
