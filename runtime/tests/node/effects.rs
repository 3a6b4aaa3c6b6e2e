//! Effects that must not be repeated, and people who are asked when nobody knows.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::broker::task::{Entry, Status};
use callboard::human::Question;
use callboard::inbox::{Asked, Inbox};
use callboard::{Context, Error, Failure, Node, json};

use crate::kit::*;

on_both_wings! {
    a_done_effect_is_not_done_again,
    an_interrupted_effect_is_asked_about_and_not_repeated,
    a_person_who_knows_the_result_gives_it,
    an_effect_that_certainly_was_not_done_is_done_again_without_asking,
    a_keyed_effect_is_repeated_with_its_first_key,
    a_retry_by_an_operator_does_not_repeat_what_was_done,
    what_a_person_gives_up_fails,
    a_question_outlives_its_node,
}

/// Waits until somebody is asked something.
async fn asked(node: &Node) -> Asked {
    loop {
        if let Some(asked) = Inbox::of(node.broker()).open(None).await.unwrap().pop() {
            return asked;
        }
        a_moment().await;
    }
}

async fn answer(node: &Node, said: callboard::Value) {
    let question = asked(node).await;
    Inbox::of(node.broker()).answer(question.task.id, said, "ann").await.unwrap();
}

/// An agent that has one effect, and panics after it in its first attempts.
fn paying(done: &Arc<AtomicU32>, panics: u32) -> callboard::Service {
    let done = done.clone();
    COUNT.by_fn(move |ctx: Context, n: u32| {
        let done = done.clone();
        async move {
            let attempt = ctx.attempt();
            let paid = ctx.effect("pay", async || {
                done.fetch_add(n, Ordering::SeqCst);
                assert!(attempt > panics, "interrupted");
                Ok(n)
            });
            Ok(paid.await?)
        }
    })
}

async fn a_done_effect_is_not_done_again(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let count = done.clone();
    let agent = COUNT.by_fn(move |ctx: Context, n: u32| {
        let count = count.clone();
        async move {
            let paid: u32 = ctx.effect("pay", async || Ok(count.fetch_add(n, Ordering::SeqCst) + n)).await?;
            if ctx.attempt() < 3 {
                return Err(Failure::transient("after it was paid"));
            }
            Ok(paid)
        }
    });
    let node = wing.node().serve(agent).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    assert_eq!((run.outcome().await.unwrap(), done.load(Ordering::SeqCst)), (7, 7));
    let log = node.broker().tasks.log(run.id().parse_task()).await.unwrap();
    let kinds: Vec<&str> = log.iter().map(|record| record.entry.kind()).collect();
    assert_eq!(kinds, ["intent", "effect", "released", "claimed", "released", "claimed"]);
}

async fn an_interrupted_effect_is_asked_about_and_not_repeated(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let node = wing.node().serve(paying(&done, 1)).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    let question = asked(&node).await;
    assert_eq!((done.load(Ordering::SeqCst), question.queue.as_str()), (7, "default"));
    let context = &question.question.context;
    assert_eq!((&context["effect"], &context["times_begun"]), (&json!("pay"), &json!(1)));
    assert_eq!(context["task"], json!(run.id()));
    assert_eq!(context["idempotency_key"], json!(format!("{}/pay", run.id())));
    // However long nobody answers, nothing is repeated.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(done.load(Ordering::SeqCst), 7);
    answer(&node, json!({ "was": "not_done" })).await;
    assert_eq!((run.outcome().await.unwrap(), done.load(Ordering::SeqCst)), (7, 14));
}

async fn a_person_who_knows_the_result_gives_it(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let node = wing.node().serve(paying(&done, 9)).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    answer(&node, json!({ "was": "done", "result": "seven" })).await;
    a_moment().await;
    let again = asked(&node).await;
    assert_eq!(again.status, Status::Pending, "a result of another type is none: the question comes again");
    answer(&node, json!({ "was": "done", "result": 8 })).await;
    assert_eq!((run.outcome().await.unwrap(), done.load(Ordering::SeqCst)), (8, 7));
}

