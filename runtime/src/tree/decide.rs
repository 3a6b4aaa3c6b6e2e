//! What one exit means: leave the child, restart it after a wait, or give up.
//!
//! Pure: the time is an argument (since the tree began) and so is the random number, which makes every rule testable as
//! a table. Which siblings are affected, and in what order they go, is the business of `plan`.

use std::collections::VecDeque;
use std::time::Duration;

use super::exit::ExitReason;
use super::policy::{Backoff, Intensity};
use super::spec::{Restart, Strategy};

/// The rules of one supervisor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) max_failed_starts: u32,
}

/// What a supervisor remembers of one child.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Failures in a row, without a healthy life between them.
    failures: u32,
    /// Failed starts in a row.
    failed_starts: u32,
    up_since: Option<Duration>,
}

impl History {
    pub(crate) fn started(&mut self, now: Duration) {
        self.up_since = Some(now);
        self.failed_starts = 0;
    }

    fn ended(&mut self, exit: &ExitReason, now: Duration, healthy_life: Duration) {
        let lived = self.up_since.take().map(|since| now.saturating_sub(since));
        if lived.is_some_and(|lived| lived >= healthy_life) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        if matches!(exit, ExitReason::StartFailed(_)) {
            self.failed_starts = self.failed_starts.saturating_add(1);
        }
    }
}

/// The restarts of the last period, one entry each; never longer than the intensity allows plus one.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<Duration>);

impl Window {
    /// Counts a restart; `false` when it is one too many.
    pub(crate) fn admit(&mut self, limit: Intensity, now: Duration) -> bool {
        self.expire(limit, now);
        self.0.push_back(now);
        self.0.len() <= limit.max() as usize
    }

    fn expire(&mut self, limit: Intensity, now: Duration) {
        while self.0.front().is_some_and(|at| now.saturating_sub(*at) >= limit.period()) {
            self.0.pop_front();
        }
    }

    /// When each restart that still counts was done.
    pub(crate) fn times(&self) -> impl Iterator<Item = Duration> + '_ {
        self.0.iter().copied()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It has ended for good.
    Leave,
    /// Start it again after `delay`, as the `attempt`th restart in a row.
    Restart { attempt: u32, delay: Duration },
    /// The supervisor cannot help: it stops everything and ends itself. So many ends within so long were too many;
    /// without a time, so many starts in a row.
    Escalate { times: u32, within: Option<Duration> },
}

/// `unit` is random in `[0, 1)`.
pub(crate) fn decide(
    policy: &Policy,
    restart: Restart,
    exit: &ExitReason,
    history: &mut History,
    window: &mut Window,
    now: Duration,
    unit: f64,
) -> Verdict {
    let again = match restart {
        Restart::Permanent => true,
        Restart::Transient => exit.is_abnormal(),
        Restart::Temporary => false,
    };
    if !again {
        return Verdict::Leave;
    }
    let healthy_life = policy.backoff.map_or(policy.intensity.period(), |backoff| backoff.healthy_life());
    history.ended(exit, now, healthy_life);
    if history.failed_starts >= policy.max_failed_starts {
        return Verdict::Escalate { times: history.failed_starts, within: None };
    }
    if !window.admit(policy.intensity, now) {
        let (times, within) = (policy.intensity.max().saturating_add(1), policy.intensity.period());
        return Verdict::Escalate { times, within: Some(within) };
    }
    let attempt = history.failures;
    let delay = policy.backoff.map_or(Duration::ZERO, |backoff| backoff.delay(attempt, unit));
    Verdict::Restart { attempt, delay }
}

#[cfg(test)]
mod tests;
