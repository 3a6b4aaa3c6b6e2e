//! The one place that reads the wall clock.
//!
//! Documents carry absolute milliseconds since the Unix epoch, timers run on tokio's monotonic clock. Tests pause the
//! latter, so a [`Clock::following_tokio`] derives the former from it and both move together.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// A source of absolute time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Millis + Send + Sync>);

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self(Arc::new(system_ms))
    }

    /// Starts at the wall clock's time and then advances with tokio's clock, paused or not.
    pub fn following_tokio() -> Self {
        let (started, base) = (tokio::time::Instant::now(), system_ms());
        Self(Arc::new(move || base + millis(started.elapsed())))
    }

    /// Whatever `read` says; for simulations that step time themselves.
    pub fn from_fn(read: impl Fn() -> Millis + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Now, in milliseconds since the Unix epoch.
    pub fn now(&self) -> Millis {
        (self.0)()
    }

    /// The tokio instant that `at` corresponds to; the present instant when it has passed.
    pub fn instant(&self, at: Millis) -> tokio::time::Instant {
        // A year is beyond every limit that a deadline may have, and keeps the addition far from overflow.
        const YEAR: u64 = 366 * 24 * 3600 * 1000;
        tokio::time::Instant::now() + Duration::from_millis(at.saturating_sub(self.now()).min(YEAR))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// A duration in whole milliseconds, saturating.
pub fn millis(d: Duration) -> Millis {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn system_ms() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map(millis).unwrap_or(0)
}
