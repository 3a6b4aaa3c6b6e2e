//! What a task and all below it may use.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// How deep tasks may delegate, unless it says so: 32 levels below the root.
pub const DEFAULT_DEPTH: u32 = 32;
/// How many asks may hang on one another, unless a budget says less: 32.
pub const MAX_HOPS: u32 = 32;
/// How often two capabilities may hand on to each other in turn, unless it says so: 12 times there and back.
pub const DEFAULT_PING_PONG: u32 = 12;
/// How often one task or request may get the same answer to the same call in a row, unless it says so: 50 times.
pub const DEFAULT_REPEATS: u32 = 50;
/// How many children of one task may be queued or at work at a time, unless it says so: 100.
pub const DEFAULT_WIDTH: u32 = 100;

/// The name under which a run's state keeps what was spent of its budget; agents may read it and not write it.
pub const ACCOUNT: &str = "callboard-budget";

/// What a task and all below it may use. What is not set is not limited, or has the default named with it. A child
/// inherits it and can only have less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// How many levels of tasks there may be below the root. Default [`DEFAULT_DEPTH`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// How many asks may hang on one another below each of its tasks, at most [`MAX_HOPS`], which is the default. It goes
    /// with each ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hops: Option<u32>,
    /// How often two capabilities may hand on to each other in turn, there and back, whatever they hand on. Default
    /// [`DEFAULT_PING_PONG`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_pong: Option<u32>,
    /// How often one task or request may get the same answer to the same call (a capability with an input) in a row; the
    /// next such call is refused. Default [`DEFAULT_REPEATS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// How many children of one task are queued or at work at a time; the others wait in their parent. Queues are in order,
    /// so this is the weight of a run against others. At least 1. Default [`DEFAULT_WIDTH`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// How many tasks there may be below the root, over all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// How many steps they and the root may do, and whoever answers their asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// How many tokens they may use, as they charge them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// How much they may cost, as they charge it, in millionths of whatever it is paid in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// How long the root and all below it may take together, in milliseconds from when the root was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<Millis>,
    /// When that time is over, in absolute milliseconds; follows from `wall_ms` where the root is
    /// [given its budget](crate::task::Task::budgeted).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

impl Budget {
    /// Whether nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether something is counted over all tasks of the run.
    pub fn counts(&self) -> bool {
        [self.tasks, self.steps, self.tokens, self.cost_micros].iter().any(Option::is_some)
    }

    /// This budget with what it does not set taken from `default`.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        Self {
            depth: self.depth.or(default.depth),
            hops: self.hops.or(default.hops),
            ping_pong: self.ping_pong.or(default.ping_pong),
            repeats: self.repeats.or(default.repeats),
            width: self.width.or(default.width),
            tasks: self.tasks.or(default.tasks),
            steps: self.steps.or(default.steps),
            tokens: self.tokens.or(default.tokens),
            cost_micros: self.cost_micros.or(default.cost_micros),
            wall_ms: self.wall_ms.or(default.wall_ms),
            until: self.until.or(default.until),
        }
    }

    /// This budget for a root that was submitted at `now`: its wall time is counted from there.
    #[must_use]
    pub fn begun(self, now: Millis) -> Self {
        Self { until: self.wall_ms.map(|wall| now.saturating_add(wall)), ..self }
    }

    /// This budget for a child that was given `other`: the smaller of each limit on its shape; what is counted is the run's.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        Self {
            depth: least(self.depth, other.depth),
            hops: least(self.hops, other.hops),
            ping_pong: least(self.ping_pong, other.ping_pong),
            repeats: least(self.repeats, other.repeats),
            width: least(self.width, other.width),
            ..self
        }
    }

    /// The levels of tasks that there may be below the root.
    pub fn depth(&self) -> u32 {
        self.depth.unwrap_or(DEFAULT_DEPTH)
    }

    /// The asks that hang on one another.
    pub fn hops(&self) -> u32 {
        self.hops.map_or(MAX_HOPS, |hops| hops.min(MAX_HOPS))
    }

    /// The exchanges of two capabilities in turn.
    pub fn ping_pong(&self) -> u32 {
        self.ping_pong.unwrap_or(DEFAULT_PING_PONG)
    }

    /// The same answers to the same call in a row.
    pub fn repeats(&self) -> u32 {
        self.repeats.unwrap_or(DEFAULT_REPEATS)
    }

    /// The children of one task that are queued or at work at a time.
    pub fn width(&self) -> u32 {
        self.width.unwrap_or(DEFAULT_WIDTH).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_inside_another_has_the_smaller_of_each() {
        let outer = Budget { depth: Some(4), ping_pong: Some(2), ..Budget::default() };
        let inner = Budget { depth: Some(9), ..Budget::default() };
        let both = Budget { depth: Some(4), ping_pong: Some(2), ..Budget::default() };
        assert_eq!((outer.within(inner), inner.within(outer)), (both, both));
        assert_eq!((Budget::default().depth(), Budget::default().ping_pong()), (32, 12));
        assert_eq!(Budget::default().repeats(), 50);
        let hops = |hops| Budget { hops, ..Budget::default() };
        assert_eq!([None, Some(5), Some(99)].map(|most| hops(most).hops()), [32, 5, 32]);
        assert_eq!(
            (hops(Some(5)).within(hops(Some(9))).hops, hops(None).within(hops(Some(9))).hops),
            (Some(5), Some(9))
        );
    }

    #[test]
    fn what_is_not_set_is_taken_from_the_default_and_wall_time_counts_from_the_submission() {
        let default = Budget { tasks: Some(9), wall_ms: Some(1_000), ..Budget::default() };
        let given = Budget { tasks: Some(3), steps: Some(5), ..Budget::default() };
        let both = given.or(default);
        assert_eq!((both.tasks, both.steps, both.wall_ms, both.until), (Some(3), Some(5), Some(1_000), None));
        assert_eq!((both.begun(7).until, given.begun(7).until), (Some(1_007), None));
    }
}
