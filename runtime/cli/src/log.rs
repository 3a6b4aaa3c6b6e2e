//! Log lines and panics: both are for operators, so neither is seen unless asked for, but for errors, and the warnings of
//! a process that goes on.
//!
//! A healthy run writes no log line. A panic of an agent ends one request and is told where that request is told; its
//! message and place are logged, never printed as Rust would, whatever `RUST_BACKTRACE` says.

use std::any::Any;
use std::cell::RefCell;
use std::sync::OnceLock;

use callboard::Error;
use callboard::broker::code;
use callboard::broker::problem::Problem;
use callboard::telemetry::tells_what_was_said;
use serde_json::{Value, json};
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Filter, Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, reload};

use crate::args::{Global, LogFormat};
use crate::telemetry;

/// What RUST_LOG is when it is not set and nothing was asked for.
///
/// What the client of NATS has to say of a connection is told by the command that wanted it.
const DEFAULT: &str = "error,async_nats=off";
/// The same of a process that goes on: nobody sees by its answer what was wrong on the way.
const GOING_ON: &str = "warn,async_nats=off";

/// Puts another filter in the place of the one that log lines pass.
type Reload = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

static RELOAD: OnceLock<Reload> = OnceLock::new();

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Starts writing log lines to standard error. Who `goes_on` until told to stop tells its warnings, too.
///
/// # Errors
/// When RUST_LOG cannot be read.
pub(crate) fn start(global: &Global, goes_on: bool) -> Result<(), Problem> {
    let named = std::env::var("RUST_LOG").ok();
    let filter = filter(global.quiet, global.verbose, named, goes_on);
    let filter = EnvFilter::try_new(&filter).map_err(|why| {
        let problem = Problem::new(code::BAD_VALUE, format!("RUST_LOG cannot be \"{filter}\": {why}"));
        problem.fix("RUST_LOG=info")
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = match global.log_format {
        LogFormat::Text => lines.with_filter(passing(filter)).boxed(),
        LogFormat::Json => lines.json().with_filter(passing(filter)).boxed(),
    };
    // A second start in one process keeps the first: there is only one standard error.
    if telemetry::beside(tracing_subscriber::registry().with(lines)).is_ok() {
        let _ = RELOAD.set(Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())));
    }
    Ok(())
}

/// What is logged: what was asked for, or what the variable says, or the default.
fn filter(quiet: bool, verbose: u8, named: Option<String>, goes_on: bool) -> String {
    let asked = match (quiet, verbose) {
        (true, _) => "off",
        (_, 0) => match named.filter(|value| !value.is_empty()) {
            Some(named) => return named,
            None if goes_on => GOING_ON,
            None => DEFAULT,
        },
        (_, 1) => "warn,async_nats=off,callboard=info,callboard_agents=info,callboard_broker=info,callboard_cli=info",
        (_, 2) => "info,callboard=debug,callboard_agents=debug,callboard_broker=debug,callboard_cli=debug",
        _ => "trace",
    };
    asked.to_owned()
}

/// What passes of what was asked for: never what libraries tell of prompts, answers and keys. A function rather than a
/// directive, because a more exact directive of whoever asks would win over that.
fn passing<S: Subscriber>(asked: impl Filter<S>) -> impl Filter<S> {
    asked.and(filter_fn(|of| !tells_what_was_said(of)))
}

/// Changes what is logged: the verb `loglevel` of a node, with `{"level": "info"}` or anything that RUST_LOG takes.
///
/// # Errors
/// `Decode` for what is no level.
pub(crate) fn set_level(body: Value) -> Result<Value, Error> {
    let level = body.get("level").and_then(Value::as_str);
    let level =
        level.ok_or_else(|| Error::decode("loglevel needs {\"level\": text}, such as info or callboard=debug"))?;
    let filter = EnvFilter::try_new(level).map_err(|why| Error::decode(format!("\"{level}\" is no level: {why}")))?;
    let reload = RELOAD.get().ok_or_else(|| Error::unavailable("this process writes no log"))?;
    reload(filter).map_err(Error::unavailable)?;
    Ok(json!({ "level": level }))
}

/// From now on a panic is a log line of level debug, and remembered for [`fault`].
pub(crate) fn hook_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let why = said(info.payload());
        tracing::debug!(%place, panic = %why, "a panic was caught");
        LAST.set(Some(format!("{why} at {place}")));
    }));
}

/// What is told when the panic was in Callboard itself.
pub(crate) fn fault() -> Problem {
    let what = LAST.take().unwrap_or_else(|| "it ended for a reason that was not told".into());
    Problem::new(code::INTERNAL, format!("Callboard has a fault: {what}")).fix("callboard doctor")
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a value that is no text")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged by a program that says something here and in the libraries that carry it.
    fn logged(filter: &str) -> String {
        let (kept, filter) = (Kept::default(), EnvFilter::try_new(filter).unwrap());
        let (filter, handle) = reload::Layer::new(filter);
        let into = kept.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || into.clone()).with_ansi(false);
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(lines.with_filter(passing(filter))),
            || {
                for again in [false, true] {
                    if again {
                        let filter = EnvFilter::try_new("trace,rmcp::service=trace").unwrap();
                        handle.reload(filter).unwrap();
                    }
                    tracing::info!(target: "callboard_cli::log", "ours");
                    tracing::error!(target: "rmcp::service", "canary");
                    tracing::trace!(target: "rmcp", "canary");
                    tracing::debug!(target: "genai::webc", "canary");
                    tracing::trace!(target: "reqwest::connect", "canary");
                    tracing::trace!(target: "hyper_util::client", "canary");
                    tracing::trace!(target: "async_nats::connection", "canary");
                    tracing::info_span!(target: "rmcp::service", "serve", said = "canary").in_scope(|| {
                        tracing::info!(target: "callboard_cli::log", "ours within");
                    });
                    tracing::info!(target: "async_nats::connector", "connected");
                    tracing::info!(target: "rmcpx", "another library");
                }
            },
        );
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn who_goes_on_tells_its_warnings_unless_something_else_was_asked_for() {
        let named = |value: &str| Some(value.to_owned());
        assert_eq!(filter(false, 0, None, true), "warn,async_nats=off");
        assert_eq!(filter(false, 0, named(""), false), "error,async_nats=off");
        assert_eq!(
            (filter(false, 0, named("info"), true), filter(true, 0, named("info"), true)),
            ("info".into(), "off".into())
        );
        assert!(filter(false, 1, named("off"), true).contains("callboard=info"));
        assert_eq!(filter(false, 3, None, true), filter(false, 3, None, false));
    }

    #[test]
    fn what_libraries_tell_of_prompts_and_keys_is_logged_by_no_filter() {
        for filter in ["trace", "info,genai::webc=trace,rmcp=trace", "off,rmcp::service=debug,async_nats=trace"] {
            let lines = logged(filter);
            assert!(!lines.contains("canary"), "{filter}: {lines}");
            for kept in ["ours within", "connected", "another library"] {
                assert!(lines.contains(kept), "{filter}: {lines}");
            }
        }
    }
}
