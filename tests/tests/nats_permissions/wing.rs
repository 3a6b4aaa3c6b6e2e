//! The wing itself under the roles: a node, a client, an observer and an operator get done what they are there for.

use std::time::Duration;

use callboard_broker::Broker;
use callboard_broker::error::Error;
use callboard_broker::events::EventFilter;
use callboard_broker::id::{NodeName, RunId};
use callboard_broker::nats::{self, Layout, Missing, Options, provision, purge};
use callboard_broker::state::{Expect, Key, Put, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status, Task};
use callboard_broker::tasks::{Claim, Finish, Lease, Recorded, Submitted, Until};
use callboard_tests::nats::Server;
use serde_json::json;

use super::{link, options, server};

const WAIT: Duration = Duration::from_secs(60);

/// Fails at the call that does not come back.
#[track_caller]
fn soon<T>(call: impl Future<Output = T>) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move { tokio::time::timeout(WAIT, call).await.unwrap_or_else(|_| panic!("no answer at {at}")) }
}

async fn provisioned() -> Server {
    let server = server();
    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    server
}

async fn broker(server: &Server, user: &str) -> Broker {
    let works = user.len() == 1;
    nats::open(Options { works, missing: Missing::Refuse, ..options(server, user) }).await.unwrap()
}

fn task(run: &str, capability: &str, broker: &Broker) -> Task {
    let capability = CapabilityName::parse(capability).unwrap();
    Task::root(RunId::parse(run).unwrap(), capability, json!({"text": run}).into(), broker.clock.now())
}

fn claim(capability: &str) -> Claim {
    let (capability, node) = (CapabilityName::parse(capability).unwrap(), NodeName::parse("a").unwrap());
    Claim { capability, slots: 1, bulk: 1, node, wait: WAIT, declined: Vec::new(), serving: None }
}

async fn finish(broker: &Broker, lease: &Lease) -> Recorded {
    let outcome = Outcome {
        output: json!({"text": "done"}).into(),
        attempt: lease.attempt,
        ..Outcome::of(&lease.task, Status::Completed, None, broker.clock.now())
    };
    let turn = Finish { fence: lease.fence.clone(), entries: Vec::new(), outcome, dead: None };
    broker.tasks.finish(vec![turn]).await.remove(0).unwrap()
}

#[tokio::test]
async fn a_client_submits_and_waits_and_a_node_does_the_work() {
    let server = provisioned().await;
    let (node, client) = (broker(&server, "a").await, broker(&server, "client").await);
    let events = client.events.read(EventFilter::default(), 0, 10).await.unwrap();
    assert!(events.is_empty(), "{events:?}");

    let waiting = node.tasks.claim(claim("diag.echo"));
    let submitting = async {
        let one = task("one", "diag.echo", &client);
        assert_eq!(client.tasks.submit(vec![one.clone()]).await.remove(0).unwrap(), Submitted::New);
        one.id
    };
    let (leases, one) = tokio::join!(waiting, submitting);
    let leases = leases.unwrap();
    let (done, outcomes) =
        tokio::join!(finish(&node, &leases[0]), client.tasks.wait(vec![one.clone()], Until::All, WAIT));
    assert_eq!((done, outcomes.unwrap()[0].status), (Recorded::New, Status::Completed));
    // The server derives facts a moment after the records, and the client waits only for those of its own.
    let told = async { while client.events.read(EventFilter::default(), 0, 10).await.unwrap().len() < 3 {} };
    tokio::time::timeout(WAIT, told).await.expect("created, started, completed");

    let two = task("two", "diag.echo", &client);
    client.tasks.submit(vec![two.clone()]).await.remove(0).unwrap();
    assert_eq!(client.tasks.cancel(two.id.clone(), "client".into()).await.unwrap(), [two.id]);
}

/// It said that its credentials were not accepted, and the other one that no broker answers there.
#[tokio::test]
async fn a_node_without_streams_or_under_another_name_hears_what_helps() {
    let server = server();
    let early = soon(nats::connect(options(&server, "a"))).await.map(drop).unwrap_err();
    let told = early.to_string();
    assert!(matches!(early, Error::Unavailable { .. }), "{told}");
    assert!(told.contains("streams are missing, CB_TASKS first: callboard provision"), "{told}");

    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    for works in [true, false] {
        let missing = if works { Missing::Provision } else { Missing::Refuse };
        let other = Options { node: NodeName::parse("z").unwrap(), works, missing, ..options(&server, "a") };
        let deaf = soon(nats::connect(other)).await.map(drop).unwrap_err();
        assert!(matches!(deaf, Error::Denied { .. }) && deaf.to_string().contains("under the name z"), "{deaf}");
    }
    soon(nats::connect(options(&server, "a"))).await.unwrap();
}

#[tokio::test]
async fn what_a_node_may_not_pull_is_denied_at_once() {
    let server = provisioned().await;
    let node = broker(&server, "a").await;
    let claimed = soon(node.tasks.claim(Claim { wait: Duration::from_secs(60), ..claim("not.mine") })).await;
    assert!(matches!(claimed, Err(Error::Denied { .. })), "{claimed:?}");
}

#[tokio::test]
async fn state_is_written_by_nodes_and_operators_and_read_by_all() {
    let server = provisioned().await;
    let write = |value: i32| Write {
        key: Key::parse("global.k").unwrap(),
        expect: Expect::Any,
        value: Some(json!(value).into()),
        by: "writer".into(),
        task: None,
    };
    let observer = broker(&server, "observer").await;
    for (user, may) in [("a", true), ("operator", true), ("client", false), ("observer", false)] {
        let put = broker(&server, user).await;
        let put = soon(put.states.put(vec![write(1)])).await.remove(0);
        match put {
            Ok(Put::Applied(_)) if may => {}
            Err(Error::Denied { .. }) if !may => {}
            other => panic!("{user}: {other:?}"),
        }
    }
    let history = soon(observer.states.history(Key::parse("global.k").unwrap())).await.unwrap();
    assert_eq!(history.len(), 2, "{history:?}");
    assert!(soon(observer.dead.list(0, 10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_operator_removes_a_run_and_nobody_else_may() {
    let server = provisioned().await;
    let (node, client) = (broker(&server, "a").await, broker(&server, "client").await);
    let one = task("over", "diag.echo", &client);
    client.tasks.submit(vec![one.clone()]).await.remove(0).unwrap();
    let lease = soon(node.tasks.claim(claim("diag.echo"))).await.unwrap().remove(0);
    finish(&node, &lease).await;
    // Also where a node may write down that a run is to go, nothing goes by its word.
    for user in ["a", "client", "observer", "deploy"] {
        let refused = soon(purge::purge(&link(&server, user).await, &one.run)).await;
        assert!(matches!(refused, Err(Error::Denied { .. })), "{user}: {refused:?}");
    }
    let other = soon(purge::purge(&link(&server, "operator").await, &RunId::parse("other").unwrap())).await;
    assert!(matches!(other, Err(Error::NotFound { .. })), "{other:?}");
    assert!(client.tasks.get(vec![one.id.clone()]).await.unwrap().remove(0).is_some(), "it is there");
    let purged = soon(purge::purge(&link(&server, "operator").await, &one.run)).await.unwrap();
    assert!(purged.records >= 3, "{purged:?}");
    assert!(client.tasks.get(vec![one.id]).await.unwrap().remove(0).is_none(), "it is gone");
}
