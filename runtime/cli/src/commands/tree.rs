//! `callboard tree`: the supervision tree of the running node.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::agent::nothing;
use crate::console::Console;
use crate::nodes::{Nodes, Of};
use crate::output::{Done, Page, Show, answer, then, time};
use crate::store::Store;

/// The supervision tree that is running.
#[derive(Args, Debug)]
pub(crate) struct Tree {
    /// Show idle children too
    #[arg(long)]
    all: bool,
}

/// Prints it.
pub(crate) async fn tree(of: Tree, console: &Console) -> Done {
    let store = console.look().await?;
    if let Some(nodes) = store.nodes() {
        return every(nodes, of.all, console, &store).await;
    }
    let info = store.node_says("info").await?;
    match store.node_says("tree").await? {
        Some(tree) => answer(Shown { running: true, info, tree: Some(tree), all: of.all }),
        None => {
            let shown = Shown { running: false, info: None, tree: None, all: of.all };
            then(answer(shown), &nothing(console, &store).await?)
        }
    }
}

/// The trees of all nodes, one below the other.
async fn every(nodes: &Nodes, all: bool, console: &Console, store: &Store) -> Done {
    let (mut infos, trees) = tokio::try_join!(nodes.all("info"), nodes.told("tree"))?;
    let mut shown = Vec::new();
    for said in trees {
        let info = infos.iter_mut().find(|info| info.node.node == said.node.node);
        let info = info.and_then(|info| info.answer.as_ref().ok().cloned());
        let name = said.node.node.to_string();
        match said.answer {
            Ok(tree) => shown.push(Of { node: name, what: Shown { running: true, info, tree: Some(tree), all } }),
            Err(error) => console.out.note(&format!("node {name}: {error}")),
        }
    }
    let none = if shown.is_empty() { nothing(console, store).await? } else { String::new() };
    then(answer(Every(shown)), &none)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Every(Vec<Of<Shown>>);

impl Show for Every {
    fn text(&self, page: Page) -> String {
        self.0.iter().map(|one| one.what.text(page)).collect::<Vec<_>>().join("\n")
    }
}

#[derive(Serialize)]
struct Shown {
    running: bool,
    info: Option<Value>,
    tree: Option<Value>,
    #[serde(skip)]
    all: bool,
}

impl Show for Shown {
    fn text(&self, page: Page) -> String {
        let Some(tree) = &self.tree else { return String::new() };
        let mut lines = Vec::new();
        if let Some(root) = tree.get("root") {
            branch(page, root, "", ["", ""], self.all, &mut lines);
        }
        let wide = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(page.columns - 10);
        let mut text = self.head(page);
        for (name, rest) in &lines {
            let name = page.fit(name, wide);
            text += &(page.fit(format!("{name:wide$}  {rest}").trim_end(), page.columns) + "\n");
        }
        text
    }
}

impl Shown {
    fn head(&self, page: Page) -> String {
        let Some(info) = &self.info else { return String::new() };
        let text = |field: &str| info.get(field).and_then(Value::as_str).unwrap_or("?");
        let pid = info.get("pid").and_then(Value::as_u64).unwrap_or(0);
        let held = info.get("claims").and_then(Value::as_u64).unwrap_or(0);
        let head = format!("node {}   pid {pid}   store {}   {held} at work", text("node"), text("store"));
        page.fit(&head, page.columns) + "\n\n"
    }
}

/// One child and all below it.
fn branch(page: Page, child: &Value, indent: &str, own: [&str; 2], all: bool, lines: &mut Vec<(String, String)>) {
    let path = child.get("path").and_then(Value::as_str).unwrap_or("?");
    let name = path.rsplit('/').next().unwrap_or(path);
    let children = child.get("children").and_then(Value::as_array);
    let pool = children.and_then(|cells| cells.first()?.get("stats")).filter(|stats| stats.get("workers").is_some());
    let folded = pool.is_some() && !all && children.into_iter().flatten().all(|cell| state(cell) == "running");
    let cells = children.map_or(0, Vec::len);
    let name = if folded && cells > 1 { format!("{name} x{cells}") } else { name.to_owned() };
    lines.push((format!("{indent}{}{name}", own[0]), describe(child, pool)));
    if folded {
        return;
    }
    let indent = format!("{indent}{}", own[1]);
    let [more, last, through] = page.branches();
    for (at, below) in children.into_iter().flatten().enumerate() {
        let own = if at + 1 == cells { [last, "   "] } else { [more, through] };
        branch(page, below, &indent, own, all, lines);
    }
}

/// What a child is doing; of a pool how much it has, and of a supervisor the two figures that it is judged by: how it
/// restarts, and how near it is to giving up.
fn describe(child: &Value, pool: Option<&Value>) -> String {
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
    let of = |figure: &str| number(pool.and_then(|pool| pool.get(figure)));
    let full = of("waiting") + of("running") >= of("queue").max(1);
    let doing = match (state(child), pool) {
        ("running", Some(_)) if full => "BUSY".to_owned(),
        ("running", Some(_)) if of("running") > 0 => "working".to_owned(),
        ("running", Some(_)) => "idle".to_owned(),
        ("running", None) => "ok".to_owned(),
        ("backoff", _) => format!("backoff, again in {}", time::took(number(child.get("retry_in_ms")))),
        ("failed" | "zombie", _) => state(child).to_uppercase(),
        (other, _) => other.to_owned(),
    };
    let restarts = child.get("max_restarts").map(|most| {
        let window = number(child.get("period_ms")) / 1000;
        format!("{}/{} in {window}s", number(child.get("restarts")), number(Some(most)))
    });
    let restarts = restarts.unwrap_or_default();
    let what = match pool {
        Some(_) => format!("{}/{} run  {}/{} wait", of("running"), of("slots"), of("waiting"), of("queue")),
        None => child.get("strategy").or(child.get("restart")).and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    let why = child.get("last_exit").filter(|_| state(child) != "running");
    let why = why.map(|exit| exit.as_str().map_or_else(|| exit.to_string(), str::to_owned)).unwrap_or_default();
    format!("{doing:7}  {restarts:10}  {what}  {why}").trim_end().to_owned()
}

fn state(child: &Value) -> &str {
    child.get("state").and_then(Value::as_str).unwrap_or("?")
}
