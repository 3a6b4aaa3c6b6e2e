//! Effects that must not be repeated, and people who are asked when nobody knows.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::broker::budget::Budget;
use callboard::broker::faulty::{self, Faults, Weather};
use callboard::broker::task::{Entry, Status};
use callboard::broker::tasks::Until;
use callboard::human::Question;
use callboard::inbox::{Asked, Inbox};
use callboard::{Context, Error, Failure, Node, json};
use tokio::sync::Semaphore;

use crate::kit::*;

on_every_wing! {
    a_done_effect_is_not_done_again,
    a_person_who_knows_the_result_gives_it,
    an_effect_that_certainly_was_not_done_is_done_again_without_asking,
    a_keyed_effect_is_repeated_with_its_first_key,
    a_retry_by_an_operator_does_not_repeat_what_was_done,
    what_a_person_gives_up_fails,
    a_question_outlives_its_node,
    no_budget_stands_in_the_way_of_the_question_about_a_doubt,
    an_effect_that_fails_for_good_leaves_one_question_whose_answer_a_retry_goes_by,
    what_is_done_or_keyed_or_certainly_not_done_leaves_no_question;
    embedded: an_effect_that_nobody_polls_holds_up_no_other,
    an_interrupted_effect_is_asked_about_and_not_repeated,
    what_was_done_while_the_store_is_busy_is_recorded,
    a_question_about_a_doubt_outlives_its_task,
    a_store_that_is_away_loses_neither_the_question_nor_the_outcome,
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

/// The first one reads what earlier generations did, which the others wait for.
async fn an_effect_that_nobody_polls_holds_up_no_other(wing: &Wing) {
    async fn two(ctx: Context, n: u32) -> callboard::Result<u32> {
        let mut left_alone = Box::pin(ctx.effect_keyed("left alone", async |_key| Ok(n)));
        let _ = tokio::time::timeout(Duration::from_millis(1), &mut left_alone).await;
        let done: u32 = ctx.effect("seen to", async || Ok(n)).await?;
        if ctx.task_id() == ctx.run_id() {
            return Err(Failure::permanent("the first generation fails"));
        }
        Ok(done + left_alone.await?)
    }
    let slow = Faults { delay: Duration::from_millis(40), ..Faults::reordering(3) };
    let node = Node::over(faulty::wrap(wing.broker(), slow)).name("n").serve(COUNT.by_fn(two)).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    run.outcome().await.unwrap_err();
    let again = node.broker().tasks.retry(run.id().parse_task()).await.unwrap();
    let ended = node.broker().tasks.wait(vec![again], Until::All, Duration::from_secs(60)).await.unwrap();
    assert_eq!(ended.first().expect("it does not stand still").status, Status::Completed);
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

/// All that people are asked, answered or not.
async fn questions(node: &Node) -> Vec<Asked> {
    let tasks = node.broker().tasks.list(callboard::broker::tasks::TaskFilter::default()).await.unwrap();
    let mut questions = Vec::new();
    for view in tasks.into_iter().filter(|view| view.task.capability.is_human()) {
        questions.push(Inbox::of(node.broker()).get(view.task.id).await.unwrap());
    }
    questions
}

async fn no_budget_stands_in_the_way_of_the_question_about_a_doubt(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let asking = SHOUT.by_fn(|ctx: Context, text: String| async move {
        let _ignored = ctx.human::<String>(Question::new(text)).await;
        Ok("asked".into())
    });
    let node = wing.node().serve(paying(&done, 1)).serve(asking).start().await.unwrap();
    let none = Budget { tasks: Some(0), depth: Some(0), ..Budget::default() };
    let run = node.submit(COUNT, 7).budget(none).await.unwrap();
    answer(&node, json!({ "was": "done", "result": 7 })).await;
    assert_eq!((run.outcome().await.unwrap(), done.load(Ordering::SeqCst)), (7, 7));
    let refused = node.submit(SHOUT, "well?".into()).budget(none).await.unwrap().outcome().await.unwrap_err();
    assert!(refused.to_string().contains("0 tasks"), "other questions are tasks of the run: {refused}");
}

/// An agent whose only attempt at a payment ends without anybody knowing what came of it.
fn failing(done: &Arc<AtomicU32>) -> callboard::Service {
    let done = done.clone();
    COUNT.by_fn(move |ctx: Context, n: u32| {
        let done = done.clone();
        async move {
            let pay = async || {
                done.fetch_add(n, Ordering::SeqCst);
                Err::<u32, _>(Failure::permanent("no answer"))
            };
            Ok(ctx.effect("pay", pay).await?)
        }
    })
}

async fn an_effect_that_fails_for_good_leaves_one_question_whose_answer_a_retry_goes_by(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let node = wing.node().serve(failing(&done)).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    run.outcome().await.unwrap_err();
    let asked = questions(&node).await;
    let question = &asked[0].question;
    assert_eq!((asked.len(), asked[0].status), (1, Status::Pending));
    assert!(question.question.contains("\"pay\" of test.count done?") && question.question.contains("is failed"));
    assert_eq!(question.context["idempotency_key"], json!(format!("{}/pay", run.id())));
    assert_eq!((&question.context["task"], &question.context["times_begun"]), (&json!(run.id()), &json!(1)));
    answer(&node, json!({ "was": "done", "result": 8 })).await;
    let tasks = &node.broker().tasks;
    let outcome = tasks.get(vec![run.id().parse_task()]).await.unwrap().remove(0).unwrap();
    assert_eq!(outcome.status, Status::Failed, "the answer changes nothing of what has ended");
    let again = tasks.retry(run.id().parse_task()).await.unwrap();
    let ended = tasks.wait(vec![again], Until::All, Duration::from_secs(60)).await.unwrap().remove(0);
    assert_eq!((ended.status, ended.output.read::<u32>().unwrap()), (Status::Completed, 8));
    assert_eq!((questions(&node).await.len(), done.load(Ordering::SeqCst)), (1, 7), "nobody was asked again");
}

/// It was put by an attempt that then ended: by the budget, by its deadline.
async fn a_question_about_a_doubt_outlives_its_task(wing: &Wing) {
    let done = Arc::new(AtomicU32::new(0));
    let node = wing.node().serve(paying(&done, 9)).start().await.unwrap();
    let minute = Budget { wall_ms: Some(60_000), ..Budget::default() };
    let run = node.submit(COUNT, 7).budget(minute).await.unwrap();
    run.outcome().await.unwrap_err();
    let run = node.submit(COUNT, 8).expires(Duration::from_secs(60)).await.unwrap();
    run.outcome().await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let asked: Vec<Status> = questions(&node).await.iter().map(|one| one.status).collect();
    assert_eq!(asked, [Status::Pending, Status::Pending]);
}

async fn what_is_done_or_keyed_or_certainly_not_done_leaves_no_question(wing: &Wing) {
    let agent = COUNT.by_fn(|ctx: Context, n: u32| async move {
        let fails = async || Err::<u32, _>(Failure::permanent("no answer"));
        match n {
            0 => ctx.effect("pay", async || Ok(1)).await?,
            1 => ctx.effect_keyed("pay", async |_| fails().await).await?,
            2 => ctx.effect("pay", async || Err::<u32, _>(Failure::permanent("refused").not_done())).await?,
            // Whoever completes has decided what to make of it.
            _ => ctx.effect("pay", fails).await.unwrap_or(2),
        };
        if n == 0 { Err(Failure::permanent("after it was paid")) } else { Ok(n) }
    });
    let node = wing.node().serve(agent).start().await.unwrap();
    for (n, status) in [(0, Status::Failed), (1, Status::Failed), (2, Status::Failed), (3, Status::Completed)] {
        let run = node.submit(COUNT, n).await.unwrap();
        assert_eq!(run.outcome().await.is_ok(), status == Status::Completed);
    }
    assert_eq!(questions(&node).await.len(), 0);
}

async fn what_was_done_while_the_store_is_busy_is_recorded(wing: &Wing) {
    let inner = wing.open("busy");
    let (broker, line) = faulty::wrap_switched(inner.clone(), Faults::reordering(7));
    let (busy, submitted, done) = (line.clone(), Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let (known, counted) = (submitted.clone(), done.clone());
    let agent = COUNT.by_fn(move |ctx: Context, n: u32| {
        let (busy, known, counted) = (busy.clone(), known.clone(), counted.clone());
        async move {
            known.acquire().await.unwrap_err();
            let pay = async || {
                busy.set(Weather::Busy);
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(n)
            };
            Ok(ctx.effect("pay", pay).await?)
        }
    });
    let node = Node::over(broker).name("n").serve(agent).start().await.unwrap();
    line.set(Weather::Fair);
    let run = node.submit(COUNT, 7).await.unwrap();
    submitted.close();
    tokio::time::sleep(Duration::from_secs(20)).await;
    line.set(Weather::Fair);
    assert_eq!(run.outcome().await.unwrap(), 7);
    let tasks = inner.tasks.list(callboard::broker::tasks::TaskFilter::default()).await.unwrap();
    assert_eq!((tasks.len(), done.load(Ordering::SeqCst)), (1, 1), "nobody was asked, nothing was repeated");
}

async fn a_store_that_is_away_loses_neither_the_question_nor_the_outcome(wing: &Wing) {
    for away in [1, 15].map(Duration::from_secs) {
        let inner = wing.open(&format!("away {}", away.as_secs()));
        let (broker, line) = faulty::wrap_switched(inner.clone(), Faults::reordering(7));
        let (cut, submitted) = (line.clone(), Arc::new(Semaphore::new(0)));
        let known = submitted.clone();
        let agent = COUNT.by_fn(move |ctx: Context, _: u32| {
            let (cut, known) = (cut.clone(), known.clone());
            async move {
                // Or the answer to the submission goes with the line.
                known.acquire().await.unwrap_err();
                let pay = async || {
                    cut.set(Weather::Cut);
                    Err::<u32, _>(Failure::permanent("no answer"))
                };
                Ok(ctx.effect("pay", pay).await?)
            }
        });
        let node = Node::over(broker).name("n").serve(agent).start().await.unwrap();
        line.set(Weather::Fair);
        let run = node.submit(COUNT, 7).await.unwrap();
        submitted.close();
        tokio::time::sleep(away).await;
        line.set(Weather::Fair);
        run.outcome().await.unwrap_err();
        let tasks = inner.tasks.list(callboard::broker::tasks::TaskFilter::default()).await.unwrap();
        assert_eq!((tasks[0].status, tasks[1].status, tasks.len()), (Status::Failed, Status::Pending, 2), "{away:?}");
    }
}

trait ParseTask {
    fn parse_task(&self) -> callboard::broker::id::TaskId;
}

impl ParseTask for str {
    fn parse_task(&self) -> callboard::broker::id::TaskId {
        callboard::broker::id::TaskId::parse(self).unwrap()
    }
}
