//! The tables `[agents.NAME]` of a node's file: agents that are nothing but a prompt, a model and tools.

use callboard_agents::tool::{AgentConfig, MAX_TURNS};
use callboard_broker::subject::CapabilityName;

use super::fields::{Fields, Wrong};
use super::{Config, Source, Table};

/// The largest file of a prompt, in bytes.
const MAX_PROMPT: u64 = 64 << 10;

impl Config {
    pub(super) fn agents(&mut self, source: &Source<'_>, root: &mut Table<'_>) {
        for (name, value) in root.object("agents") {
            let wrong = Wrong::new(source, &["agents", &name]);
            let capability = CapabilityName::parse(&name);
            if capability.is_err() {
                wrong.name("an agent is named by the capability that it serves, lowercase letters, digits and dots");
            }
            let Some(fields) = wrong.table(&value) else { continue };
            let agent = agent(Fields::new(fields, &wrong));
            if let Ok(capability) = capability {
                self.agents.insert(capability, agent);
            }
        }
    }
}

fn agent(mut of: Fields<'_>) -> AgentConfig {
    of.only(&["about", "prompt", "prompt_file", "tools", "turns", "role"]);
    let plain = AgentConfig::default();
    let from_file = of.read("prompt_file", |path| {
        let about = std::fs::metadata(path).map_err(|e| format!("{path} cannot be read: {e}"))?;
        if about.len() > MAX_PROMPT {
            return Err(format!("{path} has {} bytes, {MAX_PROMPT} are allowed", about.len()));
        }
        std::fs::read_to_string(path).map_err(|e| format!("{path} cannot be read: {e}"))
    });
    AgentConfig {
        about: of.text("about").unwrap_or_default(),
        prompt: of.text("prompt").or(from_file).unwrap_or_default(),
        tools: of.texts("tools"),
        turns: of.number("turns", 1..=MAX_TURNS.into()).and_then(|n| u32::try_from(n).ok()).unwrap_or(plain.turns),
        role: of.text("role"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_agents_with_their_tools_and_every_mistake_has_its_place() {
        let text =
            "[agents.\"shop.clerk\"]\nabout = \"answers\"\nprompt = \"Be brief.\"\ntools = [\"docs.*\"]\nturns = 4\n";
        let agents = Config::from_toml("node.toml", text).unwrap().agents;
        let clerk = &agents[&CapabilityName::parse("shop.clerk").unwrap()];
        assert_eq!(
            (clerk.prompt.as_str(), clerk.tools.as_slice(), clerk.turns),
            ("Be brief.", &["docs.*".to_owned()][..], 4)
        );
        let text = "[agents.Clerk]\ntool = []\ntools = \"docs\"\nturns = 0\nprompt_file = \"/none\"\n";
        let problems = Config::from_toml("node.toml", text).unwrap_err();
        assert_eq!(problems.iter().filter(|problem| problem.at.is_some()).count(), 5, "{problems}");
    }
}
