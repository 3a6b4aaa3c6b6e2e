//! `callboard agent`: who is running, and how they are doing.

use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;

use super::workflow;
use crate::console::Console;
use crate::output::{Column, Done, Page, Show, answer, table, then, time};

/// The agents that are running.
#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// The pools of the running node: how much they have, and how long it takes
    Ls,
}

/// Runs a verb.
pub(crate) async fn agent(Agent::Ls: Agent, console: &Console) -> Done {
    let store = console.look().await?;
    match store.node_says("agents").await? {
        Some(Value::Array(agents)) => answer(Agents(agents)),
        _ => then(answer(Agents(Vec::new())), &nothing(console, &store).await?),
    }
}

/// What is said when nothing is running: where, and what the last run was.
pub(super) async fn nothing(console: &Console, store: &crate::store::Store) -> Result<String, crate::failure::Failure> {
    let page = console.out.page;
    let head = page.wrap(&format!("nothing is running in {}", console.place), 2);
    Ok(match workflow::last(&store.broker).await? {
        Some(run) => format!("{head}\n{}", page.field("last run", 9, &run.line())),
        None => format!("{head}\nnothing has been run yet"),
    })
}

#[derive(Serialize)]
#[serde(transparent)]
struct Agents(Vec<Value>);

impl Show for Agents {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 9] = [
            Column::new("AGENT"),
            Column::new("ALSO").flexible().spare(4),
            Column::new("CELLS").right().spare(6),
            Column::new("RUN").right(),
            Column::new("WAIT").right().spare(1),
            Column::new("DONE").right().spare(2),
            Column::new("FAILED").right(),
            Column::new("PANICS").right().spare(5),
            Column::new("P95").right().spare(3),
        ];
        if self.0.is_empty() {
            return String::new();
        }
        table(page, &COLUMNS, &self.0.iter().map(row).collect::<Vec<_>>())
    }
}

fn row(agent: &Value) -> Vec<String> {
    let number = |field: &str| agent.get(field).and_then(Value::as_u64).unwrap_or(0).to_string();
    let name = agent.get("agent").and_then(Value::as_str).unwrap_or("?").to_owned();
    let serves = agent.get("capabilities").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let serves: Vec<&str> = serves.filter(|capability| *capability != name).collect();
    let p95 = agent.get("p95_ms").and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |ms| time::took(rounded(ms)));
    vec![
        name,
        serves.join(", "),
        number("workers"),
        format!("{}/{}", number("running"), number("slots")),
        format!("{}/{}", number("waiting"), number("queue")),
        number("done"),
        number("failed"),
        number("panicked"),
        p95,
    ]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a latency in milliseconds")]
fn rounded(ms: f64) -> u64 {
    ms.max(0.0).round() as u64
}
