//! What a task and all below it may use.

use serde::{Deserialize, Serialize};

/// How deep tasks may delegate, unless it says so: 32 levels below the root.
pub const DEFAULT_DEPTH: u32 = 32;
/// How many asks may hang on one another: 32. An ask carries no budget, so this is the same for all.
pub const MAX_HOPS: u32 = 32;
/// How often two capabilities may hand on to each other in turn, unless it says so: 12 times there and back.
pub const DEFAULT_PING_PONG: u32 = 12;

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
}

impl Budget {
    /// Whether nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The smaller of each.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        Self { depth: least(self.depth, other.depth), ping_pong: least(self.ping_pong, other.ping_pong) }
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
        let outer = Budget { depth: Some(4), ping_pong: Some(2) };
        let inner = Budget { depth: Some(9), ping_pong: None };
        let both = Budget { depth: Some(4), ping_pong: Some(2) };
        assert_eq!((outer.within(inner), inner.within(outer)), (both, both));
        assert_eq!((Budget::default().depth(), Budget::default().ping_pong()), (32, 12));
    }
}
