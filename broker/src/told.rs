//! An error on its way between two processes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::millis;
use crate::code;
use crate::error::{Error, Remote};
use crate::problem::{Problem, Problems};

/// An [`Error`] as a document: what it is, and its fields.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    Busy { to: Box<str>, retry_after_ms: u64 },
    Deadline { to: Box<str>, limit_ms: u64 },
    NoRecipient { to: Box<str> },
    Crashed { to: Box<str>, reason: Box<str> },
    Failed { to: Box<str>, failure: Box<Remote> },
    Cancelled { by: Box<str> },
    Conflict { key: Box<str>, expected: u64, actual: u64 },
    Unknown { what: Box<str> },
    Undelivered { to: Box<str> },
    Diverged { key: Box<str>, recorded: Box<str>, given: Box<str> },
    Replaced {},
    Lagged { missed: u64 },
    Expired {},
    Denied { who: Box<str>, what: Box<str> },
    Decode { what: Box<str> },
    TooLarge { what: Box<str>, size: usize, limit: usize },
    NotFound { what: Box<str> },
    Unavailable { what: Box<str> },
    GaveUp { reason: Box<str>, counts: Box<str> },
    Loop { cycle: Box<str> },
    Exhausted { what: Box<str>, limit: u64, root: Box<str> },
    Config(Vec<ToldProblem>),
}

/// A [`Problem`] without its place: those that come from a store are about no file that a person wrote.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ToldProblem {
    code: String,
    what: String,
    note: Option<String>,
    #[serde(default)]
    allowed: Vec<String>,
    fix: Option<String>,
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy { to, retry_after } => Self::Busy { to, retry_after_ms: millis(retry_after) },
            Error::Deadline { to, limit } => Self::Deadline { to, limit_ms: millis(limit) },
            Error::NoRecipient { to } => Self::NoRecipient { to },
            Error::Crashed { to, reason } => Self::Crashed { to, reason },
            Error::Failed { to, failure } => Self::Failed { to, failure },
            Error::Cancelled { by } => Self::Cancelled { by },
            Error::Conflict { key, expected, actual } => Self::Conflict { key, expected, actual },
            Error::Unknown { what } => Self::Unknown { what },
            Error::Undelivered { to } => Self::Undelivered { to },
            Error::Diverged { key, recorded, given } => Self::Diverged { key, recorded, given },
            Error::Replaced => Self::Replaced {},
            Error::Lagged { missed } => Self::Lagged { missed },
            Error::Expired => Self::Expired {},
            Error::Denied { who, what } => Self::Denied { who, what },
            Error::Decode { what } => Self::Decode { what },
            Error::TooLarge { what, size, limit } => Self::TooLarge { what, size, limit },
            Error::NotFound { what } => Self::NotFound { what },
            Error::Unavailable { what } => Self::Unavailable { what },
            Error::GaveUp { reason, counts } => Self::GaveUp { reason, counts },
            Error::Loop { cycle } => Self::Loop { cycle },
            Error::Exhausted { what, limit, root } => Self::Exhausted { what, limit, root },
            Error::Config(problems) => Self::Config(problems.into_iter().map(ToldProblem::from).collect()),
        }
    }
}

impl From<Told> for Error {
    fn from(told: Told) -> Self {
        match told {
            Told::Busy { to, retry_after_ms } => Self::Busy { to, retry_after: Duration::from_millis(retry_after_ms) },
            Told::Deadline { to, limit_ms } => Self::Deadline { to, limit: Duration::from_millis(limit_ms) },
            Told::NoRecipient { to } => Self::NoRecipient { to },
            Told::Crashed { to, reason } => Self::Crashed { to, reason },
            Told::Failed { to, failure } => Self::Failed { to, failure },
            Told::Cancelled { by } => Self::Cancelled { by },
            Told::Conflict { key, expected, actual } => Self::Conflict { key, expected, actual },
            Told::Unknown { what } => Self::Unknown { what },
            Told::Undelivered { to } => Self::Undelivered { to },
            Told::Diverged { key, recorded, given } => Self::Diverged { key, recorded, given },
            Told::Replaced {} => Self::Replaced,
            Told::Lagged { missed } => Self::Lagged { missed },
            Told::Expired {} => Self::Expired,
            Told::Denied { who, what } => Self::Denied { who, what },
            Told::Decode { what } => Self::Decode { what },
            Told::TooLarge { what, size, limit } => Self::TooLarge { what, size, limit },
            Told::NotFound { what } => Self::NotFound { what },
            Told::Unavailable { what } => Self::Unavailable { what },
            Told::GaveUp { reason, counts } => Self::GaveUp { reason, counts },
            Told::Loop { cycle } => Self::Loop { cycle },
            Told::Exhausted { what, limit, root } => Self::Exhausted { what, limit, root },
            Told::Config(told) => {
                let mut problems = Problems::new();
                problems.extend(told.into_iter().map(Problem::from));
                Self::Config(Box::new(problems))
            }
        }
    }
}

impl From<Problem> for ToldProblem {
    fn from(problem: Problem) -> Self {
        let Problem { code, what, note, allowed, fix, at: _ } = problem;
        Self { code: code.into(), what, note, allowed, fix }
    }
}

impl From<ToldProblem> for Problem {
    fn from(told: ToldProblem) -> Self {
        let ToldProblem { code, what, note, allowed, fix } = told;
        // A newer program may know codes that this one has no page for.
        let code = code::find(&code).map_or(code::UNREACHABLE, |known| known.code);
        Self { code, what, at: None, note, allowed, fix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[test]
    fn an_error_is_the_same_on_the_other_side() {
        let failure = Remote {
            class: Class::Permanent,
            code: code::FAILED.into(),
            message: "no".into(),
            retry_after_ms: Some(5),
            partial: Some(serde_json::json!({ "so": "far" }).into()),
            fatal: false,
        };
        let mut problems = Problems::new();
        problems.extend([Problem {
            code: code::CORRUPT_STORE,
            what: "the store is damaged".into(),
            at: None,
            note: Some("so".into()),
            allowed: Vec::new(),
            fix: Some("restore it".into()),
        }]);
        let errors = [
            Error::Busy { to: "x".into(), retry_after: Duration::from_millis(20) },
            Error::Failed { to: "x".into(), failure: Box::new(failure) },
            Error::Conflict { key: "k".into(), expected: 1, actual: 2 },
            Error::Replaced,
            Error::Expired,
            Error::Loop { cycle: "x -> y -> x".into() },
            Error::Exhausted { what: "levels".into(), limit: 32, root: "r".into() },
            Error::TooLarge { what: "x".into(), size: 2, limit: 1 },
            Error::Config(Box::new(problems)),
        ];
        for error in errors {
            let text = serde_json::to_string(&Told::from(error.clone())).unwrap();
            let back = Error::from(serde_json::from_str::<Told>(&text).unwrap());
            assert_eq!(format!("{back:?}"), format!("{error:?}"), "{text}");
        }
    }
}
