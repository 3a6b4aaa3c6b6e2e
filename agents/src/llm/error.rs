//! Why a model gave no answer.

use std::fmt;
use std::time::Duration;

use callboard_broker::code;
use callboard_broker::error::{Class, Remote};
use callboard_broker::payload::Payload;

use super::{ModelName, Took, Usage};
use crate::Failure;

/// Why there is no answer, or not all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelError {
    /// What retry goes by.
    pub class: Class,
    /// The code of the page that explains it.
    pub code: &'static str,
    /// What is wrong, without anything of what was said to the model.
    pub message: String,
    /// The HTTP status, when there was one.
    pub status: Option<u16>,
    /// How long the provider wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What there was of the answer when it broke off.
    pub partial: Option<String>,
    /// What was used for it all the same, as far as that is known.
    pub used: Vec<Took>,
}

/// The longest wait that a provider may ask for: 1 h. What is more is cut to it.
const LONGEST: Duration = Duration::from_secs(3_600);

impl ModelError {
    fn new(class: Class, code: &'static str, message: impl Into<String>) -> Self {
        Self { class, code, message: message.into(), status: None, retry_after: None, partial: None, used: Vec::new() }
    }

    /// The provider refused with this status.
    pub fn status(status: u16, message: impl Into<String>) -> Self {
        let (class, code) = match status {
            401 | 403 => (Class::Permanent, code::MODEL_KEY),
            429 => (Class::RateLimited, code::MODEL_LIMITED),
            408 | 409 | 425 | 500..=599 => (Class::Transient, code::MODEL_FAILED),
            _ => (Class::Permanent, code::MODEL_FAILED),
        };
        Self { status: Some(status), ..Self::new(class, code, message) }
    }

    /// It cannot be reached, or gave no sign in time.
    pub fn away(message: impl Into<String>) -> Self {
        Self::new(Class::Transient, code::MODEL_AWAY, message)
    }

    /// The answer broke off after this much of it.
    pub fn broke_off(message: impl Into<String>, partial: impl Into<String>) -> Self {
        let partial = Some(partial.into()).filter(|text: &String| !text.is_empty());
        Self { partial, ..Self::new(Class::Transient, code::MODEL_BROKE, message) }
    }

    /// Its provider is left alone for so long, because it failed too often. Nothing was asked.
    pub fn resting(message: impl Into<String>, wait: Duration) -> Self {
        Self::new(Class::Transient, code::MODEL_RESTING, message).retry_after(Some(wait))
    }

    /// There is no place for it within its rate for so long. Nothing was asked.
    pub fn no_place(message: impl Into<String>, wait: Duration) -> Self {
        Self::new(Class::RateLimited, code::MODEL_NO_PLACE, message).retry_after(Some(wait))
    }

    /// It answered with something else than was asked for.
    pub fn form(message: impl Into<String>) -> Self {
        Self::new(Class::Permanent, code::MODEL_FORM, message)
    }

    /// A task names a model that its node does not have.
    pub fn not_allowed(name: &str) -> Self {
        let what = format!("the task names the model \"{name}\", which its node does not have or allow");
        Self::new(Class::Permanent, code::MODEL_NOT_ALLOWED, what)
    }

    /// It cannot be asked so.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Class::Permanent, code::MODEL_FAILED, message)
    }

    /// Counts what there is of the answer as taken of this model, at an estimate; unless something was counted already.
    pub(super) fn counted(mut self, model: &ModelName, input_tokens: u64) -> Self {
        if let Some(partial) = &self.partial
            && self.used.is_empty()
        {
            let usage = Usage { input_tokens, output_tokens: (partial.len() as u64).div_ceil(4), estimated: true };
            self.used.push(Took { model: model.clone(), usage });
        }
        self
    }

    /// With what was taken before.
    pub(super) fn after(mut self, before: impl IntoIterator<Item = Took>) -> Self {
        self.used.splice(..0, before);
        self
    }

    /// When another try makes sense.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait.map(|wait| wait.min(LONGEST));
        self
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Failure::of(Remote {
            class: error.class,
            code: error.code.to_owned(),
            message: error.message,
            retry_after_ms: error.retry_after.map(callboard_broker::clock::millis),
            partial: error.partial.map(Payload::of),
            fatal: false,
        })
    }
}
