//! How often a tool may be called. Pure: the time is an argument.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// So many calls in so much time, on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; at least 1.
    pub calls: u32,
    /// In which time.
    pub within: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} s", self.calls, self.within.as_secs_f64())
    }
}

/// What is left of a rate: a call may be made as soon as the oldest of the last `calls` could have been made again, so a
/// burst is as large as the rate and no window begins anew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When all would be free again, had nobody called since.
    free: Option<Instant>,
}

impl Bucket {
    /// Takes a call.
    ///
    /// # Errors
    /// How long to wait; nothing was taken.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let each = rate.within / rate.calls.max(1);
        let free = self.free.unwrap_or(now).max(now);
        let earliest = free.checked_sub(rate.within.saturating_sub(each)).unwrap_or(now);
        if earliest > now {
            return Err(earliest - now);
        }
        self.free = Some(free + each);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_as_large_as_the_rate_and_then_each_waits_its_share() {
        let rate = Rate { calls: 4, within: Duration::from_secs(60) };
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert!((0..4).all(|_| bucket.take(rate, start).is_ok()));
        assert_eq!(bucket.take(rate, start), Err(Duration::from_secs(15)));
        assert_eq!(bucket.take(rate, start + Duration::from_secs(10)), Err(Duration::from_secs(5)));
        assert!(bucket.take(rate, start + Duration::from_secs(15)).is_ok());
        assert!(bucket.take(rate, start + Duration::from_secs(16)).is_err());
        let later = start + Duration::from_secs(600);
        assert_eq!((0..9).filter(|_| bucket.take(rate, later).is_ok()).count(), 4);
    }
}
