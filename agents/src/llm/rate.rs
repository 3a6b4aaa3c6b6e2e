//! How often models may be asked, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ModelName;

/// What is allowed in a minute; none: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests: Option<u64>,
    /// Tokens, of what is said to the model and of what it says.
    pub tokens: Option<u64>,
}

impl Rate {
    /// Whether anything is limited.
    pub fn limits(&self) -> bool {
        self.requests.is_some() || self.tokens.is_some()
    }
}

/// How often models may be asked, by all nodes of a broker together.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelLimits {
    /// By model, `openai/gpt-5`; or by provider, `openai`, for all its models together that have none of their own.
    pub rates: BTreeMap<String, Rate>,
    /// How long a request waits for its turn, and for a provider that is left alone, before it is refused. Default 30 s.
    pub wait: Duration,
}

impl Default for ModelLimits {
    fn default() -> Self {
        Self { rates: BTreeMap::new(), wait: Duration::from_secs(30) }
    }
}

impl ModelLimits {
    /// The rate of a model, and whose it is.
    pub fn of(&self, model: &ModelName) -> Option<(Rate, &str)> {
        let own = self.rates.get_key_value(&model.to_string());
        own.or_else(|| self.rates.get_key_value(model.provider())).map(|(name, rate)| (*rate, name.as_str()))
    }
}
