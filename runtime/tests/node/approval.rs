//! Delegations that people approve, edit or reject first, on a node: parked meanwhile, on record, checked where the
//! answer comes in; and what silence means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::id::TaskId;
use callboard::broker::task::{Entry, Record, Status};
use callboard::broker::tasks::{Recorded, TaskFilter};
use callboard::human::{Approval, Decision};
use callboard::inbox::Inbox;
use callboard::workflow::{ApprovalDoc, Silence, WORKFLOW, WorkflowDoc};
use callboard::{Capability, Context, Error, Node, Result, Service, Workflow, json, payload};

use crate::kit::*;

/// A part, and the parts of it.
#[payload]
struct Part {
    name: String,
    #[serde(default)]
    of: Vec<Part>,
}

const BUILD: Capability<Part, String> = Capability::new("test.build");
const ORDER: Capability<String, String> = Capability::new("test.order");
const HOUR: Duration = Duration::from_secs(3600);

on_every_wing! {
    an_answer_that_is_no_decision_or_does_not_fit_is_refused_where_it_comes_in,
    of_two_decisions_the_first_holds_and_only_those_who_may_decide,
    what_is_rejected_stands_as_skipped_with_the_reason,
    a_workflow_of_which_a_task_is_rejected_has_failed;
    embedded: who_waits_for_approval_is_parked_and_what_was_edited_is_done_and_on_record,
    silence_means_what_was_declared,
    a_workflow_declares_it_for_each_task,
}

fn build() -> Service {
    BUILD.by_fn(|_ctx: Context, part: Part| async move { Ok(format!("{} of {}", part.name, part.of.len())) })
}

/// An agent that has a part built once it was approved as the test says; how often its handler ran is counted.
fn order(runs: &Arc<AtomicU32>, approval: Approval) -> Service {
    let runs = runs.clone();
    ORDER.by_fn(move |ctx: Context, name: String| {
        let (runs, approval) = (runs.clone(), approval.clone());
        async move {
            runs.fetch_add(1, Ordering::SeqCst);
            let built: Result<_, Error> = ctx.delegate(BUILD, Part { name, of: vec![] }).approved_by(approval).await;
            Ok(built?)
        }
    })
}

async fn started(wing: &Wing, approval: Approval) -> (Node, Arc<AtomicU32>) {
    let runs = Arc::default();
    (wing.node().serve(order(&runs, approval)).serve(build()).start().await.unwrap(), runs)
}

/// Waits until finance is asked something.
async fn asked(node: &Node) -> TaskId {
    let (inbox, mut asked) = (Inbox::of(node.broker()), None);
    until("finance is asked", async || {
        asked = inbox.open(Some("finance")).await.unwrap().pop();
        asked.is_some()
    })
    .await;
    asked.expect("it is there").task.id
}

async fn who_waits_for_approval_is_parked_and_what_was_edited_is_done_and_on_record(wing: &Wing) {
    let (node, runs) = started(wing, "finance".into()).await;
    let run = node.submit(ORDER, "lamp".into()).await.unwrap();
    let question = asked(&node).await;
    let id = TaskId::parse(run.id()).unwrap();
    until("it is parked", async || {
        node.broker().tasks.get(vec![id.clone()]).await.unwrap()[0].as_ref().unwrap().parked
    })
    .await;
    tokio::time::sleep(10 * HOUR).await;
    let edited = json!({ "edit": { "name": "candle", "of": [{ "name": "wick" }] } });
    Inbox::of(node.broker()).answer(question.clone(), edited, "ann").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "candle of 1");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    let log = node.broker().tasks.log(id).await.unwrap();
    let delegated = |record: Record| match record.entry {
        Entry::Delegated { child, capability, .. } => Some((child, capability.to_string())),
        _ => None,
    };
    let children: Vec<_> = log.into_iter().filter_map(delegated).collect();
    assert_eq!(children.iter().map(|(_, to)| to.as_str()).collect::<Vec<_>>(), ["human.finance", "test.build"]);
    assert_eq!(children[0].0, question);
    let built = node.broker().tasks.get(vec![children[1].0.clone()]).await.unwrap().remove(0).unwrap();
    assert_eq!(built.task.input.value().unwrap()["name"], "candle");
}

