//! What a run has spent of its budget: one small document, changed by whoever spends.

use callboard_agents::host::Spend;
use callboard_broker::budget::Budget;
use serde::{Deserialize, Serialize};

/// What was spent so far, and what has run out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ledger {
    pub(crate) tasks: u64,
    pub(crate) steps: u64,
    pub(crate) tokens: u64,
    pub(crate) cost_micros: u64,
    /// What has run out; from then on nothing more is spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exhausted: Option<(String, u64)>,
}

impl Ledger {
    /// The ledger after `spend`, or, where that would go over a limit, the unchanged sums with what has run out.
    pub(crate) fn book(&self, limits: &Budget, spend: &Spend) -> Result<Self, Self> {
        if self.exhausted.is_some() {
            return Err(self.clone());
        }
        let next = self.more(spend);
        let sums = [
            ("tasks", next.tasks, spend.tasks, limits.tasks),
            ("steps", next.steps, spend.steps, limits.steps),
            ("tokens", next.tokens, spend.tokens, limits.tokens),
            ("micros of cost", next.cost_micros, spend.cost_micros, limits.cost_micros),
        ];
        let over = sums.into_iter().find_map(|(what, sum, added, limit)| {
            limit.filter(|limit| added > 0 && sum > *limit).map(|limit| (what.to_owned(), limit))
        });
        match over {
            Some(what) => Err(Self { exhausted: Some(what), ..self.clone() }),
            None => Ok(next),
        }
    }

    /// The ledger with more spent, whatever the limits are: for what was used already. A sum that is over its limit so
    /// leaves nothing to be spent of its kind.
    pub(crate) fn more(&self, spend: &Spend) -> Self {
        Self {
            tasks: self.tasks.saturating_add(spend.tasks),
            steps: self.steps.saturating_add(spend.steps),
            tokens: self.tokens.saturating_add(spend.tokens),
            cost_micros: self.cost_micros.saturating_add(spend.cost_micros),
            exhausted: self.exhausted.clone(),
        }
    }

    /// The ledger with less spent; what has run out stays so.
    pub(crate) fn less(&self, spend: &Spend) -> Self {
        Self {
            tasks: self.tasks.saturating_sub(spend.tasks),
            steps: self.steps.saturating_sub(spend.steps),
            tokens: self.tokens.saturating_sub(spend.tokens),
            cost_micros: self.cost_micros.saturating_sub(spend.cost_micros),
            exhausted: self.exhausted.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spend(kind: usize, n: u64) -> Spend {
        let mut spend = Spend::default();
        *[&mut spend.tasks, &mut spend.steps, &mut spend.tokens, &mut spend.cost_micros][kind] = n;
        spend
    }

    #[test]
    fn what_has_run_out_is_named_and_ends_all_spending() {
        let limits = Budget { tasks: Some(2), tokens: Some(0), ..Budget::default() };
        let ledger = Ledger::default().book(&limits, &spend(0, 2)).unwrap();
        let ledger = ledger.book(&limits, &spend(1, 1_000)).expect("steps are not limited");
        let over = ledger.book(&limits, &spend(0, 1)).unwrap_err();
        assert_eq!(over.exhausted, Some(("tasks".to_owned(), 2)));
        assert_eq!((over.tasks, over.steps), (2, 1_000));
        assert_eq!(over.book(&limits, &spend(1, 1)).unwrap_err(), over);
        let back = over.less(&spend(0, 5));
        assert_eq!((back.tasks, &back.exhausted), (0, &over.exhausted), "what has run out does not come back");
        let over = Ledger::default().book(&limits, &spend(2, 1)).unwrap_err();
        assert_eq!(over.exhausted, Some(("tokens".to_owned(), 0)));
        assert!(Ledger::default().book(&limits, &spend(2, 0)).is_ok());
    }

    #[test]
    fn what_was_used_already_is_booked_over_the_limit_and_leaves_nothing() {
        let limits = Budget { cost_micros: Some(10), ..Budget::default() };
        let over = Ledger::default().more(&spend(3, 25));
        assert_eq!((over.cost_micros, &over.exhausted), (25, &None), "it was paid for, and may be kept");
        let steps = over.book(&limits, &spend(1, 1)).expect("what costs nothing goes on");
        assert_eq!(steps.book(&limits, &spend(3, 1)).unwrap_err().exhausted, Some(("micros of cost".to_owned(), 10)));
    }

    proptest! {
        #[test]
        fn no_sum_is_ever_over_its_limit(
            limit in 0_u64..50,
            spent in proptest::collection::vec((0_usize..4, prop_oneof![0_u64..20, Just(u64::MAX)]), 0..40),
        ) {
            let limits = Budget {
                tasks: Some(limit), steps: Some(limit), tokens: Some(limit), cost_micros: Some(limit),
                ..Budget::default()
            };
            let mut ledger = Ledger::default();
            for (kind, n) in spent {
                ledger = ledger.book(&limits, &spend(kind, n)).unwrap_or_else(|over| over);
                let most = ledger.tasks.max(ledger.steps).max(ledger.tokens).max(ledger.cost_micros);
                prop_assert!(most <= limit);
            }
        }
    }
}
