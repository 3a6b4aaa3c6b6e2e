//! The table `[models.limits]` of a node's file.

use callboard_agents::llm::{ModelName, Rate};
use serde_json::Value;

/// The most requests, or tokens, that a minute may be given.
const MAX_RATE: u64 = 1_000_000_000;

/// The rate of a model or of a provider.
pub(super) fn rate(name: &str, value: &Value) -> Result<(String, Rate), String> {
    let is_provider = !name.is_empty() && !name.contains('/') && format!("{name}/x").parse::<ModelName>().is_ok();
    if !is_provider && name.parse::<ModelName>().is_err() {
        return Err(format!("\"{name}\" is no model and no provider: it is PROVIDER/NAME or PROVIDER"));
    }
    let wrong = || "it takes what a minute may have: { requests = 600, tokens = 90000 }".to_owned();
    let fields = value.as_object().ok_or_else(wrong)?;
    let number = |key: &str| match fields.get(key) {
        None => Ok(None),
        Some(number) => number
            .as_u64()
            .filter(|number| (1..=MAX_RATE).contains(number))
            .map(Some)
            .ok_or_else(|| format!("`{key}` takes a whole number from 1 to {MAX_RATE}")),
    };
    let rate = Rate { requests: number("requests")?, tokens: number("tokens")? };
    let is_known = fields.keys().all(|key| matches!(key.as_str(), "requests" | "tokens"));
    if is_known && rate.limits() { Ok((name.to_owned(), rate)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use crate::settings::node::Config;

    #[test]
    fn rates_are_of_models_and_providers_and_their_mistakes_have_places() {
        let text = "[models]\nwait = \"5s\"\n[models.limits]\nopenai = { requests = 600, tokens = 90000 }\n\"local/a\" = { requests = 60 }\n";
        let limits = Config::from_toml("node.toml", text).unwrap().models.limits;
        let of = |model: &str| limits.of(&model.parse().unwrap()).map(|(rate, of)| (rate.requests, rate.tokens, of));
        assert_eq!(of("openai/gpt-5"), Some((Some(600), Some(90_000), "openai")));
        assert_eq!((of("local/a"), of("local/b")), (Some((Some(60), None, "local/a")), None));
        assert_eq!(limits.wait.as_secs(), 5);
        let wrong = "[models.limits]\n\"a b\" = { requests = 1 }\na = 5\nb = { requests = 0 }\nc = { }\nd = { burst = 1, requests = 1 }\n";
        let problems = Config::from_toml("node.toml", wrong).unwrap_err();
        let lines: Vec<usize> = problems.iter().filter_map(|problem| Some(problem.at.as_ref()?.line)).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6], "{problems}");
    }
}
