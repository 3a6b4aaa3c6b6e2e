//! Traces and metrics of this process, when a variable names a collector for them. Without the feature `otel` there are
//! none.

use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

#[cfg(feature = "otel")]
mod on {
    use std::sync::OnceLock;

    use callboard::telemetry::{FLUSH, Telemetry};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    static RUNNING: OnceLock<Telemetry> = OnceLock::new();

    /// Starts telemetry beside the log lines of `subscriber`.
    pub(crate) fn beside<S>(subscriber: S) -> Result<(), TryInitError>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
    {
        let Some(telemetry) = Telemetry::from_environment() else { return subscriber.try_init() };
        subscriber.with(telemetry.layer()).try_init()?;
        telemetry.install();
        let _ = RUNNING.set(telemetry);
        Ok(())
    }

    /// Hands over what was not sent yet, as far as that can be done in a moment.
    pub(crate) fn end() {
        if let Some(telemetry) = RUNNING.get() {
            telemetry.shutdown(FLUSH);
        }
    }
}

#[cfg(not(feature = "otel"))]
mod on {
    use super::*;

    pub(crate) fn beside<S>(subscriber: S) -> Result<(), TryInitError>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
    {
        subscriber.try_init()
    }

    pub(crate) fn end() {}
}

pub(crate) use on::{beside, end};
