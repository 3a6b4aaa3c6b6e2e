//! When a schedule is due. Pure: time is an argument.

use std::time::Duration;

use callboard_broker::clock::{Millis, millis};
use callboard_broker::error::{Error, Result};
use serde::{Deserialize, Serialize};

use super::MIN_EVERY;
use crate::period::Period;

/// The times of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Once, at this time. One that has passed is due at once.
    At(Millis),
    /// Again and again, first one period after it was added.
    Every {
        /// The time between two ticks.
        period: Period,
        /// From when it counts; filled in when it is added.
        #[serde(default)]
        from: Millis,
    },
    /// A cron expression of five fields (minute, hour, day of month, month, day of week), or six with seconds first, in
    /// UTC. Needs the feature `cron`.
    Cron(String),
}

impl When {
    /// Every so often, at least a second.
    pub fn every(period: Duration) -> Self {
        Self::Every { period: Period::new(period), from: 0 }
    }

    /// By a cron expression, in UTC: `"0 3 * * MON-FRI"`.
    pub fn cron(expression: &str) -> Self {
        Self::Cron(expression.to_owned())
    }

    /// The same, counted from now where it has to be.
    pub(super) fn begun(self, now: Millis) -> Self {
        match self {
            Self::Every { period, from: 0 } => Self::Every { period, from: now },
            other => other,
        }
    }

    /// The same, counted from when the other does.
    pub(super) fn counted_as(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Every { period, .. }, Self::Every { from, .. }) => Self::Every { period: *period, from: *from },
            (one, _) => one.clone(),
        }
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// `Decode` with what is wrong.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::At(_) => Ok(()),
            Self::Every { period, .. } if period.length() >= MIN_EVERY => Ok(()),
            Self::Every { period, .. } => Err(Error::decode(format!("every {period} is more often than each second"))),
            Self::Cron(text) => parsed(text).map(drop),
        }
    }

    /// The first tick after a time; none when there is no further one.
    pub fn after(&self, time: Millis) -> Option<Millis> {
        match self {
            Self::At(at) => (*at > time).then_some(*at),
            Self::Every { period, from } => {
                let period = period.millis().max(millis(MIN_EVERY));
                let passed = time.checked_sub(*from).map_or(0, |since| since / period);
                from.checked_add(period.checked_mul(passed + 1)?)
            }
            Self::Cron(text) => found(text, time, true),
        }
    }

    /// The last tick up to and including a time; none when there was none.
    pub fn up_to(&self, time: Millis) -> Option<Millis> {
        match self {
            Self::At(at) => (*at <= time).then_some(*at),
            Self::Every { period, from } => {
                let period = period.millis().max(millis(MIN_EVERY));
                let passed = time.checked_sub(*from)? / period;
                (passed > 0).then(|| from + period * passed)
            }
            Self::Cron(text) => found(text, time, false),
        }
    }
}

#[cfg(feature = "cron")]
fn parsed(text: &str) -> Result<croner::Cron> {
    use std::str::FromStr;
    croner::Cron::from_str(text).map_err(|why| Error::decode(format!("\"{text}\" is no cron expression: {why}")))
}

#[cfg(feature = "cron")]
fn found(text: &str, time: Millis, ahead: bool) -> Option<Millis> {
    let cron = parsed(text).ok()?;
    let time = chrono::DateTime::from_timestamp_millis(i64::try_from(time).ok()?)?;
    let found = match ahead {
        true => cron.find_next_occurrence(&time, false),
        false => cron.find_previous_occurrence(&time, true),
    };
    u64::try_from(found.ok()?.timestamp_millis()).ok().map(|at| at / 1000 * 1000)
}

#[cfg(not(feature = "cron"))]
fn parsed(text: &str) -> Result<()> {
    Err(Error::decode(format!("\"{text}\": this build has no feature `cron`")))
}

#[cfg(not(feature = "cron"))]
fn found(_: &str, _: Millis, _: bool) -> Option<Millis> {
    None
}
