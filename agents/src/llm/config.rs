//! Which models are configured, as plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CacheConfig, Capabilities, ModelLimits, Price, Sampling};

/// The name of no model: the [extractive engine](crate::extract).
pub const EXTRACTIVE: &str = "extractive";

/// A model by its provider and by the name that it has there: `openai/gpt-5`. The name itself may have slashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName {
    provider: String,
    name: String,
}

impl ModelName {
    /// The provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// What the provider calls it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+".contains(c);
        match text.split_once('/') {
            Some((provider, name))
                if !provider.is_empty() && !name.is_empty() && text.len() <= 200 && text.chars().all(fits) =>
            {
                Ok(Self { provider: provider.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("\"{text}\" is no model: it is PROVIDER/NAME, such as openai/gpt-5, or {EXTRACTIVE}")),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.provider.is_empty() { f.write_str(EXTRACTIVE) } else { write!(f, "{}/{}", self.provider, self.name) }
    }
}

impl TryFrom<String> for ModelName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == EXTRACTIVE { Ok(Self::default()) } else { text.parse() }
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> String {
        name.to_string()
    }
}

/// Where a provider is, and who we are to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provider {
    /// What it speaks: `openai`, `anthropic`, `gemini`, `ollama` and others. Default: what it is called.
    pub speaks: Option<String>,
    /// Its address, up to and with the version: `http://127.0.0.1:8080/v1`. Default: the provider's own.
    pub url: Option<String>,
    /// A file that holds the key, instead of the provider's usual variable.
    pub key_file: Option<PathBuf>,
    /// What its models can do. Default: all; what they cannot is asked of them in words.
    pub can: Capabilities,
}

/// All that is configured of models. The default is none: the extractive engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelConfig {
    /// For every role that has none of its own; first the one, then what stands in for it.
    pub default: Vec<ModelName>,
    /// By role: `content.writer`, or `content` for all that begins so. An empty list is the extractive engine.
    pub roles: BTreeMap<String, Vec<ModelName>>,
    /// Models that a task may name beside those above.
    pub allow: Vec<ModelName>,
    /// By name.
    pub providers: BTreeMap<String, Provider>,
    /// The address and the key's file of the first model of `default`, over those of its provider.
    pub url: Option<String>,
    /// See `url`.
    pub key_file: Option<PathBuf>,
    /// What tokens cost.
    pub prices: BTreeMap<ModelName, Price>,
    /// How answers are chosen.
    pub sampling: Sampling,
    /// How long a model may be silent, before its first word and between two of them. Default 60 s.
    pub silence: Option<Duration>,
    /// A folder with prompts that stand in the place of ours, `writer.md` and so on.
    pub prompts: Option<PathBuf>,
    /// Which answers are kept, where and for how long.
    pub cache: CacheConfig,
    /// How often models may be asked.
    pub limits: ModelLimits,
}

impl ModelConfig {
    /// Whether there is any model.
    pub fn has_any(&self) -> bool {
        !self.names().is_empty()
    }

    /// All models that are named, once each.
    pub fn names(&self) -> Vec<&ModelName> {
        let mut names: Vec<&ModelName> =
            self.default.iter().chain(self.roles.values().flatten()).chain(&self.allow).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Where a model is asked.
    pub fn provider(&self, model: &ModelName) -> Provider {
        let mut provider = self.providers.get(model.provider()).cloned().unwrap_or_default();
        if self.default.first().is_some_and(|first| first.provider() == model.provider()) {
            provider.url = self.url.clone().or(provider.url);
            provider.key_file = self.key_file.clone().or(provider.key_file);
        }
        provider
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_by_its_provider_and_its_name() {
        let name: ModelName = "ollama/qwen2.5:7b/x".parse().unwrap();
        assert_eq!(
            (name.provider(), name.name(), name.to_string().as_str()),
            ("ollama", "qwen2.5:7b/x", "ollama/qwen2.5:7b/x")
        );
        for wrong in ["gpt-5", "/x", "x/", "a/b c", "a/\u{1b}[2J"] {
            assert!(wrong.parse::<ModelName>().unwrap_err().contains("PROVIDER/NAME"), "{wrong}");
        }
        assert_eq!(ModelName::try_from("extractive".to_owned()), Ok(ModelName::default()));
    }

    #[test]
    fn the_address_of_the_default_model_is_that_of_its_provider_and_of_no_other() {
        let name = |text: &str| text.parse::<ModelName>().unwrap();
        let config = ModelConfig {
            default: vec![name("local/a"), name("far/b")],
            url: Some("http://here".into()),
            ..ModelConfig::default()
        };
        assert_eq!(config.provider(&name("local/c")).url.as_deref(), Some("http://here"));
        assert_eq!(config.provider(&name("far/b")).url, None);
    }
}
