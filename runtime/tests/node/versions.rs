//! Versions of agents: what one has begun, another goes on with only by its rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::Broker;
use callboard::broker::code;
use callboard::broker::id::TaskId;
use callboard::broker::task::{Entry, Status};
use callboard::{Capability, Class, Context, Node, Service, json};

use crate::kit::*;

on_every_wing! {
    a_new_version_that_migrates_and_asks_for_something_else_is_named,
    nodes_say_which_versions_they_serve;
    embedded: a_rolling_upgrade_leaves_what_the_old_version_began_to_it,
    a_new_version_that_migrates_goes_on_with_the_log,
    what_the_old_version_began_fails_when_nobody_brings_it_back,
    without_a_version_nothing_changes,
}

const ORDER: Capability<String, String> = Capability::new("shop.order");

/// How often each step was done.
#[derive(Clone, Default)]
struct Done(Arc<AtomicU32>);

/// Reserves, waits for the parcel, charges. What is asked of `WAIT` may differ between versions.
fn order(done: &Done, parcel_ms: u64) -> Service {
    let done = done.clone();
    ORDER.by_fn(move |ctx: Context, what: String| {
        let done = done.clone();
        async move {
            let reserved: String = ctx
                .step("reserve", async || {
                    done.0.fetch_add(1, Ordering::Relaxed);
                    Ok(format!("{what} reserved"))
                })
                .await?;
            ctx.delegate(WAIT, parcel_ms).key("parcel").await?;
            Ok(reserved)
        }
    })
}

async fn node(broker: &Broker, name: &str, order: Service) -> Node {
    Node::over(broker.clone()).name(name).serve(order).serve(WAIT.by_fn(wait)).start().await.unwrap()
}

/// The versions that claimed the task of a run, in order.
async fn claims(broker: &Broker, run: &str) -> Vec<String> {
    let log = broker.tasks.log(TaskId::parse(run).unwrap()).await.unwrap();
    let version = |entry| if let Entry::Claimed { version, .. } = entry { version } else { None };
    log.into_iter().filter_map(|record| version(record.entry)).map(|version| version.to_string()).collect()
}

/// A node of version 1 begins an order and is drained.
async fn begun_by_the_old(broker: &Broker, done: &Done) -> String {
    let old = node(broker, "old", order(done, 60_000).version("1")).await;
    let run = old.submit(ORDER, "hat".into()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    old.shutdown().await.unwrap();
    assert_eq!(done.0.load(Ordering::Relaxed), 1);
    run.id().to_owned()
}

async fn a_rolling_upgrade_leaves_what_the_old_version_began_to_it(wing: &Wing) {
    let (broker, done) = (wing.broker(), Done::default());
    let run = begun_by_the_old(&broker, &done).await;
    let new = node(&broker, "new", order(&done, 60_000).version("2")).await;
    let other = new.submit(ORDER, "coat".into()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(other.outcome().await.unwrap(), "coat reserved", "the new version does what is new");
    let view = broker.tasks.get(vec![TaskId::parse(&run).unwrap()]).await.unwrap().remove(0).unwrap();
    assert_eq!(view.status, Status::Pending, "the other waits");
    let old = node(&broker, "old", order(&done, 60_000).version("1")).await;
    let reply = old.attach(ORDER, &run).unwrap().reply().await.unwrap();
    assert_eq!((reply.value.as_str(), reply.attempt), ("hat reserved", 1));
    assert_eq!(done.0.load(Ordering::Relaxed), 2, "each was reserved once");
    let mut versions = claims(&broker, &run).await;
    versions.dedup();
    assert_eq!(versions, ["1"]);
    old.shutdown().await.unwrap();
    new.shutdown().await.unwrap();
}

async fn a_new_version_that_migrates_goes_on_with_the_log(wing: &Wing) {
    let (broker, done) = (wing.broker(), Done::default());
    let run = begun_by_the_old(&broker, &done).await;
    let new = node(&broker, "new", order(&done, 60_000).version("2").migrates()).await;
    let reply = new.attach(ORDER, &run).unwrap().reply().await.unwrap();
    assert_eq!((reply.value.as_str(), reply.attempt, done.0.load(Ordering::Relaxed)), ("hat reserved", 1, 1));
    let mut versions = claims(&broker, &run).await;
    versions.dedup();
    assert_eq!(versions, ["1", "2"]);
    new.shutdown().await.unwrap();
}

async fn a_new_version_that_migrates_and_asks_for_something_else_is_named(wing: &Wing) {
    let (broker, done) = (wing.broker(), Done::default());
    let run = begun_by_the_old(&broker, &done).await;
    let new = node(&broker, "new", order(&done, 50_000).version("2").migrates()).await;
    let error = new.attach(ORDER, &run).unwrap().outcome().await.unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Permanent, code::DIVERGED));
    assert!(error.to_string().contains("parcel"), "{error}");
    new.shutdown().await.unwrap();
}

async fn what_the_old_version_began_fails_when_nobody_brings_it_back(wing: &Wing) {
    let (broker, done) = (wing.broker(), Done::default());
    let run = begun_by_the_old(&broker, &done).await;
    let new = node(&broker, "new", order(&done, 60_000).version("2").version_wait(Duration::from_secs(600))).await;
    let began = tokio::time::Instant::now();
    let error = new.attach(ORDER, &run).unwrap().outcome().await.unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Permanent, code::VERSION));
    let waited = began.elapsed();
    assert!((Duration::from_secs(600)..Duration::from_secs(700)).contains(&waited), "{waited:?}");
    assert_eq!(done.0.load(Ordering::Relaxed), 1);
    new.shutdown().await.unwrap();
}

async fn without_a_version_nothing_changes(wing: &Wing) {
    let (broker, done) = (wing.broker(), Done::default());
    let first = node(&broker, "first", order(&done, 60_000)).await;
    let run = first.submit(ORDER, "hat".into()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.shutdown().await.unwrap();
    // Also when versions are declared for the first time.
    let second = node(&broker, "second", order(&done, 60_000).version("1")).await;
    assert_eq!(run.outcome().await.unwrap(), "hat reserved");
    assert_eq!(done.0.load(Ordering::Relaxed), 1);
    second.shutdown().await.unwrap();
}

async fn nodes_say_which_versions_they_serve(wing: &Wing) {
    let done = Done::default();
    let one = node(&wing.broker(), "one", order(&done, 1).version("2026.11").migrates()).await;
    let info = one.control("info", json!(null)).await.unwrap();
    assert_eq!(info["versions"], json!({ "shop.order": ["2026.11"] }), "{info}");
    let agents = one.control("agents", json!(null)).await.unwrap();
    let versions: Vec<_> = agents.as_array().unwrap().iter().map(|agent| agent["version"].clone()).collect();
    assert!(versions.contains(&json!("2026.11")) && versions.contains(&json!(null)), "{versions:?}");
    one.shutdown().await.unwrap();
    let refused = Node::embedded().serve(order(&done, 1).version("1 or 2")).start().await.unwrap_err();
    assert!(refused.to_string().contains("\"1 or 2\" is not a version"), "{refused}");
}
