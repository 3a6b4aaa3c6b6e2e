//! The tables `[mcp.NAME]` of a node's file.

use std::path::PathBuf;
use std::time::Duration;

use callboard_agents::llm::Secret;
use callboard_broker::subject;

use super::fields::{Fields, Wrong};
use super::tools::{COMMON, rules};
use super::{Config, Source, Table};
use crate::mcp_servers::config::START;
use crate::mcp_servers::{McpConfig, McpPlace};

/// The longest time that a server may be told to take to start.
const MAX_START: Duration = Duration::from_secs(600);

impl Config {
    pub(super) fn mcp(&mut self, source: &Source<'_>, root: &mut Table<'_>) {
        for (name, value) in root.object("mcp") {
            let wrong = Wrong::new(source, &["mcp", &name]);
            if subject::token("MCP server", &name).is_err() || name.len() > 40 {
                wrong.name("an MCP server is named by at most 40 letters, digits, `_` and `-`");
            }
            let begins =
                |tool: &String| tool.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if self.tools.keys().any(begins) {
                wrong.name("there is a tool whose name begins so, and both would offer what begins with it");
            }
            let Some(fields) = wrong.table(&value) else { continue };
            if let Some(server) = server(Fields::new(fields, &wrong)) {
                self.mcp.insert(name, server);
            }
        }
    }
}

fn server(mut of: Fields<'_>) -> Option<McpConfig> {
    let own = ["command", "env", "env_from", "folder", "url", "key_file", "hints", "start"];
    of.only(COMMON.iter().filter(|key| **key != "type").chain(&own));
    let command = of.texts("command");
    let url = of.read("url", super::models::url);
    let env = of.map("env").into_iter().map(|(name, value)| (name, Secret::exact(value))).collect();
    let env_from = of.texts("env_from");
    let (folder, key_file) = (of.text("folder").map(PathBuf::from), of.text("key_file").map(PathBuf::from));
    let is_process = !command.is_empty();
    let hints = of.flag_or("hints", is_process);
    let start = of.period("start", MAX_START).unwrap_or(START);
    let rules = rules(&mut of);
    let place = match (is_process, url) {
        (true, None) => McpPlace::Process { command, env, env_from, folder },
        (false, Some(url)) => McpPlace::Address { url, key_file },
        _ => {
            of.one_of("command", "url");
            return None;
        }
    };
    Some(McpConfig { place, hints, start, rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_servers_and_every_mistake_has_its_place() {
        let text = r#"
            [mcp.fs]
            command = ["mcp-server-filesystem", "/srv"]
            env = { A = " canary-5d1 " }
            env_from = ["TOKEN"]
            timeout = "5s"
            [mcp.far]
            url = "https://mcp.example.com/mcp"
            key_file = "/etc/key"
        "#;
        let config = Config::from_toml("node.toml", text).unwrap();
        assert!(!format!("{config:?}").contains("canary"), "a variable may be a key");
        let mcp = config.mcp;
        assert!(matches!(&mcp["fs"].place, McpPlace::Process { env, .. } if env["A"].expose() == " canary-5d1 "));
        assert!(mcp["fs"].hints && !mcp["far"].hints);
        assert_eq!(mcp["fs"].rules.limits.timeout, Some(Duration::from_secs(5)));
        let text = r#"
            [tools.fs]
            type = "files"
            root = "x"
            [mcp.fs]
            command = ["x"]
            url = "http://x/mcp"
            [mcp.none]
            wrong = 1
            [mcp."a.b"]
            command = "x"
            env = { A = 1 }
        "#;
        let problems = Config::from_toml("node.toml", text).unwrap_err();
        assert!(problems.iter().all(|problem| problem.at.is_some()), "{problems}");
        assert_eq!(problems.iter().count(), 8, "{problems}");
    }
}
