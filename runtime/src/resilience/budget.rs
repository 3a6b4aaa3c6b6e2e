//! How many retries a run may spend: pure, and a count for each run.
//!
//! Each task has retries of its own. When all that a run needs is away, those of all its tasks together are a storm that
//! meets whoever comes back. So a run has a reserve, and earns more with each task that is tried.

use std::collections::HashMap;

use callboard_broker::id::RunId;

/// Retries that every run has, on each node: none asks the others, so that N nodes have N times as many together.
pub const RESERVE: u32 = 100;
/// One more retry for each so many tasks of the run that were tried.
pub const TASKS_EACH: u32 = 2;
/// Runs whose budgets are kept on a node; of more, those that were used longest ago are forgotten and begin anew.
pub const RUNS: usize = 10_000;

/// What a run has spent and earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    begun: u32,
    retries: u32,
    /// When it was used last, counted in uses.
    used: u64,
}

/// The budgets of the runs that a node works on.
#[derive(Debug, Default)]
pub struct Budgets {
    accounts: HashMap<RunId, Account>,
    uses: u64,
}

impl Budgets {
    /// A task of the run was tried for the first time.
    pub fn begin(&mut self, run: &RunId) {
        let account = self.account(run);
        account.begun = account.begun.saturating_add(1);
    }

    /// Takes one retry from the run's budget; false when it is used up.
    pub fn take(&mut self, run: &RunId) -> bool {
        let account = self.account(run);
        let allowed = RESERVE.saturating_add(account.begun / TASKS_EACH);
        let is_left = account.retries < allowed;
        account.retries += u32::from(is_left);
        is_left
    }

    fn account(&mut self, run: &RunId) -> &mut Account {
        self.uses += 1;
        if self.accounts.len() >= RUNS && !self.accounts.contains_key(run) {
            self.forget();
        }
        let account = self.accounts.entry(run.clone()).or_default();
        account.used = self.uses;
        account
    }

    /// Forgets the half that was used longest ago, so that this is seldom needed.
    fn forget(&mut self) {
        let mut used: Vec<u64> = self.accounts.values().map(|account| account.used).collect();
        used.sort_unstable();
        let middle = used.get(used.len() / 2).copied().unwrap_or_default();
        self.accounts.retain(|_, account| account.used >= middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str) -> RunId {
        RunId::parse(name).unwrap()
    }

    #[test]
    fn a_run_has_its_reserve_and_one_for_each_two_tasks() {
        for (tasks, allowed) in [(0, 100), (1, 100), (2, 101), (1_000, 600)] {
            let mut budgets = Budgets::default();
            (0..tasks).for_each(|_| budgets.begin(&run("r")));
            let taken = (0..5_000).filter(|_| budgets.take(&run("r"))).count();
            assert_eq!(taken, allowed, "{tasks} tasks");
            assert!(budgets.take(&run("other")), "another run has its own");
        }
    }

    #[test]
    fn the_runs_that_are_kept_are_bounded_and_the_newest_stay() {
        let mut budgets = Budgets::default();
        (0..RUNS + 10).for_each(|n| budgets.begin(&run(&format!("r{n}"))));
        assert!(budgets.accounts.len() <= RUNS && budgets.accounts.len() >= RUNS / 2);
        assert_eq!(budgets.accounts[&run(&format!("r{}", RUNS + 9))].begun, 1);
    }
}