async fn an_effect_that_certainly_was_not_done_is_done_again_without_asking(wing: &Wing) {
    let agent = COUNT.by_fn(|ctx: Context, n: u32| async move {
        let attempt = ctx.attempt();
        let refused = async || if attempt < 3 { Err(Failure::transient("refused").not_done()) } else { Ok(n) };
        Ok(ctx.effect("pay", refused).await?)
    });
    let node = wing.node().serve(agent).start().await.unwrap();
    assert_eq!(node.submit(COUNT, 7).await.unwrap().outcome().await.unwrap(), 7);
    assert_eq!(statuses(&node).await, [Status::Completed], "nobody was asked");
}

async fn a_keyed_effect_is_repeated_with_its_first_key(wing: &Wing) {
    let keys: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = keys.clone();
    let agent = COUNT.by_fn(move |ctx: Context, n: u32| {
        let seen = seen.clone();
        async move {
            let attempt = ctx.attempt();
            let paid = ctx.effect_keyed("pay", async |key: String| {
                seen.lock().unwrap().push(key);
                assert!(attempt > 2, "interrupted");
                Ok(n)
            });
            Ok(paid.await?)
        }
    });
    let node = wing.node().serve(agent).start().await.unwrap();
    let run = node.submit(COUNT, 7).run("pay-1").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), 7);
    assert_eq!(*keys.lock().unwrap(), ["pay-1/pay"; 3]);
    let log = node.broker().tasks.log(run.id().parse_task()).await.unwrap();
    let intents = log.iter().filter(|record| matches!(record.entry, Entry::Intent { .. })).count();
    assert_eq!(intents, 1);
}

async fn a_retry_by_an_operator_does_not_repeat_what_was_done(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let count = done.clone();
    let agent = COUNT.by_fn(move |ctx: Context, n: u32| {
        let count = count.clone();
        async move {
            let paid: u32 = ctx.effect("pay", async || Ok(count.fetch_add(n, Ordering::SeqCst) + n)).await?;
            let first = ctx.task_id() == ctx.run_id();
            if first { Err(Failure::permanent("the first generation fails")) } else { Ok(paid) }
        }
    });
    let node = wing.node().serve(agent).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    run.outcome().await.unwrap_err();
    let again = node.broker().tasks.retry(run.id().parse_task()).await.unwrap();
    let ended = node.broker().tasks.wait(vec![again], callboard::broker::tasks::Until::All, Duration::from_secs(60));
    assert_eq!((ended.await.unwrap()[0].status, done.load(Ordering::SeqCst)), (Status::Completed, 7));
}

async fn what_a_person_gives_up_fails(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let node = wing.node().serve(paying(&done, 9)).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    answer(&node, json!({ "was": "give_up", "why": "the bank is closed" })).await;
    let failed = run.outcome().await.unwrap_err();
    assert!(
        matches!(&failed, Error::Failed { failure, .. } if failure.message.contains("the bank is closed")),
        "{failed}"
    );
}

/// The question is stored, and so is the answer that comes while nobody runs.
async fn a_question_outlives_its_node(wing: &Wing) {
    let broker = wing.broker();
    let agent = || {
        COUNT.by_fn(|ctx: Context, n: u32| async move {
            let more: u32 = ctx.human(Question::new("how many more?")).await?;
            Ok(n + more)
        })
    };
    let node = Node::over(broker.clone()).name("a").serve(agent()).start().await.unwrap();
    let run = node.submit(COUNT, 1).await.unwrap();
    let question = asked(&node).await;
    drop(node);
    let inbox = Inbox::of(&broker);
    inbox.answer(question.task.id.clone(), json!(41), "ann").await.unwrap();
    let second = inbox.answer(question.task.id, json!(0), "bob").await;
    assert!(matches!(second, Err(Error::Conflict { .. })), "{second:?}");
    let _node = Node::over(broker).name("b").serve(agent()).start().await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), 42);
}

trait ParseTask {
    fn parse_task(&self) -> callboard::broker::id::TaskId;
}

impl ParseTask for str {
    fn parse_task(&self) -> callboard::broker::id::TaskId {
        callboard::broker::id::TaskId::parse(self).unwrap()
    }
}
