//! What goes wrong in a simulation and when, as a list that its seed makes.

use crate::random::Random;

/// Nodes that are there at the beginning.
pub const NODES: usize = 3;
/// Virtual milliseconds in which things go wrong.
pub const STORM: u64 = 150_000;

/// One thing that happens. Runs and nodes go by their place.
#[derive(Clone, Debug)]
pub enum Blow {
    /// Somebody submits a run.
    Submit(usize),
    /// The line of a node is joined again.
    Join(usize),
    /// A node is started, under the name of the one before or not.
    Start(usize, bool),
    /// The line of a node loses everything for so many milliseconds.
    Cut(usize, u64),
    /// A node dies in the middle of everything; after so many milliseconds another is started, under the same name or not.
    Crash(usize, u64, bool),
    /// A node drains, and another takes its place.
    Drain(usize),
    /// The wall clock of the broker jumps by so many milliseconds.
    Step(i64),
    /// An operator cancels a run.
    Cancel(usize),
    /// An operator retries a run.
    Retry(usize),
}

/// What happens at which millisecond, in order.
pub fn schedule(random: &mut Random, runs: usize) -> Vec<(u64, Blow)> {
    let mut blows: Vec<_> = (0..3 + random.below(6)).map(|_| (random.below(STORM), Blow::make(random, runs))).collect();
    blows.sort_by_key(|(at, _)| *at);
    blows
}

impl Blow {
    fn make(random: &mut Random, runs: usize) -> Self {
        let node = pick(random, NODES);
        match random.below(12) {
            0..=4 => Self::Cut(node, 1_000 + random.below(70_000)),
            5..=7 => Self::Crash(node, random.below(40_000), random.below(2) == 0),
            8 => Self::Drain(node),
            9 => Self::Step(i64::try_from(random.below(60_000)).unwrap_or(0) - 30_000),
            10 => Self::Cancel(pick(random, runs)),
            _ => Self::Retry(pick(random, runs)),
        }
    }
}

fn pick(random: &mut Random, of: usize) -> usize {
    usize::try_from(random.below(of as u64)).unwrap_or(0)
}
