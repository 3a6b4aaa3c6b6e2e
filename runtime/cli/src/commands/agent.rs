//! `callboard agent`: who is running, and how they are doing.

use callboard::broker::code;
use callboard::broker::messages::{ASK_DEADLINE, Address, Message};
use callboard::broker::payload::Payload;
use callboard::broker::problem::Problem;
use callboard::broker::subject::CapabilityName;
use callboard::period::Period;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{event, pool, workflow};
use crate::console::Console;
use crate::output::{Column, Done, Page, Show, answer, table, then, time};

/// The agents that are running.
#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// The pools of the running node: how much they have, and how long it takes
    Ls,
    /// Ask whoever serves a capability, and print the answer
    Ask(Ask),
    /// Print what an agent does as it is recorded, from now on
    Tail(Tail),
}

#[derive(Args, Debug)]
pub(crate) struct Ask {
    /// The capability, or `agent:NAME` for one agent by name
    #[arg(value_name = "CAPABILITY")]
    to: String,
    /// The request: JSON, or text as it is
    #[arg(value_name = "REQUEST")]
    request: String,
    /// How long the answer may take. Default 30s
    #[arg(long, value_name = "TIME")]
    deadline: Option<Period>,
}

#[derive(Args, Debug)]
pub(crate) struct Tail {
    /// The agent's name; default: all agents
    #[arg(value_name = "AGENT")]
    agent: Option<String>,
    /// End after so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Runs a verb.
pub(crate) async fn agent(of: Agent, console: &Console) -> Done {
    match of {
        Agent::Ls => ls(console).await,
        Agent::Ask(of) => ask(of, console).await,
        Agent::Tail(of) => event::tail_of(of.agent, of.limit, console).await,
    }
}

async fn ls(console: &Console) -> Done {
    let store = console.look().await?;
    let agents: Vec<Value> = pool::agents(&store).await?.into_iter().map(|(node, agent)| on(node, agent)).collect();
    let none = if agents.is_empty() { nothing(console, &store).await? } else { String::new() };
    then(answer(Agents(agents)), &none)
}

/// The figures of an agent with the node that it is on.
fn on(node: Option<String>, mut agent: Value) -> Value {
    if let (Some(node), Some(fields)) = (node, agent.as_object_mut()) {
        fields.insert("node".into(), node.into());
    }
    agent
}

async fn ask(of: Ask, console: &Console) -> Done {
    let store = console.look().await?;
    if store.nodes().is_none() {
        let problem = Problem::new(code::MISSING_ARGUMENT, "agents are asked over a broker, and none is named");
        return Err(problem.fix("callboard --broker nats://HOST:4222 agent ask ...").into());
    }
    let (capability, to) = match of.to.strip_prefix("agent:") {
        Some(name) => (name, Address::Agent(name.into())),
        None => (of.to.as_str(), Address::Capability(named(&of.to)?)),
    };
    let served = store.served().await?;
    if matches!(to, Address::Capability(_)) && !served.iter().any(|one| one == capability) {
        let problem = Problem::new(code::UNSERVED, format!("no node serves {capability}"));
        return Err(problem.allowed_near(capability, served).fix("callboard pool ls").into());
    }
    let request = serde_json::from_str::<Value>(&of.request).unwrap_or_else(|_| Value::String(of.request.clone()));
    let limit = of.deadline.map_or(ASK_DEADLINE, Period::length);
    let message = Message {
        capability: named(capability)?,
        to,
        from: "cli".into(),
        body: Payload::of(request),
        deadline: Instant::now() + limit,
        run: None,
        hops: Vec::new(),
        traceparent: None,
    };
    let said = store.broker.messages.ask(message).await?;
    answer(Said(said.value()?))
}

fn named(capability: &str) -> Result<CapabilityName, Problem> {
    CapabilityName::parse(capability).map_err(|bad| Problem::new(code::BAD_VALUE, bad.to_string()))
}

/// An answer.
#[derive(Serialize)]
#[serde(transparent)]
struct Said(Value);

impl Show for Said {
    fn text(&self, _: Page) -> String {
        match &self.0 {
            Value::String(text) => format!("{}\n", text.trim_end()),
            other => serde_json::to_string_pretty(other).map_or_else(|_| String::new(), |json| json + "\n"),
        }
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
        const COLUMNS: [Column; 10] = [
            Column::new("AGENT"),
            Column::new("NODE"),
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
        agent.get("node").and_then(Value::as_str).unwrap_or("-").to_owned(),
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
