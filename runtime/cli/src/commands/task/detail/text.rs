//! A task in at most 30 lines.

use callboard::broker::task::Status;
use serde_json::Value;

use super::attempts::Attempt;
use super::version::Begun;
use super::{Child, Detail, LISTED, Link};
use crate::ids::short;
use crate::output::{Page, Show, time};

impl Show for Detail {
    fn text(&self, page: Page) -> String {
        let row = &self.row;
        let mut lines = vec![
            field("task", &row.id),
            field("status", &format!("{}  {}{}", row.status, self.tries(), self.when())),
            field("capability", &row.capability),
        ];
        let mut optional = |name: &str, value: Option<String>| lines.extend(value.map(|value| field(name, &value)));
        optional("key", row.key.clone());
        optional("for", row.description.clone());
        optional("agent", row.agent.clone().map(|agent| format!("{agent} on {}", row.node.as_deref().unwrap_or("-"))));
        optional("node", row.node.clone().filter(|_| row.agent.is_none()));
        optional("version", self.version.as_ref().map(Begun::text));
        optional("parent", row.parent.clone());
        optional("after", ids_of(&self.depends_on));
        optional("retry of", self.retry_of.clone());
        optional("not before", self.not_before.clone());
        optional("input", json(&self.input));
        optional("result", json(&self.result));
        optional("degraded", self.degraded.clone());
        optional(
            "steps",
            (!self.steps.is_empty()).then(|| format!("{} recorded: {}", self.steps.len(), self.steps.join(", "))),
        );
        lines.extend(self.error_lines());
        lines.extend(self.attempt_lines());
        lines.extend(self.child_lines());
        lines.extend(self.next.as_ref().map(|next| field("next", next)));
        let log = self.log.iter().flatten().map(|line| line.text(page) + "\n");
        lines.iter().map(|line| page.fit(line, page.columns) + "\n").chain(log).collect()
    }
}

impl Detail {
    fn tries(&self) -> String {
        let generation =
            if self.generation > 1 { format!(" of generation {}", self.generation) } else { String::new() };
        format!("attempt {} of {}{generation}", self.row.attempt, self.attempts_allowed)
    }

    fn when(&self) -> String {
        let took = time::took(self.row.ms);
        match &self.row.finished_at {
            Some(at) => format!(", {took}, ended {at}"),
            None => format!(", for {took}, until {}", self.deadline),
        }
    }

    fn error_lines(&self) -> Vec<String> {
        let line = |(at, link): (usize, &Link)| {
            let class = serde_json::to_value(link.class).ok().and_then(|class| class.as_str().map(str::to_owned));
            let class = class.unwrap_or_default();
            let whose = if at == 0 { String::new() } else { format!("{} ", link.capability) };
            field(if at == 0 { "error" } else { "because" }, &format!("{whose}{} {class}: {}", link.code, link.message))
        };
        self.chain.iter().take(LISTED).enumerate().map(line).collect()
    }

    /// The last attempts; a single one has been told above.
    fn attempt_lines(&self) -> Vec<String> {
        if self.attempts.len() < 2 {
            return Vec::new();
        }
        let line = |attempt: &Attempt| {
            let clock = |at: &Option<String>| at.as_deref().map_or("-", time::clock).to_owned();
            let end = attempt.end.as_deref().unwrap_or("no end");
            let why = attempt.error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let node = attempt.node.as_deref().unwrap_or("-");
            let next = attempt.next_at.as_ref().map(|_| format!(", again {}", clock(&attempt.next_at)));
            let when = if attempt.ended_at.is_some() { clock(&attempt.ended_at) } else { clock(&attempt.started_at) };
            format!("  {:>2}  {when}  {node}  {end}{}{why}", attempt.attempt, next.unwrap_or_default())
        };
        let skipped = self.attempts.len().saturating_sub(LISTED);
        let head = field(
            "attempts",
            &format!("{}{}", self.attempts.len(), if skipped > 0 { ", the last of them:" } else { "" }),
        );
        std::iter::once(head).chain(self.attempts.iter().skip(skipped).map(line)).collect()
    }

    fn child_lines(&self) -> Vec<String> {
        if self.children.is_empty() {
            return Vec::new();
        }
        let mut shown: Vec<&Child> = self.children.iter().collect();
        shown.sort_by_key(|child| matches!(child.status, Status::Completed));
        let line = |child: &&Child| {
            let why = child.error.as_ref().map(|why| format!("  {why}")).unwrap_or_default();
            format!("  {}  {}  {}{why}", short(&child.id), child.status, child.capability)
        };
        let completed = self.children.iter().filter(|child| child.status == Status::Completed).count();
        let head = field("children", &format!("{}, {completed} completed", self.children.len()));
        std::iter::once(head).chain(shown.iter().take(LISTED).map(line)).collect()
    }
}

fn field(name: &str, value: &str) -> String {
    format!("{name:10} {value}")
}

fn ids_of(ids: &[String]) -> Option<String> {
    (!ids.is_empty()).then(|| ids.iter().map(|id| short(id)).collect::<Vec<_>>().join(", "))
}

fn json(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| value.to_string())
}
