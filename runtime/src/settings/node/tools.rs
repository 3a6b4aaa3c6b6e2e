//! The tables `[tools.NAME]` of a node's file.

use std::path::PathBuf;
use std::time::Duration;

use callboard_agents::human::{self, Approval};
use callboard_agents::net::Net;
use callboard_agents::tool::{Limits, Rate, Risk, Rules, ToolConfig, ToolKind, WhenTainted, sql};
use callboard_broker::subject::{self, CapabilityName};

use super::fields::{Fields, Wrong};
use super::{Config, Source, Table};

/// The longest time that a call may be told to take.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);
/// The largest result and arguments that a tool may be told to have, in bytes.
const MAX_BYTES: u64 = 8 << 20;

/// What a table may hold for its `type`.
const KINDS: [(&str, &[&str]); 4] = [
    ("files", &["root", "write"]),
    ("http", &["hosts", "ports", "private", "post"]),
    ("sql", &["file", "write", "rows"]),
    ("capability", &["capability"]),
];
/// What it may hold for any.
pub(super) const COMMON: [&str; 11] = [
    "type",
    "rate",
    "calls",
    "cost",
    "timeout",
    "max_result",
    "max_arguments",
    "risk",
    "tainted",
    "trusts",
    "approval",
];

impl Config {
    pub(super) fn tools(&mut self, source: &Source<'_>, root: &mut Table<'_>) {
        for (name, value) in root.object("tools") {
            let wrong = Wrong::new(source, &["tools", &name]);
            if !subject::is_path(&name) || name.len() > 60 {
                wrong.name("a tool is named by letters, digits, `_` and `-`, with dots between");
            }
            let Some(fields) = wrong.table(&value) else { continue };
            if let Some(tool) = tool(Fields::new(fields, &wrong)) {
                self.tools.insert(name, tool);
            }
        }
    }
}

fn tool(mut of: Fields<'_>) -> Option<ToolConfig> {
    let words: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let kind = of.word("type", &words);
    let own = KINDS.iter().find(|(known, _)| Some(*known) == kind.as_deref()).map_or(&[][..], |(_, own)| own);
    if kind.is_some() {
        of.only(COMMON.iter().chain(own));
    }
    let rules = rules(&mut of);
    let kind = match kind.as_deref()? {
        "files" => ToolKind::Files { root: path(&mut of, "root")?, write: of.flag("write") },
        "http" => ToolKind::Http {
            hosts: of.texts("hosts"),
            ports: of.numbers("ports", 1..=65_535).into_iter().filter_map(|n| u16::try_from(n).ok()).collect(),
            private: of.read_each("private", str::parse::<Net>),
            post: of.flag("post"),
        },
        "sql" => ToolKind::Sql {
            file: path(&mut of, "file")?,
            write: of.flag("write"),
            rows: of.number("rows", 1..=100_000).and_then(|n| usize::try_from(n).ok()).unwrap_or(sql::MAX_ROWS),
        },
        _ => ToolKind::Capability(
            of.needed("capability", |text| CapabilityName::parse(text).map_err(|bad| bad.to_string()))?,
        ),
    };
    Some(ToolConfig { kind, rules })
}

fn path(of: &mut Fields<'_>, key: &'static str) -> Option<PathBuf> {
    of.needed(key, |text| if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(PathBuf::from(text)) })
}

/// What any tool may be told, also those of an MCP server.
pub(super) fn rules(of: &mut Fields<'_>) -> Rules {
    let plain = Limits::default();
    let bytes = |n: Option<u64>, or: usize| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(or);
    let limits = Limits {
        rate: of.read("rate", rate),
        calls: of.number("calls", 1..=1_000_000).and_then(|n| u32::try_from(n).ok()).unwrap_or(plain.calls),
        cost_micros: of.decimal("cost", 1e6).map_or(0, |cost| (cost * 1e6).ceil() as u64),
        timeout: of.period("timeout", MAX_TIMEOUT),
        max_result: bytes(of.number("max_result", 100..=MAX_BYTES), plain.max_result),
        max_arguments: bytes(of.number("max_arguments", 100..=MAX_BYTES), plain.max_arguments),
    };
    let approval = of.read("approval", |queue| people(queue).map(Box::new));
    let tainted = of.word("tainted", &["allow", "ask", "refuse"]).map(|word| match word.as_str() {
        "allow" => WhenTainted::Allow,
        "refuse" => WhenTainted::Refuse,
        _ => WhenTainted::Ask(approval.clone().unwrap_or_default()),
    });
    let risk = of.word("risk", &["normal", "high"]).map(|word| match word.as_str() {
        "high" => Risk::High,
        _ => Risk::Normal,
    });
    Rules { risk, tainted, trusts: of.texts("trusts"), approval, limits }
}

fn people(queue: &str) -> Result<Approval, String> {
    human::queue(queue)
        .map(|_| Approval::of(queue))
        .map_err(|_| "it takes the queue of people who approve: lowercase letters, digits and dots".into())
}

/// `60/1m`.
fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || "it takes so many calls in so much time, such as \"60/1m\"".to_owned();
    let (calls, within) = text.split_once('/').ok_or_else(wrong)?;
    let calls = calls.trim().parse().ok().filter(|n| (1..=1_000_000).contains(n)).ok_or_else(wrong)?;
    let within = within.trim().parse::<crate::period::Period>().map_err(|_| wrong())?.length();
    if within.is_zero() { Err(wrong()) } else { Ok(Rate { calls, within }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_tools_with_their_rules() {
        let text = r#"
            [tools.docs]
            type = "files"
            root = "docs"
            trusts = ["agent workflow"]
            [tools.web]
            type = "http"
            hosts = ["*.example.com"]
            private = ["10.1.0.0/16"]
            rate = "60/1m"
            cost = 0.002
            timeout = "5s"
            [tools.shop]
            type = "sql"
            file = "shop.db"
            write = true
            risk = "high"
            tainted = "refuse"
            approval = "finance"
            [tools."research.ask"]
            type = "capability"
            capability = "research.web"
        "#;
        let tools = Config::from_toml("node.toml", text).unwrap().tools;
        let web = &tools["web"].rules.limits;
        assert_eq!(web.rate, Some(Rate { calls: 60, within: Duration::from_secs(60) }));
        assert_eq!((web.cost_micros, web.timeout), (2_000, Some(Duration::from_secs(5))));
        let shop = &tools["shop"].rules;
        assert_eq!((shop.risk, &shop.tainted), (Some(Risk::High), &Some(WhenTainted::Refuse)));
        assert_eq!(shop.approval, Some(Box::new(Approval::of("finance"))));
        assert!(matches!(&tools["docs"].kind, ToolKind::Files { write: false, .. }));
        assert!(matches!(&tools["research.ask"].kind, ToolKind::Capability(of) if of.as_str() == "research.web"));
    }

    #[test]
    fn every_mistake_has_its_place() {
        let text = r#"
            [tools.docs]
            type = "files"
            hosts = ["x"]
            [tools.web]
            type = "http"
            private = ["nowhere"]
            ports = [0]
            rate = "often"
            [tools.shop]
            type = "sequel"
            [tools."a b"]
            type = "files"
            root = "x"
            risk = 1
            [tools.agent]
            type = "capability"
            capability = "No Name"
            timeout = "9d"
        "#;
        let problems = Config::from_toml("node.toml", text).unwrap_err();
        let lines: Vec<usize> = problems.iter().filter_map(|problem| Some(problem.at.as_ref()?.line)).collect();
        assert_eq!((lines.len(), problems.iter().count()), (10, 10), "{problems}");
    }
}
