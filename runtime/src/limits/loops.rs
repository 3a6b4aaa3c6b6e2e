//! A request that would come round to itself.

use callboard_broker::error::{Error, Result};
use callboard_broker::lineage::Link;

/// Refuses `next` when somebody on the chain is at the same work already, or when it would go on a ping-pong of two
/// capabilities over `exchanges` there and back.
pub(super) fn check(chain: &[Link], next: &Link, exchanges: u32) -> Result<()> {
    // The nearest makes the shortest circle.
    if let Some(at) = chain.iter().rposition(|link| link == next) {
        return Err(cycle(&chain[at..], next));
    }
    match chain {
        [.., before] if is_ping_pong(chain, next, exchanges) => {
            let back = Link { capability: before.capability.clone(), ..next.clone() };
            Err(cycle(&[next.clone(), back], next))
        }
        _ => Ok(()),
    }
}

/// Whether the end of the chain and `next` alternate between two capabilities for more than so many exchanges.
fn is_ping_pong(chain: &[Link], next: &Link, exchanges: u32) -> bool {
    let turns = (exchanges as usize).saturating_mul(2).saturating_add(1);
    let (Some(tail), Some(before)) = (chain.len().checked_sub(turns), chain.last()) else { return false };
    let pair = [&before.capability, &next.capability];
    pair[0] != pair[1] && chain[tail..].iter().rev().enumerate().all(|(n, link)| link.capability == *pair[n % 2])
}

fn cycle(way: &[Link], next: &Link) -> Error {
    let names: Vec<&str> = way.iter().chain([next]).map(|link| link.capability.as_str()).collect();
    Error::Loop { cycle: names.join(" -> ").into() }
}

#[cfg(test)]
mod tests {
    use callboard_broker::subject::CapabilityName;

    use super::*;

    /// `a1 b2`: capability `x.a` with the input 1, then `x.b` with the input 2.
    fn links(text: &str) -> Vec<Link> {
        let link = |word: &str| Link {
            capability: CapabilityName::parse(&format!("x.{}", &word[..1])).unwrap(),
            input_hash: word[1..].into(),
        };
        text.split_whitespace().map(link).collect()
    }

    fn refused(chain: &str, exchanges: u32) -> Option<String> {
        let mut chain = links(chain);
        let next = chain.pop().unwrap();
        check(&chain, &next, exchanges).err().map(|error| match error {
            Error::Loop { cycle } => cycle.to_string(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_same_work_further_up_is_a_loop_and_the_way_around_is_named() {
        for (chain, cycle) in [
            ("a1 a1", Some("x.a -> x.a")),
            ("a1 b1 a1", Some("x.a -> x.b -> x.a")),
            ("z0 a1 b1 c1 a1", Some("x.a -> x.b -> x.c -> x.a")),
            ("a1 a2 a3", None),
            ("a1 b1 a2", None),
            ("a1", None),
            // A question to people is a link like others: who answers it may not have it asked again.
            ("a1 h1 a1", Some("x.a -> x.h -> x.a")),
            ("a1 h1 h1", Some("x.h -> x.h")),
        ] {
            assert_eq!(refused(chain, 9).as_deref(), cycle, "{chain}");
        }
    }

    #[test]
    fn two_that_hand_on_in_turn_may_do_so_as_often_as_the_limit_says() {
        for (chain, exchanges, cycle) in [
            ("a1 b1 a2 b2 a3", 2, None),
            ("a1 b1 a2 b2 a3 b3", 2, Some("x.b -> x.a -> x.b")),
            ("c0 a1 b1 a2 b2 a3", 2, None),
            ("a0 c0 a1 b1 a2 b2 a3 b3", 2, Some("x.b -> x.a -> x.b")),
            ("c0 a1 a2 b2 a3 b3", 2, None),
            ("a1 a2 a3 a4 a5 a6 a7", 1, None),
            ("a1 b1 c1 a2 b2 c2 a3 b3 c3", 1, None),
            ("a1 b1 a2 b2", 1, Some("x.b -> x.a -> x.b")),
        ] {
            assert_eq!(refused(chain, exchanges).as_deref(), cycle, "{chain}");
        }
    }
}
