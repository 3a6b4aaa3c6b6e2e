//! The table `[models]` of a node's file.

use std::collections::BTreeMap;

use callboard_agents::llm::{EXTRACTIVE, ModelConfig, ModelName, Price, Provider};
use callboard_broker::code;
use callboard_broker::problem::Problem;
use serde_json::{Map, Value};

use super::{Config, Source, Table};
use crate::period::Period;

/// The most models that may stand in for one another.
const MAX_CHAIN: usize = 8;
/// The most tokens that an answer may be told to have.
const MAX_TOKENS: u64 = 1_000_000;

/// Models with commas between, the first and those that stand in for it; or the word for none.
pub(super) fn default(config: &mut ModelConfig, text: &str) -> Result<(), String> {
    config.default = chain(text.split(',').map(str::trim).filter(|part| !part.is_empty()))?;
    Ok(())
}

/// The address of a model.
pub(super) fn url(text: &str) -> Result<String, String> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("\"{text}\" is no address of a model: it is http://HOST:PORT/v1 or https://HOST/v1")),
    }
}

fn chain<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<ModelName>, String> {
    let names: Vec<&str> = names.collect();
    match names[..] {
        [EXTRACTIVE] => Ok(Vec::new()),
        _ if names.contains(&EXTRACTIVE) => {
            Err(format!("{EXTRACTIVE} stands alone: what a model does not do is done so in any case"))
        }
        _ if names.len() > MAX_CHAIN => Err(format!("{} models, {MAX_CHAIN} are allowed", names.len())),
        _ => names.into_iter().map(str::parse).collect(),
    }
}

/// One model or several, as JSON of a file has them.
fn models(value: &Value) -> Result<Vec<ModelName>, String> {
    match value {
        Value::String(name) => chain(std::iter::once(name.as_str())),
        Value::Array(names) if names.iter().all(Value::is_string) => chain(names.iter().filter_map(Value::as_str)),
        _ => Err("it takes a model, or a list of them".to_owned()),
    }
}

