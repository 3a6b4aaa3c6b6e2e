//! A workflow in Rust: a graph of tasks as data, whose types the compiler checks. It outlives the process that runs it.
//!
//! `cargo run --quiet -p callboard-examples --example workflow`. What you will see:
//!
//! ```text
//! facts       demo.facts
//! |- draft    demo.draft
//! `- title    demo.title
//!    `- page  demo.page  also after draft
//!
//! # OTTERS
//! Otters hold hands. Otters use tools.
//! facts    demo.facts  completed
//! draft    demo.draft  completed
//! title    demo.title  completed
//! page     demo.page  completed
//! ```

use callboard::broker::tasks::TaskFilter;
use callboard::workflow::{Drawing, capabilities, draw};
use callboard::{Capability, Context, Node, Result, Workflow, json, payload};

#[payload]
struct Parts {
    title: String,
    body: String,
}

const FACTS: Capability<String, Vec<String>> = Capability::new("demo.facts");
const DRAFT: Capability<Vec<String>, String> = Capability::new("demo.draft");
const TITLE: Capability<Vec<String>, String> = Capability::new("demo.title");
const PAGE: Capability<Parts, String> = Capability::new("demo.page");

async fn facts(_ctx: Context, animal: String) -> Result<Vec<String>> {
    Ok(vec![format!("{animal} hold hands."), format!("{animal} use tools.")])
}

async fn draft(_ctx: Context, facts: Vec<String>) -> Result<String> {
    Ok(facts.join(" "))
}

async fn title(_ctx: Context, facts: Vec<String>) -> Result<String> {
    Ok(facts.iter().flat_map(|fact| fact.split(' ')).next().unwrap_or_default().to_uppercase())
}

async fn page(_ctx: Context, parts: Parts) -> Result<String> {
    Ok(format!("# {}\n{}", parts.title, parts.body))
}

#[tokio::main]
async fn main() -> Result<()> {
    let node = Node::embedded()
        .serve(FACTS.by_fn(facts))
        .serve(DRAFT.by_fn(draft))
        .serve(TITLE.by_fn(title))
        .serve(PAGE.by_fn(page))
        .start()
        .await?;

    let mut flow = Workflow::new("page");
    let facts = flow.task("facts", FACTS, "Otters".to_owned()).retry(3);
    // A handle stands for the output of its task: whole, where the types fit, or as a part of JSON.
    let draft = flow.task("draft", DRAFT, &facts);
    let title = flow.task("title", TITLE, &facts);
    let page = flow.task_json("page", PAGE, json!({ "title": title, "body": draft }));
    let doc = flow.document();
    println!("{}", draw(&doc, &doc.check(None)?, Drawing::Ascii, &capabilities(&doc)));

    let run = node.run(flow.output(page)).await?;
    println!("{}", run.outcome().await?);

    // Each of them was a durable task, and the workflow is the task that delegated them.
    for task in node.broker().tasks.list(TaskFilter::default()).await? {
        if let Some(id) = task.task.key {
            println!("{id:8} {}  {}", task.task.capability, task.status);
        }
    }
    node.shutdown().await?;
    Ok(())
}
