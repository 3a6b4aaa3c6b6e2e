//! Work that is submitted at its time: once, every so often, or by a cron expression.
//!
//! A schedule is one entry of shared state, so it is kept, listed and watched on every wing as all state is, and each
//! change is compare-and-set. Every node looks after all schedules of its broker: what is due is submitted as the root
//! of a run whose id is the schedule's name and the time of its tick, and then the entry is moved on. Two nodes, or one
//! that dies in between, so submit one task and not two. There is no leader to lose, and no timer beside the state.
//!
//! A NATS server could keep the time itself (message schedules, 2.14). But what it publishes has one fixed subject, which
//! is where a task's id stands, so its ticks could not be told apart; and it would have to be kept in step with an entry
//! that people pause and change. It would only queue a task while no node is there to do it.
//!
//! | file | holds |
//! |---|---|
//! | `ticks` | when a schedule is due: pure |
//! | `plan` | what is submitted now, what was missed, and when to look again: pure |
//! | `book` | adding, listing, pausing and removing |
//! | `turn` | the round that a node makes, and when it makes the next |
//!
//! # Guarantees
//! Each tick is one task, however many nodes there are. A tick that nobody was there to see within [`GRACE`] is *missed*
//! and handled as its schedule declares ([`Missed`]). Nothing is submitted before its time by the clock of the node that
//! does it.
//!
//! ```
//! use std::time::Duration;
//! use callboard::schedule::{Missed, Schedule, When};
//! use callboard::{Capability, Node, json};
//!
//! const REPORT: Capability<String, String> = Capability::new("report.write");
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> callboard::Result<()> {
//! let node = Node::embedded().serve(REPORT.by_fn(async |_ctx, of: String| Ok(of))).start().await?;
//! let hourly = Schedule::new("hourly", REPORT, "sales".into(), When::every(Duration::from_secs(3600)));
//! node.schedules().add(hourly.missed(Missed::Skip)).await?;
//! assert_eq!(node.schedules().list().await?[0].name, "hourly");
//! # node.shutdown().await?;
//! # Ok(())
//! # }
//! ```

mod book;
mod plan;
mod ticks;
mod turn;

#[cfg(test)]
mod tests;

use std::time::Duration;

use callboard_agents::{Capability, Payload as Typed};
use callboard_broker::budget::Budget;
use callboard_broker::clock::Millis;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::RunId;
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Priority, Task};
use serde::{Deserialize, Serialize};

use crate::workflow::declared_budget;

pub use book::{Added, Schedules};
pub use ticks::When;
pub(crate) use turn::keep;
pub use turn::turn;

/// Where schedules stand in shared state; their names follow.
pub const PREFIX: &str = "global.callboard-schedule";
/// The longest name: with the time of a tick it is the id of a run.
pub const MAX_NAME: usize = 22;
/// The most schedules of a broker.
pub const MAX_SCHEDULES: usize = 1_000;
/// The shortest time between two ticks: 1 s.
pub const MIN_EVERY: Duration = Duration::from_secs(1);
/// How late a tick may be before it counts as missed: 60 s.
pub const GRACE: Duration = Duration::from_secs(60);
/// The most missed ticks that are made up for at once; the newest.
pub const MAX_MADE_UP: usize = 100;

/// What is done about ticks that nobody was there to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// The newest is made up for, and stands for all of them. The default.
    #[default]
    Once,
    /// Each is made up for, at most the newest [`MAX_MADE_UP`].
    All,
}

/// Work that is to be submitted at its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// 1 to [`MAX_NAME`] letters, digits and `-`.
    pub name: String,
    /// Who does it.
    pub capability: CapabilityName,
    /// What they get.
    pub input: Payload,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who goes first.
    #[serde(default)]
    pub priority: Priority,
    /// When.
    pub when: When,
    /// What is done about missed ticks.
    #[serde(default)]
    pub missed: Missed,
    /// Whether it rests. Ticks that pass meanwhile are not missed and not made up for.
    #[serde(default)]
    pub paused: bool,
    /// The next tick; none: it is over, or not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Millis>,
    /// The newest tick that was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Millis>,
    /// How many ticks were submitted.
    #[serde(default)]
    pub fired: u64,
    /// How many were missed, or refused, and not made up for.
    #[serde(default)]
    pub skipped: u64,
}

impl Schedule {
    /// Work for a capability.
    pub fn new<Req: Typed, Res: Typed>(name: &str, to: Capability<Req, Res>, input: Req, when: When) -> Self {
        Self::of(name, to.id(), Payload::of(input), when)
    }

    /// As [`new`](Self::new), by name.
    pub fn of(name: &str, capability: CapabilityName, input: Payload, when: When) -> Self {
        Self {
            name: name.to_owned(),
            capability,
            input,
            description: None,
            priority: Priority::Normal,
            when,
            missed: Missed::default(),
            paused: false,
            next: None,
            last: None,
            fired: 0,
            skipped: 0,
        }
    }

    /// What is done about missed ticks. Default [`Missed::Once`].
    pub fn missed(self, missed: Missed) -> Self {
        Self { missed, ..self }
    }

    /// What it is for, in words.
    pub fn describe(self, words: impl Into<String>) -> Self {
        Self { description: Some(words.into()), ..self }
    }

    /// Who goes first. Default normal.
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The run that the tick at this time is.
    ///
    /// # Errors
    /// `Decode` for a name that is none.
    pub fn run(&self, tick: Millis) -> Result<RunId> {
        named(&self.name)?;
        RunId::parse(&format!("{}-{tick:013}", self.name)).map_err(|bad| Error::decode(bad.to_string()))
    }

    /// The task of a tick; what it may use is what its input declares, else what `default` says.
    fn task(&self, tick: Millis, now: Millis, default: Budget) -> Result<Task> {
        let task = Task {
            description: self.description.clone(),
            priority: self.priority,
            from: Some(format!("schedule {}", self.name)),
            ..Task::root(self.run(tick)?, self.capability.clone(), self.input.clone(), now)
        };
        Ok(task.budgeted(declared_budget(&self.capability, &self.input).or(default)))
    }

    /// Counted from now.
    fn begun(self, now: Millis) -> Self {
        let when = self.when.begun(now);
        let next = when.after(now).or_else(|| when.up_to(now));
        Self { when, next, ..self }
    }

    /// Whether it has not begun to count.
    fn is_new(&self) -> bool {
        self.next.is_none() && !self.paused && self.fired + self.skipped == 0
    }

    /// Whether both say the same, however far they have got.
    fn is_same(&self, other: &Self) -> bool {
        let told = |one: &Self| Self { paused: false, next: None, last: None, fired: 0, skipped: 0, ..one.clone() };
        told(self) == told(other)
    }
}

fn named(name: &str) -> Result<()> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match fits {
        true => Ok(()),
        false => {
            Err(Error::decode(format!("\"{name}\" is no name of a schedule: 1 to {MAX_NAME} letters, digits and -")))
        }
    }
}
