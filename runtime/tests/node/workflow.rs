//! Workflows end to end: order, failure, restart, and tasks that are only described.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::budget::Budget;
use callboard::broker::events::EventFilter;
use callboard::broker::id::TaskId;
use callboard::broker::task::Status;
use callboard::broker::tasks::TaskFilter;
use callboard::diag::{ECHO, Echo, Echoed, echo};
use callboard::door::{Desk, Order};
use callboard::workflow::{WORKFLOW, WorkflowDoc};
use callboard::{Capability, Error, Node, Value, Workflow, json, payload};
use tokio::time::Instant;

use crate::kit::*;

#[payload]
struct Described {
    description: String,
}

const FREE: Capability<Described, String> = Capability::new("any.work");

fn document(text: &str) -> WorkflowDoc {
    WorkflowDoc::from_toml("test.toml", text, None).unwrap()
}

async fn statuses(node: &Node) -> Vec<(String, Status)> {
    let tasks = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    tasks.into_iter().filter_map(|view| Some((view.task.key?, view.status))).collect()
}

on_every_wing! {
    when_a_task_fails_its_dependents_are_skipped_and_other_branches_finish,
    a_task_that_is_only_described_goes_to_the_first_that_takes_it_and_the_choice_is_recorded,
    a_result_is_where_the_other_agents_of_the_run_find_it,
    a_graph_that_cannot_run_is_refused_with_all_that_is_wrong,
    a_task_that_may_be_skipped_leaves_null_in_its_fields_too,
    a_document_that_is_submitted_has_the_budget_that_it_declares,
    at_a_door_a_document_can_only_have_less;
    embedded: a_task_starts_when_its_own_dependencies_end_and_not_in_waves,
    a_workflow_goes_on_on_another_node_and_repeats_nothing,
}

async fn a_task_starts_when_its_own_dependencies_end_and_not_in_waves(wing: &Wing) {
    let node = wing.node().serve(echo().concurrency(8)).start().await.unwrap();
    let doc = document(
        r#"
        name = "diamond"
        [[task]]
        id = "slow"
        capability = "diag.echo"
        input = { text = "slow", delay_ms = 1000 }
        [[task]]
        id = "quick"
        capability = "diag.echo"
        input = { text = "quick", delay_ms = 100 }
        [[task]]
        id = "after_quick"
        capability = "diag.echo"
        depends_on = ["quick"]
        input = { text = "{{quick.text}} and more", delay_ms = 800 }
        [[task]]
        id = "end"
        capability = "diag.echo"
        input = { text = "{{slow.text}}, {{after_quick.text}}" }
        "#,
    );
    let began = Instant::now();
    let result = node.submit(WORKFLOW, doc).await.unwrap().outcome().await.unwrap();
    assert_eq!(result["text"], "slow, quick and more");
    assert!(began.elapsed() < Duration::from_millis(1_200), "waves would take 1,800 ms: {:?}", began.elapsed());
}

async fn when_a_task_fails_its_dependents_are_skipped_and_other_branches_finish(wing: &Wing) {
    let node = wing.node().serve(echo().concurrency(8)).start().await.unwrap();
    let doc = document(
        r#"
        name = "broken"
        [[task]]
        id = "bad"
        capability = "diag.echo"
        input = { text = "x", fail_times = 9 }
        retry = { attempts = 2, base = "10ms" }
        [[task]]
        id = "behind"
        capability = "diag.echo"
        depends_on = ["bad"]
        input = { text = "never" }
        [[task]]
        id = "beside"
        capability = "diag.echo"
        input = { text = "fine", delay_ms = 5000 }
        "#,
    );
    let run = node.submit(WORKFLOW, doc).await.unwrap();
    let Err(Error::Failed { failure, .. }) = run.outcome().await else { panic!("the run has failed") };
    assert!(failure.message.contains("1 of 3 tasks failed: bad"), "{}", failure.message);
    let mut statuses = statuses(&node).await;
    statuses.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [("bad", Status::Failed), ("behind", Status::Skipped), ("beside", Status::Completed)];
    assert_eq!(statuses, expected.map(|(id, status)| (id.to_owned(), status)));
}

async fn a_workflow_goes_on_on_another_node_and_repeats_nothing(wing: &Wing) {
    let ran = Arc::new(AtomicU32::new(0));
    let service = || {
        let ran = ran.clone();
        ECHO.by_fn(move |_ctx, echo: Echo| {
            ran.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(echo.delay_ms)).await;
                Ok(Echoed { text: echo.text, attempt: 1 })
            }
        })
    };
    let broker = wing.broker();
    let first = Node::over(broker.clone()).name("first").serve(service()).start().await.unwrap();
    let mut flow = Workflow::new("chain");
    let echo = |text: Value, delay_ms: u64| json!({ "text": text, "delay_ms": delay_ms });
    let one = flow.task_json("one", ECHO, echo(json!("a"), 10));
    let two = flow.task_json("two", ECHO, echo(json!("{{one.text}}b"), 60_000)).after(&one);
    let three = flow.task_json("three", ECHO, json!({ "text": "{{two.text}}c" }));
    let flow = flow.output(three);
    let _ = two;
    let run = first.run(flow).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(first);
    let second = Node::over(broker).name("second").serve(service()).start().await.unwrap();
    assert_eq!(run.outcome().await.unwrap().text, "{{one.text}}bc".replace("{{one.text}}", "a"));
    assert_eq!(ran.load(Ordering::SeqCst), 4, "one, two twice because it was at work, three");
    second.shutdown().await.unwrap();
}

