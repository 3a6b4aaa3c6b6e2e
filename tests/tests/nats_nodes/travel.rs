//! Runs of one node that another one replays and forks: on a real server, with results that stand in pieces.

use std::sync::{Arc, Mutex};

use callboard::broker::id::TaskId;
use callboard::fork::Fork;
use callboard::replay::Replay;
use callboard::{Capability, Context, Error, Node, Service};
use callboard_broker::tasks::TaskView;
use callboard_tests::nats::Server;

const TALK: Capability<String, String> = Capability::new("travel.talk");
const COUNT: Capability<Vec<u32>, u32> = Capability::new("travel.count");

/// What was really done, in order.
type Done = Arc<Mutex<Vec<&'static str>>>;

fn take(done: &Done) -> Vec<&'static str> {
    std::mem::take(&mut done.lock().unwrap())
}

/// A step with a large result, a child with a large input, an effect, a step.
fn agents(done: &Done, last: &'static str) -> [Service; 2] {
    let (ours, theirs) = (done.clone(), done.clone());
    let talk = TALK.by_fn(move |ctx: Context, text: String| {
        let done = ours.clone();
        async move {
            let note = |what| done.lock().unwrap().push(what);
            let all: Vec<u32> = ctx
                .step("plan", async || {
                    Ok({
                        note("plan");
                        (0..20_000).collect()
                    })
                })
                .await?;
            let count = ctx.delegate(COUNT, all).await?;
            let paid: String = ctx
                .effect("pay", async || {
                    Ok({
                        note("pay");
                        "paid".to_owned()
                    })
                })
                .await?;
            let last: String = ctx
                .step(last, async || {
                    Ok({
                        note("last");
                        "last".to_owned()
                    })
                })
                .await?;
            Ok(format!("{text} {count} {paid} {last}"))
        }
    });
    let count = COUNT.by_fn(move |_ctx: Context, all: Vec<u32>| {
        theirs.lock().unwrap().push("child");
        async move { Ok(all.len() as u32) }
    });
    [talk, count]
}

async fn node(server: &Server, name: &str, done: &Done) -> Node {
    agents(done, "end")
        .into_iter()
        .fold(Node::on(server.url()).name(name), |node, one| node.serve(one))
        .start()
        .await
        .unwrap()
}

async fn ended(node: &Node, fork: &TaskView) -> Result<String, Error> {
    node.attach(TALK, fork.task.run.as_str()).unwrap().outcome().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_replayed_and_forked_by_a_node_that_did_not_do_it() {
    let (server, done) = (Server::start(), Done::default());
    let one = node(&server, "one", &done).await;
    let run = one.submit(TALK, "a".into()).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "a 20000 paid last");
    assert_eq!(take(&done), ["plan", "child", "pay", "last"]);
    let original = TaskId::parse(run.id()).unwrap();
    one.shutdown().await.unwrap();

    let two = node(&server, "two", &done).await;
    let replay = |last| agents(&done, last).into_iter().fold(Replay::of(two.broker()), Replay::serve);
    let report = replay("end").run(run.id()).await.unwrap();
    assert!(report.is_identical(), "{report:?}");
    assert_eq!((report.tasks.len(), report.records()), (2, 4));
    let report = replay("renamed").run(run.id()).await.unwrap();
    let first = report.first().unwrap();
    assert_eq!((first.sequence, first.key.as_str()), (5, "end"), "{first:?}");
    assert_eq!(take(&done), ["child", "child"], "handlers run, and no step and no effect");

    let log = two.broker().tasks.log(original.clone()).await.unwrap();
    // plan, delegated, intent, effect, end; at the third the effect had begun and not ended.
    let rest: [(u64, &[&str]); 5] = [
        (0, &["plan", "child", "pay", "last"]),
        (1, &["child", "pay", "last"]),
        (2, &["pay", "last"]),
        (4, &["last"]),
        (5, &[]),
    ];
    for (from, rest) in rest {
        let fork = Fork::of(two.broker(), original.clone()).from(from).set(".", "b").submit().await.unwrap();
        assert_eq!(ended(&two, &fork).await.unwrap(), "b 20000 paid last", "from {from}");
        assert_eq!(take(&done), rest, "from {from}");
        let report = replay("end").run(fork.task.run.as_str()).await.unwrap();
        assert!(report.is_identical(), "from {from}: {report:?}");
        assert_eq!(take(&done).iter().filter(|what| **what != "child").count(), 0);
    }
    assert_eq!(two.broker().tasks.log(original).await.unwrap(), log, "the original is as it was");
    two.shutdown().await.unwrap();
}
