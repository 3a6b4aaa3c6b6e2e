//! What a task and all below it may use.

use serde::{Deserialize, Serialize};

/// How deep tasks may delegate, unless it says so: 32 levels below the root.
pub const DEFAULT_DEPTH: u32 = 32;
/// How many asks may hang on one another: 32. An ask carries no budget, so this is the same for all.
pub const MAX_HOPS: u32 = 32;
/// How often two capabilities may hand on to each other in turn, unless it says so: 12 times there and back.
pub const DEFAULT_PING_PONG: u32 = 12;

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
    /// How often two capabilities may hand on to each other in turn, there and back, whatever they hand on. Default
    /// [`DEFAULT_PING_PONG`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_pong: Option<u32>,
    /// How many tasks there may be below the root, over all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// How many steps they and the root may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// How many tokens they may use, as they charge them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// How much they may cost, as they charge it, in millionths of whatever it is paid in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
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

    /// This budget for a child that was given `other`: the smaller of each level; what is counted is the run's.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        Self { depth: least(self.depth, other.depth), ping_pong: least(self.ping_pong, other.ping_pong), ..self }
    }

    /// The levels of tasks that there may be below the root.
    pub fn depth(&self) -> u32 {
        self.depth.unwrap_or(DEFAULT_DEPTH)
    }

    /// The exchanges of two capabilities in turn.
    pub fn ping_pong(&self) -> u32 {
        self.ping_pong.unwrap_or(DEFAULT_PING_PONG)
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
    }
}
