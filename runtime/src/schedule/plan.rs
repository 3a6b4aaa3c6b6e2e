//! What is submitted now, what was missed, and when to look again. Pure: time is an argument.

use callboard_broker::clock::{Millis, millis};

use super::{GRACE, MAX_MADE_UP, Missed, Schedule};

/// How many ticks are looked back at; older ones are passed over and not counted.
const LOOK_BACK: usize = 1_000;

/// What one look at a schedule comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The ticks to submit, oldest first.
    pub(super) fire: Vec<Millis>,
    /// How many are passed over.
    pub(super) skipped: u64,
    /// The tick after all of those.
    pub(super) next: Option<Millis>,
}

impl Schedule {
    /// What is to be done now; none while nothing is due.
    pub(super) fn plan(&self, now: Millis) -> Option<Plan> {
        let first = self.next.filter(|next| !self.paused && *next <= now)?;
        let mut due = Vec::new();
        let mut tick = self.when.up_to(now);
        while let Some(at) = tick.filter(|at| *at >= first && due.len() < LOOK_BACK) {
            due.push(at);
            tick = at.checked_sub(1).and_then(|before| self.when.up_to(before));
        }
        due.reverse();
        let late = due.partition_point(|at| now - at > millis(GRACE));
        let made_up = match self.missed {
            Missed::Skip => 0,
            Missed::Once => late.min(1),
            Missed::All => late.min(MAX_MADE_UP),
        };
        let fire = due.split_off(late - made_up);
        Some(Plan { fire, skipped: due.len() as u64, next: self.when.after(now) })
    }
}
