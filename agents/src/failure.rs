//! What a handler gives up with: anything, through `?`.
//!
//! [`Failure`] is deliberately no `std::error::Error`, so that `?` can turn every error into one. It looks inside: our
//! own [`Error`] keeps its class and code, time-outs and refused connections are transient, the rest is unclassified.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use callboard_broker::code;
use callboard_broker::error::{Class, Error, Remote};

/// What a handler gives up with.
pub struct Failure {
    remote: Box<Remote>,
    not_done: bool,
}

impl Failure {
    /// May succeed if tried again.
    pub fn transient(why: impl Into<String>) -> Self {
        Self::new(Class::Transient, why.into())
    }

    /// Will fail again: the task is not tried again.
    pub fn permanent(why: impl Into<String>) -> Self {
        Self::new(Class::Permanent, why.into())
    }

    /// May succeed if tried again later.
    pub(crate) fn limited(why: impl Into<String>) -> Self {
        Self::new(Class::RateLimited, why.into())
    }

    /// Permanent, and the agent is rebuilt by its supervisor after it has answered.
    pub fn fatal(why: impl Into<String>) -> Self {
        let mut failure = Self::permanent(why);
        failure.remote.fatal = true;
        failure
    }

    /// When another try makes sense.
    pub fn retry_after(mut self, d: Duration) -> Self {
        self.remote.retry_after_ms = Some(callboard_broker::clock::millis(d));
        self
    }

    /// The code under which a page explains it, instead of that of any failed agent.
    pub fn code(mut self, code: &'static str) -> Self {
        self.remote.code = code.into();
        self
    }

    /// Whatever was to happen has certainly not happened: an [`effect`](crate::Context::effect) that fails so is not in
    /// doubt. A refused connection and our own `Busy`, `Undelivered`, `NoRecipient` and `Denied` say it by themselves.
    pub fn not_done(mut self) -> Self {
        self.not_done = true;
        self
    }

    /// Whether it is certain that nothing has happened.
    pub fn is_not_done(&self) -> bool {
        self.not_done
    }

    /// What retry goes by.
    pub fn class(&self) -> Class {
        self.remote.class
    }

    /// The code under which a page explains it.
    pub(crate) fn code_of(&self) -> &str {
        &self.remote.code
    }

    /// What travels to the caller.
    pub fn into_remote(self) -> Remote {
        *self.remote
    }

    fn new(class: Class, message: String) -> Self {
        let code = code::FAILED.into();
        Self::of(Remote { class, code, message, retry_after_ms: None, partial: None, fatal: false })
    }

    pub(crate) fn of(remote: Remote) -> Self {
        Self { remote: Box::new(remote), not_done: false }
    }
}

/// The chain of causes, outermost first, as one line.
fn chain(e: &(dyn StdError + 'static)) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn io_class(e: &io::Error) -> Class {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    match e.kind() {
        TimedOut | ConnectionRefused | ConnectionReset | ConnectionAborted | BrokenPipe | Interrupted => {
            Class::Transient
        }
        _ => Class::Unclassified,
    }
}

impl<E: StdError + 'static> From<E> for Failure {
    fn from(e: E) -> Self {
        let any: &(dyn StdError + 'static) = &e;
        if let Some(ours) = any.downcast_ref::<Error>() {
            if let Error::Failed { failure, .. } = ours {
                // The message gains who failed; class, code, partial and retry-after pass through. What was fatal to
                // the other agent is only permanent to this one.
                return Self::of(Remote { message: ours.to_string(), fatal: false, ..(**failure).clone() });
            }
            let mut failure = Self::new(ours.class(), chain(any));
            failure.remote.code = ours.code().into();
            failure.remote.retry_after_ms = ours.retry_after().map(callboard_broker::clock::millis);
            failure.not_done = matches!(
                ours,
                Error::Busy { .. } | Error::Undelivered { .. } | Error::NoRecipient { .. } | Error::Denied { .. }
            );
            return failure;
        }
        let io = any.downcast_ref::<io::Error>();
        let class = io.map_or(Class::Unclassified, io_class);
        let not_done = io.is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
        Self { not_done, ..Self::new(class, chain(any)) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.remote.message)
    }
}

/// The message itself: this is what a `main` that returns a failure prints.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.remote.message)
    }
}

/// Says what an error means, where `?` alone could not know: `text.parse().or_permanent("the price is no number")?`.
pub trait OrFail<T> {
    /// The error, as a permanent failure.
    fn or_permanent(self, why: &str) -> Result<T, Failure>;

    /// The error, as a transient failure.
    fn or_transient(self, why: &str) -> Result<T, Failure>;
}

impl<T, E: StdError + 'static> OrFail<T> for Result<T, E> {
    fn or_permanent(self, why: &str) -> Result<T, Failure> {
        self.map_err(|e| Failure::permanent(format!("{why}: {}", chain(&e))))
    }

    fn or_transient(self, why: &str) -> Result<T, Failure> {
        self.map_err(|e| Failure::transient(format!("{why}: {}", chain(&e))))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_permanent(self, why: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::permanent(why))
    }

    fn or_transient(self, why: &str) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::transient(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_error_keeps_its_class_and_code_on_the_way_through_a_handler() {
        let busy = Error::Busy { to: "x".into(), retry_after: Duration::from_millis(7) };
        let remote = Failure::from(busy).into_remote();
        assert_eq!((remote.class, remote.code.as_str()), (Class::RateLimited, code::BUSY));
        assert_eq!(remote.retry_after_ms, Some(7));
    }

    #[test]
    fn a_refused_connection_is_transient_and_a_parse_error_is_not_classified() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::ConnectionRefused)).class(), Class::Transient);
        assert_eq!(Failure::from("x".parse::<u32>().unwrap_err()).class(), Class::Unclassified);
        assert_eq!("x".parse::<u32>().or_permanent("no number").unwrap_err().class(), Class::Permanent);
    }

    #[test]
    fn what_is_fatal_to_one_agent_is_only_permanent_to_its_caller() {
        let inner = Failure::fatal("lost its connection").into_remote();
        let outer = Failure::from(Error::Failed { to: "store".into(), failure: Box::new(inner) }).into_remote();
        assert!(!outer.fatal);
        assert_eq!(outer.class, Class::Permanent);
        assert!(outer.message.contains("store") && outer.message.contains("lost its connection"));
    }
}
