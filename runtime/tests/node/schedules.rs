//! A node submits what is due, without being asked and while it does other things; and what another process adds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::broker::task::Status;
use callboard::broker::tasks::TaskFilter;
use callboard::schedule::{Schedule, Schedules, When};
use callboard::workflow::{WORKFLOW, WorkflowDoc};
use callboard::{Context, Service, json};
use tokio::time::Instant;

use crate::kit::*;

const HOUR: Duration = Duration::from_secs(3600);

on_every_wing! {
    a_node_submits_each_tick_at_its_time,
    a_schedule_that_is_changed_is_heeded_at_once,
    what_came_due_while_no_node_ran_is_made_up_for,
    what_is_submitted_has_the_budget_of_its_document_and_of_the_node,
}

type Times = Arc<Mutex<Vec<u64>>>;

/// Notes when it is asked, in seconds after it was made.
fn noting() -> (Service, Times) {
    let (times, begun) = (Times::default(), Instant::now());
    let noted = times.clone();
    let service = COUNT.by_fn(move |_ctx: Context, n: u32| {
        noted.lock().unwrap().push(begun.elapsed().as_secs());
        async move { Ok(n) }
    });
    (service, times)
}

async fn a_node_submits_each_tick_at_its_time(wing: &Wing) {
    let (service, times) = noting();
    let node = wing.node().serve(service).start().await.unwrap();
    let schedules = node.schedules();
    schedules.add(Schedule::new("hourly", COUNT, 1, When::every(HOUR))).await.unwrap();
    let later = node.broker().clock.now() + 90 * 60_000;
    schedules.add(Schedule::new("once", COUNT, 2, When::At(later))).await.unwrap();
    tokio::time::sleep(3 * HOUR + HOUR / 2).await;
    assert_eq!(*times.lock().unwrap(), [3600, 5400, 7200, 10_800]);
    assert_eq!(statuses(&node).await, [Status::Completed; 4]);
    assert_eq!(schedules.list().await.unwrap().len(), 1);
    node.shutdown().await.unwrap();
}

async fn a_schedule_that_is_changed_is_heeded_at_once(wing: &Wing) {
    let (service, times) = noting();
    let node = wing.node().serve(service).start().await.unwrap();
    a_moment().await;
    // Another process does it by the same broker.
    let ann = Schedules::of(node.broker(), "ann");
    ann.add(Schedule::new("soon", COUNT, 1, When::every(Duration::from_secs(10)))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(times.lock().unwrap().len(), 2);
    ann.pause("soon").await.unwrap();
    tokio::time::sleep(HOUR).await;
    assert_eq!(times.lock().unwrap().len(), 2);
    ann.resume("soon").await.unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(times.lock().unwrap().len(), 3);
    assert!(ann.remove("soon").await.unwrap());
    tokio::time::sleep(HOUR).await;
    assert_eq!(times.lock().unwrap().len(), 3);
}

async fn what_came_due_while_no_node_ran_is_made_up_for(wing: &Wing) {
    let broker = wing.broker();
    let added = Schedules::of(&broker, "ann").add(Schedule::new("hourly", COUNT, 7, When::every(HOUR))).await;
    added.unwrap();
    tokio::time::sleep(5 * HOUR + HOUR / 2).await;
    let (service, times) = noting();
    let node = callboard::Node::over(broker).name("n").serve(service).start().await.unwrap();
    a_moment().await;
    assert_eq!(times.lock().unwrap().len(), 1, "one stands for all that were missed");
    let stands = node.schedules().list().await.unwrap().remove(0);
    assert_eq!((stands.fired, stands.skipped, stands.input), (1, 4, json!(7).into()));
}

async fn what_is_submitted_has_the_budget_of_its_document_and_of_the_node(wing: &Wing) {
    let (service, _times) = noting();
    let node = wing.node().budget("tasks=9,steps=20".parse().unwrap()).serve(service).start().await.unwrap();
    let task = json!([{ "id": "a", "capability": "test.count", "input": 1 }]);
    let doc: WorkflowDoc =
        serde_json::from_value(json!({ "name": "w", "budget": { "tasks": 3 }, "task": task })).unwrap();
    let schedules = node.schedules();
    schedules.add(Schedule::new("flow", WORKFLOW, doc, When::every(HOUR))).await.unwrap();
    schedules.add(Schedule::new("count", COUNT, 1, When::every(HOUR))).await.unwrap();
    tokio::time::sleep(HOUR + HOUR / 2).await;
    let mut found = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    found.retain(|view| view.task.parent.is_none());
    found.sort_by(|a, b| a.task.id.as_str().cmp(b.task.id.as_str()));
    let budgets: Vec<_> = found.iter().map(|view| (view.task.budget.tasks, view.task.budget.steps)).collect();
    assert_eq!(budgets, [(Some(9), Some(20)), (Some(3), Some(20))]);
}