fn provider(fields: &Map<String, Value>) -> Result<Provider, String> {
    let mut provider = Provider::default();
    for (key, value) in fields {
        let text = || value.as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` takes a text"));
        let flag = || value.as_bool().ok_or_else(|| format!("`{key}` takes true or false"));
        match key.as_str() {
            "speaks" => provider.speaks = Some(text()?),
            "url" => provider.url = Some(url(&text()?)?),
            "key_file" => provider.key_file = Some(text()?.into()),
            "tools" => provider.can.tools = flag()?,
            "forms" => provider.can.form = flag()?,
            _ => return Err(format!("there is no `{key}`: it has speaks, url, key_file, tools, forms")),
        }
    }
    Ok(provider)
}

fn price(value: &Value) -> Result<Price, String> {
    let fields = value.as_object().filter(|fields| fields.keys().all(|key| matches!(key.as_str(), "input" | "output")));
    let number = |key: &str| fields?.get(key).map_or(Some(0.0), Value::as_f64).filter(|n| (0.0..=1e9).contains(n));
    match (number("input"), number("output")) {
        (Some(input), Some(output)) => Ok(Price { input, output }),
        _ => Err("it takes what a million tokens cost: { input = 1.25, output = 10.0 }".to_owned()),
    }
}

impl Config {
    pub(super) fn models(&mut self, source: &Source<'_>, table: &mut Table<'_>) {
        for key in ["url", "key_file"] {
            if let Some(value) = table.text(key) {
                self.take(source, &["models", key], &format!("models.{key}"), &value);
            }
        }
        let models = &mut self.models;
        let wrong = |place: &[&str], why: String| {
            let key = place[1..].join(".");
            source.report(Problem::new(code::NOT_ALLOWED, format!("`{key}`: {why}")).at(source.place(place)));
        };
        if let Some(value) = table.value("default") {
            match self::models(&value) {
                Ok(names) => models.default = names,
                Err(why) => wrong(&["models", "default"], why),
            }
        }
        if let Some(value) = table.value("allow") {
            match self::models(&value) {
                Ok(names) => models.allow = names,
                Err(why) => wrong(&["models", "allow"], why),
            }
        }
        models.roles = read(
            table.object("roles"),
            |_, value| self::models(value),
            |role, why| wrong(&["models", "roles", role], why),
        );
        let of_provider =
            |_: &str, value: &Value| value.as_object().ok_or_else(|| "it takes a table".to_owned()).and_then(provider);
        models.providers =
            read(table.object("providers"), of_provider, |name, why| wrong(&["models", "providers", name], why));
        let priced = |name: &str, value: &Value| Ok((name.parse::<ModelName>()?, price(value)?));
        let prices = read(table.object("prices"), priced, |name, why| wrong(&["models", "prices", name], why));
        models.prices = prices.into_values().collect();
        if let Some(temperature) = table.value("temperature") {
            match temperature.as_f64().filter(|n| (0.0..=2.0).contains(n)) {
                Some(temperature) => models.sampling.temperature = temperature,
                None => wrong(&["models", "temperature"], "it takes a number from 0 to 2".to_owned()),
            }
        }
        let tokens = table.number("max_tokens", 1..=MAX_TOKENS).and_then(|n| u32::try_from(n).ok());
        models.sampling.max_tokens = tokens.unwrap_or(models.sampling.max_tokens);
        models.silence = table.period("silence").map(Period::length);
        models.prompts = table.text("prompts").map(Into::into);
        let rates =
            read(table.object("limits"), super::limits::rate, |name, why| wrong(&["models", "limits", name], why));
        models.limits.rates = rates.into_values().collect();
        models.limits.wait = table.period("wait").map_or(models.limits.wait, Period::length);
        models.cache = table.table("cache").map(super::cache::cache).unwrap_or_default();
    }
}

/// Each entry of a table with free keys, and what is wrong with the others.
fn read<T>(
    entries: Map<String, Value>,
    one: impl Fn(&str, &Value) -> Result<T, String>,
    wrong: impl Fn(&str, String),
) -> BTreeMap<String, T> {
    let mut found = BTreeMap::new();
    for (key, value) in entries {
        match one(&key, &value) {
            Ok(read) => drop(found.insert(key, read)),
            Err(why) => wrong(&key, why),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use callboard_agents::llm::Capabilities;

    use super::*;

    #[test]
    fn a_file_names_models_by_role_providers_and_prices() {
        let text = r#"
            [models]
            default = ["local/a", "openai/b"]
            url = "http://127.0.0.1:1/v1"
            max_tokens = 50
            silence = "5s"
            allow = ["local/c"]
            [models.roles]
            "content.writer" = "openai/b"
            qa = "extractive"
            [models.providers.local]
            speaks = "openai"
            tools = false
            [models.prices]
            "openai/b" = { input = 1.25, output = 10 }
        "#;
        let models = Config::from_toml("node.toml", text).unwrap().models;
        let names = |names: &[ModelName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&models.default), ["local/a", "openai/b"]);
        assert_eq!(
            (names(&models.roles["content.writer"]), names(&models.roles["qa"])),
            (vec!["openai/b".into()], vec![])
        );
        assert_eq!(names(&models.allow), ["local/c"]);
        let local = models.provider(&models.default[0]);
        assert_eq!(local.can, Capabilities { tools: false, form: true });
        assert_eq!((local.speaks.as_deref(), local.url.as_deref()), (Some("openai"), Some("http://127.0.0.1:1/v1")));
        assert_eq!(models.prices[&models.default[1]], Price { input: 1.25, output: 10.0 });
        assert_eq!((models.sampling.max_tokens, models.silence.unwrap().as_secs()), (50, 5));
    }

    #[test]
    fn every_mistake_has_its_place() {
        let text = r#"
            [models]
            default = "gpt"
            url = "localhost:1"
            temperature = 3
            wrong = 1
            [models.roles]
            writer = ["extractive", "a/b"]
            [models.providers]
            x = { key = "sk-1" }
            y = { tools = "no" }
            [models.prices]
            "a/b" = { input = -1 }
        "#;
        let problems = Config::from_toml("node.toml", text).unwrap_err();
        let lines: Vec<usize> = problems.iter().filter_map(|problem| Some(problem.at.as_ref()?.line)).collect();
        assert_eq!((lines.len(), problems.iter().count()), (8, 8), "{problems}");
    }
}
