//! What is told of a call: never what was said.

use std::time::Duration;

use super::{ModelName, Usage};

/// A call of a model that has ended, for telemetry.
#[derive(Clone, Debug)]
pub struct ModelCall<'a> {
    /// For which role.
    pub role: &'a str,
    /// Which model was to answer.
    pub asked: &'a ModelName,
    /// How it went.
    pub attempted: Attempted<'a>,
    /// How long all of it took.
    pub took: Duration,
    /// How long it took to the first word.
    pub first: Option<Duration>,
}

/// How a call went.
#[derive(Clone, Debug)]
pub enum Attempted<'a> {
    /// With an answer.
    Answered {
        /// Who gave it; another than was asked when that one stood in.
        model: &'a ModelName,
        /// Tokens.
        usage: Usage,
        /// In millionths.
        cost_micros: u64,
    },
    /// Without.
    Failed {
        /// The code of the error.
        code: &'a str,
    },
}
