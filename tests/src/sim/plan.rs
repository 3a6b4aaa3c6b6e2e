//! What a task of a simulation is to do, as a value that its seed makes.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// The deepest plan: a root, its children, and theirs.
const DEPTH: u32 = 3;

/// The work of one task. Its input, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its number within the seed, by which the ledger knows its effects.
    pub n: u64,
    /// What it does, one after the other.
    pub acts: Vec<Act>,
}

/// One thing that a task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Act {
    /// Waits for so many milliseconds.
    Nap(u64),
    /// A recorded step.
    Step,
    /// An effect that takes so many milliseconds and must not be repeated.
    Pay(u64),
    /// An effect that takes so many milliseconds and is repeated with its key.
    PayKeyed(u64),
    /// Delegates these and waits for all of them.
    Hand(Vec<Plan>),
    /// Asks a person.
    Person,
    /// Adds one to the counter that all tasks share.
    Count,
    /// Asks another agent, and goes on without its answer if there is none.
    Ask,
    /// Fails in the first so many attempts.
    Fail(u32),
    /// Panics in the first so many attempts.
    Panic(u32),
    /// Gives up for good.
    GiveUp,
}

impl Plan {
    /// A plan that `random` makes; `next` numbers it and those below it.
    pub fn make(random: &mut Random, next: &mut u64) -> Self {
        Self::level(random, next, 1)
    }

    fn level(random: &mut Random, next: &mut u64, depth: u32) -> Self {
        let n = *next;
        *next += 1;
        let acts = (0..=random.below(4)).map(|_| Act::make(random, next, depth)).collect();
        Self { n, acts }
    }

    /// It and all below it.
    pub fn all(&self) -> Vec<&Self> {
        let below = self.acts.iter().flat_map(|act| match act {
            Act::Hand(plans) => plans.iter().flat_map(Self::all).collect(),
            _ => Vec::new(),
        });
        std::iter::once(self).chain(below).collect()
    }
}

impl Act {
    fn make(random: &mut Random, next: &mut u64, depth: u32) -> Self {
        // Roots mostly delegate, leaves never do.
        if depth < DEPTH && random.below(3) < u64::from(DEPTH - depth) {
            return Self::Hand((0..=random.below(2)).map(|_| Plan::level(random, next, depth + 1)).collect());
        }
        match random.below(40) {
            0..=6 => Self::Nap(random.below(2_000)),
            // Longer than a claim holds, so that somebody else may have it by the next act.
            7..=10 => Self::Nap(15_000 + random.below(60_000)),
            11..=14 => Self::Step,
            15..=20 => Self::Pay(random.below(3_000)),
            21..=25 => Self::PayKeyed(random.below(3_000)),
            26..=28 => Self::Person,
            29..=32 => Self::Count,
            33..=34 => Self::Ask,
            35..=36 => Self::Fail(1 + u32::try_from(random.below(3)).unwrap_or(0)),
            37..=38 => Self::Panic(1),
            _ => Self::GiveUp,
        }
    }
}