async fn a_task_that_is_only_described_goes_to_the_first_that_takes_it_and_the_choice_is_recorded(wing: &Wing) {
    let free = FREE.by_fn(|_ctx, work: Described| async move { Ok(format!("did: {}", work.description)) });
    let node = wing.node().serve(echo()).serve(free).start().await.unwrap();
    let doc = document("name = \"free\"\n[[task]]\nid = \"it\"\ndescription = \"count the otters\"\n");
    let result = node.submit(WORKFLOW, doc).await.unwrap().outcome().await.unwrap();
    assert_eq!(result, json!("did: count the otters"));
    let filter = EventFilter { types: vec!["task.routed".into()], run: None };
    let routed = node.broker().events.read(filter, 1, 10).await.unwrap();
    assert_eq!(routed[0].payload.value().unwrap()["capability"], "any.work");
}

async fn a_result_is_where_the_other_agents_of_the_run_find_it(wing: &Wing) {
    let node = wing.node().serve(echo()).start().await.unwrap();
    let doc = document("name = \"w\"\n[[task]]\nid = \"it\"\ncapability = \"diag.echo\"\ninput = { text = \"x\" }\n");
    let run = node.submit(WORKFLOW, doc).run("w-1").await.unwrap();
    run.outcome().await.unwrap();
    let entries = node.broker().states.list("run.w-1".into()).await.unwrap();
    assert_eq!(entries[0].key.as_str(), "run.w-1.it_result");
    assert_eq!(entries[0].value.value().unwrap()["text"], "x");
}

async fn a_graph_that_cannot_run_is_refused_with_all_that_is_wrong(wing: &Wing) {
    let node = wing.node().serve(echo()).start().await.unwrap();
    let mut flow = Workflow::new("loop");
    let a = flow.task_json("a", ECHO, json!({ "text": "{{b.text}}" }));
    let _b = flow.task_json("b", ECHO, json!({ "text": "{{a.text}}" }));
    assert!(matches!(node.run(flow.output(a)).await, Err(Error::Config(_))));
    let doc: WorkflowDoc =
        serde_json::from_value(json!({ "name": "w", "task": [{ "id": "a", "capability": "no.such", "input": {} }] }))
            .unwrap();
    let outcome = node.submit(WORKFLOW, doc).await.unwrap().outcome().await;
    let Err(Error::Failed { failure, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(failure.message.contains("no.such"), "{}", failure.message);
}

async fn a_task_that_may_be_skipped_leaves_null_in_its_fields_too(wing: &Wing) {
    let node = wing.node().serve(echo()).start().await.unwrap();
    let doc = document(
        r#"
        name = "optional"
        output = ["{{maybe}}", "{{end.text}}"]
        [[task]]
        id = "maybe"
        capability = "diag.echo"
        input = { text = "x", fail_times = 9 }
        retry = { attempts = 1 }
        on_failure = "skip"
        [[task]]
        id = "end"
        capability = "diag.echo"
        input = { text = "without {{maybe.text}}" }
        "#,
    );
    let result = node.submit(WORKFLOW, doc).await.unwrap().outcome().await.unwrap();
    assert_eq!(result, json!([null, "without "]));
}

/// The budget of a root.
async fn budget(node: &Node, run: &str) -> Budget {
    let root = TaskId::parse(run).unwrap();
    node.broker().tasks.get(vec![root]).await.unwrap().remove(0).unwrap().task.budget
}

fn tight() -> WorkflowDoc {
    document(
        r#"
        name = "tight"
        budget = { tasks = 1, steps = 500, depth = 9000 }
        [[task]]
        id = "a"
        capability = "diag.echo"
        input = { text = "x" }
        [[task]]
        id = "b"
        capability = "diag.echo"
        input = { text = "{{a.text}}" }
        "#,
    )
}

async fn a_document_that_is_submitted_has_the_budget_that_it_declares(wing: &Wing) {
    let node = wing.node().budget("tasks=9,tokens=7".parse().unwrap()).serve(echo()).start().await.unwrap();
    let run = node.submit(WORKFLOW, tight()).await.unwrap();
    let declared = budget(&node, run.id()).await;
    assert_eq!((declared.tasks, declared.steps, declared.tokens), (Some(1), Some(500), Some(7)));
    let error = run.outcome().await.unwrap_err();
    assert!(error.to_string().contains("1 tasks"), "{error}");
    let run = node.submit(WORKFLOW, tight()).budget(Budget { tasks: Some(2), ..Budget::default() }).await.unwrap();
    assert_eq!(budget(&node, run.id()).await, Budget { tasks: Some(2), ..declared }, "its caller may set more");
    assert_eq!(run.outcome().await.unwrap()["text"], "x");
}

async fn at_a_door_a_document_can_only_have_less(wing: &Wing) {
    let node = wing.node().budget("tasks=9,steps=20".parse().unwrap()).serve(echo()).start().await.unwrap();
    let desk = Desk::of(&node, &[WORKFLOW.id()]).unwrap();
    let body = serde_json::to_value(tight()).unwrap();
    let limit = Duration::from_secs(600);
    let order = Order { capability: WORKFLOW.id(), body, described: "x".into(), limit };
    let _visit = desk.begin(order).await.unwrap();
    let found = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    let root = found.into_iter().find(|view| view.task.parent.is_none()).unwrap().task;
    let Budget { tasks, steps, depth, .. } = root.budget;
    assert_eq!((tasks, steps, depth), (Some(1), Some(20), Some(callboard::broker::budget::DEFAULT_DEPTH)));
}
