//! What a tool gives back.

use callboard_broker::error::{Class, Error, Remote};
use serde::Serialize;

use crate::{Failure, payload};

/// The result of a call, as it is recorded in the log of a task. It is data: whoever reads it, a model above all, is
/// told where it comes from.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Output {
    /// In words, or JSON as text.
    pub text: String,
    /// Whether there was more than its limit, and the rest was left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Why there is none, when that was told to the model that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// Why a call came to nothing.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The code of the page that explains it.
    pub code: String,
    /// In words.
    pub message: String,
}

impl Output {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A value, as JSON.
    ///
    /// # Errors
    /// Permanent when it cannot be written as JSON.
    pub fn json(value: &impl Serialize) -> crate::Result<Self> {
        serde_json::to_string(value).map(Self::text).map_err(|e| Failure::permanent(format!("it is no JSON: {e}")))
    }

    /// Why there is no result.
    pub(super) fn fault(remote: &Remote) -> Self {
        let fault = Fault { code: remote.code.clone(), message: remote.message.clone() };
        Self { fault: Some(fault), ..Self::default() }
    }

    /// At most so many bytes of it.
    pub(super) fn bounded(mut self, limit: usize) -> Self {
        if self.text.len() > limit {
            let end = (0..=limit).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or_default();
            self.text.truncate(end);
            self.cut = true;
        }
        self
    }

    /// The result, or the error that was recorded in its place.
    pub(super) fn or_fault(self, tool: &str) -> Result<Self, Error> {
        let Some(Fault { code, message }) = self.fault else { return Ok(self) };
        let failure =
            Remote { class: Class::Permanent, code, message, retry_after_ms: None, partial: None, fatal: false };
        Err(Error::Failed { to: format!("tool {tool}").into(), failure: Box::new(failure) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_cut_between_letters_and_says_so() {
        let cut = Output::text("aéé").bounded(4);
        assert_eq!((cut.text.as_str(), cut.cut), ("aé", true));
        assert!(!Output::text("abcd").bounded(4).cut);
    }
}
