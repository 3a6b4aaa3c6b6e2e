//! Tools under a real node: grants, the log, the audit, breakers, people, and the replay of it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use callboard::broker::events::EventFilter;
use callboard::inbox::Inbox;
use callboard::llm::Models;
use callboard::replay::Replay;
use callboard::testing::Script;
use callboard::tool::{FnTool, Output, ToolCtx, Toolbox};
use callboard::{Capability, Context, Failure, Node, Result, Service, json};

use crate::kit::*;

const CLERK: Capability<String, String> = Capability::new("test.clerk");
const OTHER: Capability<String, String> = Capability::new("test.other");

on_every_wing! {
    a_model_works_with_what_its_agent_was_granted_and_a_replay_calls_nothing,
    a_tool_that_fails_all_the_time_is_given_a_rest,
    a_write_after_a_read_waits_for_a_person,
    what_an_agent_knew_goes_with_what_it_hands_on_and_asks,
}

/// Works with its model and all tools that it has.
async fn clerk(ctx: Context, asked: String) -> Result<String> {
    let Some(model) = ctx.model("clerk") else { return Err(Failure::permanent("no model")) };
    Ok(model.with_tools(ctx.tools()).run(asked).await?.response.text)
}

fn service() -> Service {
    CLERK.by_fn(clerk).tools(["docs.*"])
}

/// `docs.read`, `docs.write` and `shop.pay`, and how often each was called.
fn toolbox() -> (Toolbox, Arc<[AtomicU32; 3]>) {
    let counts = Arc::new([AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)]);
    let counted = |at: usize| {
        let counts = counts.clone();
        move |_: ToolCtx, of: String| {
            counts[at].fetch_add(1, Ordering::SeqCst);
            std::future::ready(match of.as_str() {
                "broken" => Err(Failure::transient("the disk is gone")),
                _ => Ok(Output::text(format!("{of}!"))),
            })
        }
    };
    let toolbox = Toolbox::new().with(FnTool::reads("docs.read", "", counted(0))).unwrap();
    let toolbox = toolbox.with(FnTool::writes("docs.write", "", counted(1))).unwrap();
    (toolbox.with(FnTool::writes("shop.pay", "", counted(2))).unwrap(), counts)
}

fn read(counts: &[AtomicU32; 3]) -> [u32; 3] {
    [0, 1, 2].map(|at| counts[at].load(Ordering::SeqCst))
}

fn models(script: &Script) -> Models {
    Models::none().role("clerk", Arc::new(script.clone()))
}

async fn kinds(node: &Node, group: &str) -> Vec<String> {
    let events = node.broker().events.read(EventFilter::default(), 0, 1_000).await.unwrap();
    events.into_iter().map(|event| event.kind).filter(|kind| kind.starts_with(group)).collect()
}

async fn a_model_works_with_what_its_agent_was_granted_and_a_replay_calls_nothing(wing: &Wing) {
    let (toolbox, counts) = toolbox();
    let script = Script::new().call("docs_read", json!("a")).call("shop_pay", json!("all")).reply("done");
    let node = wing.node().serve(service()).tools(toolbox.clone()).models(models(&script)).start().await.unwrap();
    let run = node.submit(CLERK, "go".into()).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "done");
    assert_eq!(read(&counts), [1, 0, 0]);
    assert_eq!(kinds(&node, "tool.").await, ["tool.called", "tool.refused"]);
    let replay = Replay::of(node.broker()).serve(service()).tools(toolbox).models(models(&script));
    let report = replay.run(run.id()).await.unwrap();
    assert!(report.is_identical(), "{:?}", report.first());
    assert_eq!((read(&counts), script.asked().len()), ([1, 0, 0], 3));
}

async fn a_tool_that_fails_all_the_time_is_given_a_rest(wing: &Wing) {
    let (toolbox, counts) = toolbox();
    let reads = OTHER.by_fn(|ctx: Context, of: String| async move {
        let said = ctx.tools().call("docs.read", of).await?;
        Ok(said.text)
    });
    let node = wing.node().serve(reads.tools(["*"])).tools(toolbox).start().await.unwrap();
    for _ in 0..7 {
        node.ask(OTHER, "broken".into()).await.unwrap_err();
    }
    assert_eq!(read(&counts), [5, 0, 0], "after five it is left alone");
    let refused = node.ask(OTHER, "well".into()).await.unwrap_err();
    assert!(refused.to_string().contains("circuit of tool.docs.read is open"), "{refused}");
    assert_eq!(kinds(&node, "breaker.").await, ["breaker.opened"]);
}

async fn a_write_after_a_read_waits_for_a_person(wing: &Wing) {
    let (toolbox, counts) = toolbox();
    let script = Script::new().call("docs_read", json!("a")).call("docs_write", json!("b")).reply("written");
    let node = wing.node().serve(service()).tools(toolbox).models(models(&script)).start().await.unwrap();
    let run = node.submit(CLERK, "go".into()).await.unwrap();
    let question = loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if let Some(question) = Inbox::of(node.broker()).open(None).await.unwrap().pop() {
            break question;
        }
    };
    assert_eq!(read(&counts), [1, 0, 0]);
    let context = &question.question.context;
    assert_eq!((&context["tool"], &context["arguments"]), (&json!("docs.write"), &json!("b")), "{context}");
    Inbox::of(node.broker()).answer(question.task.id.clone(), json!("approve"), "ann").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "written");
    assert_eq!(read(&counts), [1, 1, 0]);
}

/// What was read is handed on as a task, and asked on from there: the last one knows where it may come from.
async fn what_an_agent_knew_goes_with_what_it_hands_on_and_asks(wing: &Wing) {
    const READS: Capability<String, Vec<String>> = Capability::new("test.reads");
    const HANDED: Capability<String, Vec<String>> = Capability::new("test.handed");
    const LAST: Capability<String, Vec<String>> = Capability::new("test.last");
    let reads = READS.by_fn(|ctx: Context, of: String| async move {
        let read = ctx.tools().call("docs.read", of).await?;
        Ok(ctx.delegate(HANDED, read.text).await?)
    });
    let handed = HANDED.by_fn(|ctx: Context, text: String| async move { Ok(ctx.ask(LAST, text).await?) });
    let last = LAST.by_fn(|ctx: Context, _: String| async move { Ok(ctx.origins()) });
    let node = wing.node().serve(reads.tools(["docs.*"])).serve(handed).serve(last).tools(toolbox().0);
    let node = node.start().await.unwrap();
    let origins = node.submit(READS, "a".into()).await.unwrap().outcome().await.unwrap();
    assert_eq!(origins, ["agent test.handed", "agent test.reads", "tool docs.read"]);
    assert_eq!(node.ask(LAST, "a".into()).await.unwrap(), [""; 0], "a client is no agent");
}