async fn an_answer_that_is_no_decision_or_does_not_fit_is_refused_where_it_comes_in(wing: &Wing) {
    let (node, _) = started(wing, "finance".into()).await;
    let run = node.submit(ORDER, "lamp".into()).await.unwrap();
    let (question, inbox) = (asked(&node).await, Inbox::of(node.broker()));
    let nested = json!({ "edit": { "name": "x", "of": [{ "of": [] }] } });
    // Without the feature `schema` an input that does not fit is asked for again.
    let checked = CHECKS_SCHEMAS;
    for poor in [json!("maybe"), json!({ "edit": { "name": 7 } }), json!({ "reject": 1 }), nested]
        .into_iter()
        .filter(|_| checked)
    {
        let refused = inbox.answer(question.clone(), poor.clone(), "ann").await.unwrap_err();
        assert!(matches!(refused, Error::Decode { .. }), "{poor}: {refused}");
    }
    inbox.answer(question, json!("approve"), "ann").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "lamp of 0");
}

async fn of_two_decisions_the_first_holds_and_only_those_who_may_decide(wing: &Wing) {
    let (node, _) = started(wing, Approval::of("finance").who(["ann", "bob"])).await;
    let run = node.submit(ORDER, "lamp".into()).await.unwrap();
    let (question, inbox) = (asked(&node).await, Inbox::of(node.broker()));
    let stranger = inbox.answer(question.clone(), json!("approve"), "eve").await.unwrap_err();
    assert!(matches!(stranger, Error::Denied { .. }), "{stranger}");
    assert_eq!(inbox.answer(question.clone(), json!("approve"), "ann").await.unwrap(), Recorded::New);
    assert_eq!(inbox.answer(question.clone(), json!("approve"), "ann").await.unwrap(), Recorded::Already);
    let second = inbox.answer(question, json!({ "reject": "no" }), "bob").await.unwrap_err();
    assert!(matches!(second, Error::Conflict { .. }), "{second}");
    assert_eq!(run.outcome().await.unwrap(), "lamp of 0");
}

async fn what_is_rejected_stands_as_skipped_with_the_reason(wing: &Wing) {
    let (node, _) = started(wing, "finance".into()).await;
    let run = node.submit(ORDER, "lamp".into()).await.unwrap();
    let question = asked(&node).await;
    Inbox::of(node.broker()).answer(question, json!({ "reject": "too dear" }), "ann").await.unwrap();
    let failure = run.outcome().await.unwrap_err();
    assert!(failure.to_string().contains("rejected by ann: too dear"), "{failure}");
    let tasks = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    let built = tasks.iter().find(|view| view.task.capability.as_str() == "test.build").unwrap();
    assert_eq!(built.status, Status::Skipped);
    assert_eq!(built.outcome.as_ref().unwrap().error.as_ref().unwrap().message, "rejected by ann: too dear");
    let tries = node.broker().tasks.get(vec![TaskId::parse(run.id()).unwrap()]).await.unwrap()[0].clone().unwrap();
    assert_eq!((tries.status, tries.attempt), (Status::Failed, 1), "a no is not asked for again");
}

