//! A whole cluster in virtual time, made of a seed: nodes, agents, people, operators, and all that goes wrong.
//!
//! Everything is real but for time, the lines between the nodes and their broker, and the world that effects change. One
//! thread runs it, the clock moves when nothing else can, and all chances come from the seed: so a seed that fails is
//! a bug that can be looked at as often as one likes. A storm of 150 s is followed by fair weather, in which everything
//! has to come to its end; then [`verdict`] asks the questions of [`invariants`](crate::contract::invariants).
//!
//! | part | what it holds |
//! |---|---|
//! | `plan`, `agents` | what tasks do, and who does it |
//! | `chaos` | what goes wrong and when |
//! | `people` | who answers questions |
//! | `witness`, `ledger` | what was seen from outside |
//! | `world` | the cluster under way |
//! | `verdict` | whether promises were kept |
//! | `sins` | bugs that have to be found |

use std::fmt::Write as _;

use tokio::runtime::Builder;

pub mod agents;
pub mod chaos;
pub mod ledger;
pub mod people;
pub mod plan;
pub mod sins;
pub mod verdict;
pub mod witness;
mod world;

pub use sins::Sin;

/// Lines of the trace that are shown with a failure.
const TAIL: usize = 60;

/// Which wing a simulation runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// In memory.
    Memory,
    /// On one file, with its writer where it is called.
    Sqlite,
}

/// What came of one seed.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What went wrong and when.
    pub schedule: Vec<String>,
    /// All that happened, with virtual milliseconds.
    pub trace: Vec<String>,
    /// One number for all that happened.
    pub hash: u64,
    /// Which promise was broken, if any.
    pub verdict: Result<(), String>,
}

/// Runs one seed to its end.
pub fn run(seed: u64, on: On, sin: Option<Sin>) -> Report {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(world::live(seed, on, sin))
}

impl Report {
    /// What a person needs who wants to know why: the seed, how to run it again, what went wrong and the end of the trace.
    pub fn tell(&self, rerun: &str) -> String {
        let why = self.verdict.as_ref().err().map_or("nothing was wrong", String::as_str);
        let mut text = format!("seed {}: {why}\nagain: {rerun}\n", self.seed);
        for line in &self.schedule {
            // A string takes everything.
            let _ = writeln!(text, "  {line}");
        }
        let skipped = self.trace.len().saturating_sub(TAIL);
        let _ = writeln!(text, "the last {} of {} lines:", self.trace.len() - skipped, self.trace.len());
        for line in &self.trace[skipped..] {
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}
