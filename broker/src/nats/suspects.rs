//! Holders of claims of whom nothing is heard: pure, with the time passed in.
//!
//! A node that was cut off itself has not heard of those who came back meanwhile. So what counts against a holder is only
//! time in which whoever judges heard its own sign of life.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::id::NodeName;

/// How long nothing may be heard of a holder that was not there before it counts as gone: three signs of life.
pub(super) const SUSPECTED: Duration = Duration::from_millis(1_500);

/// A node by its name, and which incarnation of it.
pub(super) type Incarnation = (NodeName, u32);

/// The suspects, and since when each is.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<Incarnation, Instant>);

impl Suspects {
    /// These were not there at `at`; whoever was suspected before starts anew.
    pub(super) fn are(&mut self, absent: impl IntoIterator<Item = Incarnation>, at: Instant) {
        self.0 = absent.into_iter().map(|node| (node, at)).collect();
    }

    /// Nobody is suspected any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those that are gone by now, who are no longer suspected. `hears`: whether the judge has heard itself lately.
    pub(super) fn gone(
        &mut self,
        is_there: impl Fn(&Incarnation) -> bool,
        hears: bool,
        now: Instant,
    ) -> Vec<Incarnation> {
        if !hears {
            self.0.values_mut().for_each(|since| *since = now);
            return Vec::new();
        }
        self.0.retain(|node, _| !is_there(node));
        let over = |since: &Instant| now.duration_since(*since) >= SUSPECTED;
        let gone: Vec<Incarnation> =
            self.0.iter().filter(|(_, since)| over(since)).map(|(node, _)| node.clone()).collect();
        self.0.retain(|node, _| !gone.contains(node));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Incarnation {
        (NodeName::parse(name).unwrap(), 1)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_is_not_heard_of_for_long_enough_is_gone_once() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.are([node("a"), node("b")], now);
        assert!(suspects.gone(|_| false, true, now + SUSPECTED - MS).is_empty());
        assert_eq!(suspects.gone(|one| *one == node("b"), true, now + SUSPECTED), [node("a")], "b is back");
        assert!(suspects.gone(|_| false, true, now + 9 * SUSPECTED).is_empty());
    }

    /// The judge was cut off while a frozen neighbour came back: it hears of that a moment after it hears itself.
    #[test]
    fn the_time_in_which_the_judge_heard_nothing_counts_for_the_suspects() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        suspects.are([node("a")], now);
        let healed = now + 9 * SUSPECTED;
        assert!(suspects.gone(|_| false, false, healed).is_empty());
        assert!(suspects.gone(|_| false, true, healed + SUSPECTED - MS).is_empty());
        assert!(suspects.gone(|_| true, true, healed + SUSPECTED).is_empty(), "heard of in time");
        suspects.are([node("a")], healed);
        assert_eq!(suspects.gone(|_| false, true, healed + SUSPECTED), [node("a")]);
    }
}
