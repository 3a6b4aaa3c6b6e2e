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
pub struct Failure(Box<Remote>);

impl Failure {
    /// May succeed if tried again.
    pub fn transient(why: impl Into<String>) -> Self {
        Self::new(Class::Transient, why.into())
    }

    /// Will fail again: the task is not tried again.
    pub fn permanent(why: impl Into<String>) -> Self {
        Self::new(Class::Permanent, why.into())
    }

    /// Permanent, and the agent is rebuilt by its supervisor after it has answered.
    pub fn fatal(why: impl Into<String>) -> Self {
        let mut failure = Self::permanent(why);
        failure.0.fatal = true;
        failure
    }

    /// When another try makes sense.
    pub fn retry_after(mut self, d: Duration) -> Self {
        self.0.retry_after_ms = Some(callboard_broker::clock::millis(d));
        self
    }

    /// The code under which a page explains it, instead of that of any failed agent.
    pub fn code(mut self, code: &'static str) -> Self {
        self.0.code = code.into();
        self
    }

    /// What retry goes by.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// What travels to the caller.
    pub fn into_remote(self) -> Remote {
        *self.0
    }

    fn new(class: Class, message: String) -> Self {
        Self(Box::new(Remote {
            class,
            code: code::FAILED.into(),
            message,
            retry_after_ms: None,
            partial: None,
            fatal: false,
        }))
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
                return Self(Box::new(Remote { message: ours.to_string(), fatal: false, ..(**failure).clone() }));
            }
            let mut failure = Self::new(ours.class(), chain(any));
            failure.0.code = ours.code().into();
            failure.0.retry_after_ms = ours.retry_after().map(callboard_broker::clock::millis);
            return failure;
        }
        let class = any.downcast_ref::<io::Error>().map_or(Class::Unclassified, io_class);
        Self::new(class, chain(any))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// The message itself: this is what a `main` that returns a failure prints.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
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