async fn silence_means_what_was_declared(wing: &Wing) {
    let finance = || Approval::of("finance").within(HOUR);
    for (approval, comes) in [
        (finance(), Err("not approved: nobody answered within 3600 s")),
        (finance().or(&Decision::Approve), Ok("lamp of 0")),
        (finance().or(&Decision::Reject("late".into())), Err("rejected by default: late")),
    ] {
        let (node, _) = started(wing, approval).await;
        let outcome = node.submit(ORDER, "lamp".into()).await.unwrap().outcome().await;
        match comes {
            Ok(value) => assert_eq!(outcome.unwrap(), value),
            Err(why) => assert!(outcome.unwrap_err().to_string().contains(why)),
        }
        node.shutdown().await.unwrap();
    }
    let (node, _) = started(wing, finance().or_escalate("boss")).await;
    let run = node.submit(ORDER, "lamp".into()).await.unwrap();
    tokio::time::sleep(HOUR + Duration::from_secs(60)).await;
    let inbox = Inbox::of(node.broker());
    assert!(inbox.open(Some("finance")).await.unwrap().is_empty());
    let boss = inbox.open(Some("boss")).await.unwrap().remove(0);
    inbox.answer(boss.task.id, json!("approve"), "zoe").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "lamp of 0");
}

async fn a_workflow_of_which_a_task_is_rejected_has_failed(wing: &Wing) {
    let text = r#"
        name = "w"
        [[task]]
        id = "pay"
        capability = "test.build"
        input = { name = "lamp" }
        approval = { queue = "finance" }
        [[task]]
        id = "report"
        capability = "test.build"
        input = { name = "{{pay}}" }
    "#;
    let node = wing.node().serve(build()).start().await.unwrap();
    let run = node.submit(WORKFLOW, WorkflowDoc::from_toml("w.toml", text, None).unwrap()).await.unwrap();
    let question = asked(&node).await;
    Inbox::of(node.broker()).answer(question, json!({ "reject": "too dear" }), "ann").await.unwrap();
    let error = run.outcome().await.unwrap_err().to_string();
    assert!(error.contains("1 of 2 tasks failed: pay (rejected by ann: too dear)"), "{error}");
}

async fn a_workflow_declares_it_for_each_task(wing: &Wing) {
    let text = r#"
        name = "w"
        [[task]]
        id = "a"
        capability = "test.build"
        input = { name = "lamp" }
        approval = { queue = "finance", who = ["ann"] }
        [[task]]
        id = "b"
        capability = "test.build"
        input = { name = "{{a}}" }
        approval = { queue = "finance", within = "1h", on_timeout = "reject" }
        on_failure = "skip"
        [[task]]
        id = "c"
        capability = "test.build"
        input = { name = "{{a}}" }
        depends_on = ["b"]
        approval = { queue = "finance", within = "1h", on_timeout = "approve" }
    "#;
    let doc = WorkflowDoc::from_toml("w.toml", text, None).unwrap();
    let hour = |on_timeout| ApprovalDoc {
        queue: Some("finance".into()),
        within: Some(HOUR.into()),
        on_timeout: Some(on_timeout),
        ..ApprovalDoc::default()
    };
    let mut flow = Workflow::new("w");
    let ann = ApprovalDoc { queue: Some("finance".into()), who: vec!["ann".into()], ..ApprovalDoc::default() };
    let a = flow.task_json("a", BUILD, json!({ "name": "lamp" })).approved_by(ann);
    let b = flow.task_json("b", BUILD, json!({ "name": a })).approved_by(hour(Silence::Reject)).or_skip();
    let _c = flow.task_json("c", BUILD, json!({ "name": a })).after(&b).approved_by(hour(Silence::Approve));
    assert_eq!(flow.document(), doc);
    let node = wing.node().serve(build()).start().await.unwrap();
    let run = node.submit(WORKFLOW, doc).await.unwrap();
    let (question, inbox) = (asked(&node).await, Inbox::of(node.broker()));
    if CHECKS_SCHEMAS {
        let poor = inbox.answer(question.clone(), json!({ "edit": { "name": 1 } }), "ann").await.unwrap_err();
        assert!(matches!(poor, Error::Decode { .. }), "what is served says what fits: {poor}");
    }
    inbox.answer(question, json!({ "edit": { "name": "candle" } }), "ann").await.unwrap();
    let reply = run.reply().await.unwrap();
    assert_eq!(reply.value, json!("candle of 0 of 0"));
    let how = reply.degraded.unwrap();
    assert!(how.contains("nobody answered within 3600 s") && how.contains("without b"), "{how}");
}
