//! Durable work: tried again, declined, cancelled.

use std::time::Duration;

use callboard::broker::task::Status;
use callboard::diag::{ECHO, Echo, echo};
use callboard::{Agent, Context, Error, Node, Result, TaskInfo};
use tokio::time::Instant;

use crate::kit::*;

on_both_wings! {
    a_task_is_tried_again_with_growing_waits_and_then_given_up,
    a_task_that_all_decline_is_failed,
    cancelling_a_run_reaches_its_whole_tree,
}

async fn a_task_is_tried_again_with_growing_waits_and_then_given_up(wing: &Wing) {
    let node = wing.node().serve(echo()).start().await.unwrap();
    let began = Instant::now();
    let run = node.submit(ECHO, Echo { fail_times: 2, ..echoing("third time") }).await.unwrap();
    assert_eq!(run.outcome().await.unwrap().attempt, 3);
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    let run = node.submit(ECHO, Echo { fail_times: 9, ..echoing("never") }).await.unwrap();
    assert!(matches!(run.outcome().await, Err(Error::Failed { .. })));
    assert_eq!(dead(&node).await.len(), 1, "what failed too often is a dead letter");
}

async fn a_task_that_all_decline_is_failed(wing: &Wing) {
    struct Picky;
    impl Agent<String, String> for Picky {
        async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
            Ok(text)
        }
        fn can_handle(&self, _task: &TaskInfo) -> bool {
            false
        }
    }
    let broker = wing.broker();
    let alone = Node::over(broker.clone()).serve(SHOUT.by(Picky).named("picky")).start().await.unwrap();
    let Err(Error::Failed { failure, .. }) = alone.submit(SHOUT, "x".into()).await.unwrap().outcome().await else {
        panic!("a declined task cannot succeed")
    };
    assert!(failure.message.contains("no agent available for task"), "{}", failure.message);
    alone.shutdown().await.unwrap();
    let both =
        Node::over(broker).serve(SHOUT.by(Picky).named("picky")).serve(SHOUT.by_fn(shout)).start().await.unwrap();
    assert_eq!(both.submit(SHOUT, "y".into()).await.unwrap().outcome().await.unwrap(), "Y");
}

async fn cancelling_a_run_reaches_its_whole_tree(wing: &Wing) {
    async fn parent(ctx: Context, _: u32) -> Result<u32> {
        ctx.delegate_all(WAIT, [3_600_000, 3_600_001]).await?;
        Ok(0)
    }
    let node = wing.node().serve(COUNT.by_fn(parent)).serve(WAIT.by_fn(wait).concurrency(2)).start().await.unwrap();
    let run = node.submit(COUNT, 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(node.metrics().running, 3);
    let began = Instant::now();
    run.cancel("changed my mind").await.unwrap();
    assert!(matches!(run.outcome().await, Err(Error::Cancelled { .. })));
    while node.metrics().running > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    let tasks = node.broker().tasks.list(Default::default()).await.unwrap();
    assert!(tasks.iter().all(|task| task.status == Status::Cancelled), "{tasks:?}");
}
