//! Whether the clock of this process and the server's agree.
//!
//! Deadlines are times of the day, and end what they belong to by the clock of whoever looks. Nobody can refuse a write
//! because its writer's clock is wrong, so a clock that is wrong is told of.

use std::sync::Weak;
use std::time::Duration;

use super::js::stamp;
use super::link::Link;
use super::names;
use crate::clock::{Millis, millis};
use crate::error::Result;

/// How far the two may be apart before that is logged as a warning: more than clocks are that anything keeps right.
pub const APART: Duration = Duration::from_secs(5);
/// How often they are compared.
const EVERY: Duration = Duration::from_secs(60);
/// A server that takes longer than this to answer says too little of what time it is.
const PROMPT: Duration = Duration::from_secs(1);

impl Link {
    /// By how many milliseconds the clock of this process is ahead of the server's, give or take a second; `None` when the
    /// server took too long to say.
    ///
    /// # Errors
    /// `Unavailable`, `Denied`.
    pub async fn ahead(&self) -> Result<Option<i64>> {
        let before = self.clock.now();
        let said = self.info(names::TASKS).await?.map_err(|e| e.into_error(names::TASKS))?;
        Ok(ahead(before, stamp(said["ts"].as_str().unwrap_or_default()), self.clock.now()))
    }
}

/// From when the server was asked, what it said and when that was heard; 0 is no time.
fn ahead(before: Millis, server: Millis, after: Millis) -> Option<i64> {
    let took = after.checked_sub(before).filter(|took| *took <= millis(PROMPT) && server > 0)?;
    i64::try_from(i128::from(before + took / 2) - i128::from(server)).ok()
}

/// Compares the two for as long as the connection lives, and warns each time that they have come apart.
pub(super) async fn watch(link: Weak<Link>) {
    let mut apart = false;
    loop {
        let Some(here) = link.upgrade() else { return };
        // Whether there is a server at all is for others to say.
        if let Ok(Some(ahead)) = here.ahead().await {
            let was = std::mem::replace(&mut apart, u128::from(ahead.unsigned_abs()) > APART.as_millis());
            if apart && !was {
                tracing::warn!(ahead_ms = ahead, server = %here.address, "the clock of this process and that of the server differ: deadlines are kept by it");
            }
        }
        drop(here);
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_in_the_middle_of_an_answer_that_came_soon() {
        assert_eq!(ahead(10_000, 10_100, 10_200), Some(0));
        assert_eq!(ahead(10_000, 4_000, 10_000), Some(6_000));
        assert_eq!(ahead(10_000, 3_610_000, 10_000), Some(-3_600_000));
        assert_eq!(ahead(10_000, 10_000, 11_001), None, "too late");
        assert_eq!(ahead(10_000, 10_000, 9_999), None, "it was set meanwhile");
        assert_eq!(ahead(10_000, 0, 10_000), None, "it does not say");
    }
}
