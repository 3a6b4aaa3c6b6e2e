//! Whether what a file refers to is there: agents that are built in, providers that are known, tools that are configured.
//!
//! A program may add agents and tools of its own, so this is asked only of the files of nodes without any.

use callboard_agents::llm;
use callboard_agents::tool;
use callboard_broker::code;
use callboard_broker::problem::{Problem, Problems};

use super::{Config, Source};

impl Config {
    /// Whether all that a node without agents and tools of its own is to serve, and refers to, is there.
    ///
    /// # Errors
    /// What is not, with its place and what is.
    pub fn check_served(&self, file: &str, text: &str) -> Result<(), Problems> {
        self.check(file, text, false)
    }

    /// The same for the file of a program that serves capabilities of its own, of which nothing is known here.
    ///
    /// # Errors
    /// As for [`check_served`](Self::check_served), but for capabilities.
    pub fn check_served_by_program(&self, file: &str, text: &str) -> Result<(), Problems> {
        self.check(file, text, true)
    }

    fn check(&self, file: &str, text: &str, any_capability: bool) -> Result<(), Problems> {
        let source = Source::parse(file, text)?;
        if !any_capability {
            self.capabilities(&source);
        }
        self.providers(&source);
        self.agents_tools(&source);
        source.finish(())
    }

    fn capabilities(&self, source: &Source<'_>) {
        let mut known = crate::built_in();
        known.extend(self.agents.keys().map(ToString::to_string));
        let served = self.serve.keys().map(|name| (name, vec!["serve".to_owned(), name.to_string()]));
        let public = self.public.iter().enumerate().map(|(at, name)| (name, vec!["public".to_owned(), at.to_string()]));
        for (name, place) in served.chain(public).filter(|(name, _)| !known.iter().any(|one| one == name.as_str())) {
            let what = format!("no agent that is built in serves {name}");
            let problem = Problem::new(code::UNKNOWN_CAPABILITY, what).allowed_near(name.as_str(), &known);
            source.report(problem.at(source.place(&place)));
        }
    }

    /// What a provider speaks, where it is said or else where a model of it is named first.
    fn providers(&self, source: &Source<'_>) {
        for (model, why) in llm::unknown_providers(&self.models) {
            let of = model.provider();
            let role = || self.models.roles.iter().find(|(_, models)| models.contains(&model)).map(|(role, _)| role);
            let place = match self.models.providers.get(of) {
                Some(provider) if provider.speaks.is_some() => vec!["models", "providers", of, "speaks"],
                _ if self.models.default.contains(&model) => vec!["models", "default"],
                _ => role().map_or_else(|| vec!["models", "allow"], |role| vec!["models", "roles", role]),
            };
            source.report(Problem::new(code::NOT_ALLOWED, why).at(source.place_within(&place, of)));
        }
    }

    fn agents_tools(&self, source: &Source<'_>) {
        let known: Vec<&str> = self.tools.keys().chain(self.mcp.keys()).map(String::as_str).collect();
        for (agent, config) in &self.agents {
            for (at, pattern) in config.tools.iter().enumerate() {
                if known.iter().any(|family| tool::may_cover(pattern, family)) {
                    continue;
                }
                let place = source.place(&["agents", agent.as_str(), "tools", &at.to_string()]);
                let what = format!("{agent} is granted {pattern}, and no tool that is configured has such a name");
                let families = known.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.*")]);
                source.report(Problem::new(code::NOT_ALLOWED, what).at(place).allowed_near(pattern, families));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(String, usize)> {
        lines(Config::from_toml("node.toml", text).unwrap().check_served("node.toml", text))
    }

    fn lines(checked: Result<(), Problems>) -> Vec<(String, usize)> {
        let problems = checked.err().unwrap_or_default();
        problems.iter().map(|problem| (problem.what.clone(), problem.at.as_ref().unwrap().line)).collect()
    }

    #[test]
    fn what_nothing_built_in_serves_is_told_where_it_stands() {
        let text = "serve = { \"diag.ecko\" = 1 }\npublic = [\"executive\", \"executives\"]\n";
        let expected =
            [("no agent that is built in serves diag.ecko", 1), ("no agent that is built in serves executives", 2)];
        assert_eq!(told(text), expected.map(|(what, line)| (what.to_owned(), line)));
    }

    #[test]
    fn a_program_may_serve_what_is_not_built_in_and_everything_else_is_checked() {
        let text = "serve = { \"shop.price\" = 1 }\npublic = [\"shop.price\"]\n\
            [agents.\"shop.clerk\"]\nprompt = \"Be brief.\"\ntools = [\"dogs.*\"]\n";
        let checked = Config::from_toml("node.toml", text).unwrap().check_served_by_program("node.toml", text);
        let places: Vec<usize> = lines(checked).into_iter().map(|(_, line)| line).collect();
        assert_eq!(places, [5]);
    }

    #[test]
    fn tools_that_nothing_configures_are_told_where_they_are_granted() {
        let text = r#"
            [tools.docs]
            type = "files"
            root = "."
            [mcp.shop]
            url = "http://127.0.0.1:1/mcp"
            [agents."shop.clerk"]
            prompt = "Be brief."
            tools = [
                "docs.*", "docs.read", "shop.items.*", "*",
                "dogs.*",
                "doc.read",
            ]
        "#;
        let lines: Vec<usize> = told(text).into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, [11, 12]);
    }

    #[cfg(feature = "genai")]
    #[test]
    fn a_provider_that_nobody_knows_is_told_where_it_stands() {
        let text = r#"
            [models]
            default = ["openai/a", "opnai/b"]
            allow = ["mistake/c"]
            [models.roles]
            qa = "local/d"
            writer = "ollma/e"
            [models.providers.local]
            speaks = "opanai"
        "#;
        let mut lines: Vec<usize> = told(text).into_iter().map(|(_, line)| line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [3, 4, 7, 9]);
    }
}
