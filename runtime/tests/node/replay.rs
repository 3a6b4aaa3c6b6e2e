//! Runs that ended, run again against their logs: the handlers run, and nothing else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::id::TaskId;
use callboard::broker::task::Record;
use callboard::broker::tasks::TaskFilter;
use callboard::replay::{Divergence, Replay, Verdict};
use callboard::workflow::{WORKFLOW, WorkflowDoc};
use callboard::{Context, Failure, Node, Service, StateKey};

use crate::kit::*;

on_every_wing! {
    a_run_replays_identical_and_does_nothing,
    ten_thousand_records_replay_identical,
    a_renamed_step_is_named,
    a_changed_prompt_is_named,
    a_changed_input_of_a_child_is_named,
    another_result_is_named,
    a_step_that_is_gone_is_named,
    what_failed_fails_again,
    a_race_between_children_ends_as_it_did,
    a_hedge_replays_whether_or_not_it_asked_a_second_time,
    state_is_what_it_was,
    a_workflow_replays,
    what_is_in_no_log_is_said,
    a_cancelled_run_replays_as_far_as_it_goes,
}

/// How often handlers, steps and effects were begun.
#[derive(Default)]
struct Counts {
    handlers: AtomicU32,
    steps: AtomicU32,
    effects: AtomicU32,
}

impl Counts {
    fn read(&self) -> [u32; 3] {
        [&self.handlers, &self.steps, &self.effects].map(|count| count.load(Ordering::SeqCst))
    }
}

/// Two steps, an effect, two children.
fn agent(counts: &Arc<Counts>, second: &'static str, prompt: &'static str, says: &'static str) -> Service {
    let counts = counts.clone();
    SHOUT.by_fn(move |ctx: Context, text: String| {
        let counts = counts.clone();
        async move {
            counts.handlers.fetch_add(1, Ordering::SeqCst);
            let step = async |value: u32| {
                counts.steps.fetch_add(1, Ordering::SeqCst);
                Ok(value)
            };
            let one: u32 = ctx.step("one", async || step(1).await).await?;
            let two: u32 = ctx.step_from(second, prompt, async || step(2).await).await?;
            let paid: u32 = ctx
                .effect("pay", async || {
                    counts.effects.fetch_add(1, Ordering::SeqCst);
                    Ok(3)
                })
                .await?;
            let child = ctx.delegate(COUNT, one + two + paid).await?;
            Ok(format!("{says} {text} {child}"))
        }
    })
}

fn counting(counts: &Arc<Counts>) -> Service {
    let counts = counts.clone();
    COUNT.by_fn(move |_ctx: Context, n: u32| {
        counts.handlers.fetch_add(1, Ordering::SeqCst);
        async move { Ok(n + 1) }
    })
}

/// All that a store holds, to see that nothing was written.
async fn everything(node: &Node) -> (Vec<String>, Vec<Vec<Record>>, usize, usize) {
    let broker = node.broker();
    let views = broker.tasks.list(TaskFilter::default()).await.unwrap();
    let mut logs = Vec::new();
    for view in &views {
        logs.push(broker.tasks.log(view.task.id.clone()).await.unwrap());
    }
    let events = broker.events.read(Default::default(), 0, 1_000).await.unwrap().len();
    let entries = broker.states.list(String::new()).await.unwrap().len();
    (views.iter().map(|view| format!("{view:?}")).collect(), logs, events, entries)
}

/// A run of the first agent, and what the second one makes of its log.
async fn differing(wing: &Wing, second: &'static str, prompt: &'static str, says: &'static str) -> Divergence {
    let counts = Arc::new(Counts::default());
    let first = agent(&counts, "two", "how many?", "hello");
    let node = wing.node().serve(first).serve(counting(&counts)).start().await.unwrap();
    let run = node.submit(SHOUT, "ann".into()).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "hello ann 7");
    let before = counts.read();
    let changed = agent(&counts, second, prompt, says);
    let replay = Replay::of(node.broker()).serve(changed).serve(counting(&counts));
    let report = replay.run(run.id()).await.unwrap();
    assert!(!report.is_identical());
    assert_eq!(counts.read()[1..], before[1..], "no step and no effect is done");
    report.first().unwrap().clone()
}

async fn a_run_replays_identical_and_does_nothing(wing: &Wing) {
    let counts = Arc::new(Counts::default());
    let served = || [agent(&counts, "two", "how many?", "hello"), counting(&counts)];
    let node = served().into_iter().fold(wing.node(), callboard::NodeBuilder::serve).start().await.unwrap();
    let run = node.submit(SHOUT, "ann".into()).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "hello ann 7");
    let (before, stored) = (counts.read(), everything(&node).await);
    assert_eq!(before, [2, 2, 1]);
    let report = served().into_iter().fold(Replay::of(node.broker()), Replay::serve).run(run.id()).await.unwrap();
    assert!(report.is_identical(), "{report:?}");
    assert_eq!((report.tasks.len(), report.records()), (2, 4));
    assert_eq!(counts.read(), [4, 2, 1], "both handlers ran again, and nothing else");
    assert_eq!(everything(&node).await, stored, "nothing was written");
}

/// A hundred tasks of a hundred steps below one that delegates them: 10,100 records.
async fn ten_thousand_records_replay_identical(wing: &Wing) {
    let handlers = Arc::new(AtomicU32::new(0));
    let served = |handlers: &Arc<AtomicU32>| {
        let (here, there) = (handlers.clone(), handlers.clone());
        let lead = SHOUT.by_fn(move |ctx: Context, _: String| {
            here.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut sum = 0;
                for n in 0..100 {
                    sum += ctx.delegate(COUNT, n).await?;
                }
                Ok(sum.to_string())
            }
        });
        let worker = COUNT.by_fn(move |ctx: Context, n: u32| {
            there.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut sum = 0;
                for step in 0..100 {
                    sum += ctx.step(format!("{step}"), async || Ok(n + step)).await?;
                }
                Ok(sum)
            }
        });
        [lead, worker]
    };
    let node = served(&handlers).into_iter().fold(wing.node(), callboard::NodeBuilder::serve).start().await.unwrap();
    let run = node.submit(SHOUT, String::new()).await.unwrap();
    run.outcome().await.unwrap();
    let again = Arc::new(AtomicU32::new(0));
    let replay = served(&again).into_iter().fold(Replay::of(node.broker()), Replay::serve);
    let report = replay.run(run.id()).await.unwrap();
    assert!(report.is_identical(), "{:?}", report.first());
    assert_eq!((report.records(), again.load(Ordering::SeqCst)), (10_100, 101));
}

async fn a_renamed_step_is_named(wing: &Wing) {
    let found = differing(wing, "deux", "how many?", "hello").await;
    assert_eq!((found.sequence, found.kind.as_str(), found.key.as_str()), (2, "step", "two"));
    assert_eq!((found.recorded.as_str(), found.asked.as_str()), ("step two: 2", "step deux"));
}

async fn a_changed_prompt_is_named(wing: &Wing) {
    let found = differing(wing, "two", "how many, please?", "hello").await;
    assert_eq!((found.sequence, found.kind.as_str(), found.key.as_str()), (2, "step", "two"));
    assert!(found.asked.starts_with("step two from input ") && found.asked != found.recorded, "{found:?}");
}

async fn another_result_is_named(wing: &Wing) {
    let found = differing(wing, "two", "how many?", "good morning").await;
    assert_eq!((found.sequence, found.kind.as_str(), found.key.as_str()), (6, "completed", ""));
    assert_eq!((found.recorded.as_str(), found.asked.as_str()), ("\"hello ann 7\"", "\"good morning ann 7\""));
}

async fn a_changed_input_of_a_child_is_named(wing: &Wing) {
    let asking = |n: u32| {
        SHOUT.by_fn(
            move |ctx: Context, _: String| async move { Ok(ctx.delegate(COUNT, n).key("more").await?.to_string()) },
        )
    };
    let counts = Arc::default();
    let node = wing.node().serve(asking(1)).serve(counting(&counts)).start().await.unwrap();
    let run = node.submit(SHOUT, String::new()).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "2");
    let report = Replay::of(node.broker()).serve(asking(5)).serve(counting(&counts)).run(run.id()).await.unwrap();
    let found = report.first().unwrap();
    assert_eq!((found.sequence, found.kind.as_str(), found.key.as_str()), (1, "delegated", "more"));
}

async fn a_step_that_is_gone_is_named(wing: &Wing) {
    let agent = |steps: &'static [&'static str]| {
        SHOUT.by_fn(move |ctx: Context, _: String| async move {
            for step in steps {
                let _: String = ctx.step(*step, async || Ok((*step).to_owned())).await?;
            }
            Ok("done".into())
        })
    };
    let node = wing.node().serve(agent(&["a", "b", "c"])).start().await.unwrap();
    let run = node.submit(SHOUT, String::new()).await.unwrap();
    run.outcome().await.unwrap();
    let report = Replay::of(node.broker()).serve(agent(&["a", "c"])).run(run.id()).await.unwrap();
    let found = report.first().unwrap();
    assert_eq!((found.sequence, found.key.as_str()), (2, "b"));
}

async fn what_failed_fails_again(wing: &Wing) {
    let agent = |why: &'static str| {
        COUNT.by_fn(move |ctx: Context, n: u32| async move {
            let _: u32 = ctx.step("look", async || Ok(n)).await?;
            if ctx.attempt() < 3 { Err(Failure::transient("not yet")) } else { Err(Failure::permanent(why)) }
        })
    };
    let node = wing.node().serve(agent("no such thing")).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    run.outcome().await.unwrap_err();
    let replay = |why| Replay::of(node.broker()).serve(agent(why));
    let report = replay("no such thing").run(run.id()).await.unwrap();
    assert!(report.is_identical(), "{report:?}");
    let report = replay("nothing like it").run(run.id()).await.unwrap();
    assert_eq!(report.first().unwrap().kind, "failed");
}

async fn a_race_between_children_ends_as_it_did(wing: &Wing) {
    let agent = || {
        SHOUT.by_fn(|ctx: Context, _: String| async move {
            let (slow, quick) = (ctx.delegate(WAIT, 10_000), ctx.delegate(WAIT, 20));
            let first = tokio::select! {
                first = std::future::IntoFuture::into_future(slow) => first?,
                first = std::future::IntoFuture::into_future(quick) => first?,
            };
            Ok(first.to_string())
        })
    };
    let node = wing.node().serve(agent()).serve(WAIT.by_fn(wait).concurrency(2)).start().await.unwrap();
    for _ in 0..4 {
        let run = node.submit(SHOUT, String::new()).await.unwrap();
        assert_eq!(run.outcome().await.unwrap(), "20");
        a_moment().await;
        let root = TaskId::parse(run.id()).unwrap();
        let report = Replay::of(node.broker()).serve(agent()).task(&root).await.unwrap();
        assert!(report.is_identical(), "{report:?}");
    }
}

/// That a hedge had no need of its second child is in no log: it is seen from what is not there.
async fn a_hedge_replays_whether_or_not_it_asked_a_second_time(wing: &Wing) {
    let agent = || {
        SHOUT.by_fn(|ctx: Context, times: String| async move {
            let (ms, hedge) = times.split_once(' ').expect("two times");
            let number = |text: &str| text.parse().map_err(|_| Failure::permanent("no number"));
            let waited = ctx.delegate(WAIT, number(ms)?).hedge(Duration::from_millis(number(hedge)?)).await?;
            let last: u64 = ctx.step("last", async || Ok(waited + 1)).await?;
            Ok(last.to_string())
        })
    };
    let waiting = || WAIT.by_fn(wait).concurrency(2);
    let node = wing.node().serve(agent()).serve(waiting()).start().await.unwrap();
    // Wide apart, so that a slow machine changes nothing: a child of 20 ms is not late, one of 5 s is.
    for (ms, hedge, children) in [(20, 60_000, 1), (5_000, 100, 2)] {
        let run = node.submit(SHOUT, format!("{ms} {hedge}")).await.unwrap();
        run.outcome().await.unwrap();
        a_moment().await;
        let root = TaskId::parse(run.id()).unwrap();
        let log = node.broker().tasks.log(root.clone()).await.unwrap();
        let delegated = log.iter().filter(|record| record.entry.kind() == "delegated").count();
        assert_eq!(delegated, children, "{ms} ms: {log:?}");
        let report = Replay::of(node.broker()).serve(agent()).task(&root).await.unwrap();
        assert!(report.is_identical(), "{ms} ms: {report:?}");
        assert_eq!(report.records(), log.len() as u64, "{ms} ms");
    }
}

async fn state_is_what_it_was(wing: &Wing) {
    const TOTAL: StateKey<u32> = StateKey::run("total");
    let agent = || {
        COUNT.by_fn(|ctx: Context, n: u32| async move {
            let total = ctx.state(TOTAL).update(|total| *total += n).await?;
            Ok(total.value)
        })
    };
    let lead = || {
        SHOUT.by_fn(|ctx: Context, _: String| async move {
            let first = ctx.delegate(COUNT, 3).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let second = ctx.delegate(COUNT, 4).await?;
            Ok(format!("{first} {second}"))
        })
    };
    let node = wing.node().serve(lead()).serve(agent()).start().await.unwrap();
    let run = node.submit(SHOUT, String::new()).await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "3 7");
    let stored = everything(&node).await;
    let report = Replay::of(node.broker()).serve(lead()).serve(agent()).run(run.id()).await.unwrap();
    assert!(report.is_identical(), "{report:?}");
    assert_eq!(everything(&node).await, stored);
}

async fn a_workflow_replays(wing: &Wing) {
    let doc = WorkflowDoc::from_toml(
        "two.toml",
        r#"
        name = "two"
        [[task]]
        id = "first"
        capability = "text.shout"
        input = "a"
        [[task]]
        id = "second"
        capability = "text.shout"
        depends_on = ["first"]
        input = "{{first}}!"
        "#,
        None,
    );
    let node = wing.node().serve(SHOUT.by_fn(shout)).start().await.unwrap();
    let run = node.submit(WORKFLOW, doc.unwrap()).await.unwrap();
    run.outcome().await.unwrap();
    let report = Replay::of(node.broker()).serve(SHOUT.by_fn(shout)).run(run.id()).await.unwrap();
    assert!(report.is_identical() && report.tasks.len() == 3, "{report:?}");
    let alone = Replay::of(node.broker()).run(run.id()).await.unwrap();
    let verdicts: Vec<&Verdict> = alone.tasks.iter().map(|task| &task.verdict).collect();
    assert_eq!(verdicts[1..], [&Verdict::Unserved, &Verdict::Unserved], "{alone:?}");
}

async fn what_is_in_no_log_is_said(wing: &Wing) {
    let agent = || SHOUT.by_fn(|ctx: Context, _: String| async move { Ok(ctx.ask(COUNT, 1).await?.to_string()) });
    let counts = Arc::default();
    let node = wing.node().serve(agent()).serve(counting(&counts)).start().await.unwrap();
    let run = node.submit(SHOUT, String::new()).await.unwrap();
    run.outcome().await.unwrap();
    let report = Replay::of(node.broker()).serve(agent()).run(run.id()).await.unwrap();
    assert!(matches!(&report.tasks[0].verdict, Verdict::Cut { why } if why.contains("asks")), "{report:?}");
}

async fn a_cancelled_run_replays_as_far_as_it_goes(wing: &Wing) {
    let agent = || {
        COUNT.by_fn(|ctx: Context, n: u32| async move {
            let _: u32 = ctx.step("one", async || Ok(n)).await?;
            let _: u32 = ctx.step("never", async || std::future::pending().await).await?;
            Ok(n)
        })
    };
    let node = wing.node().serve(agent()).start().await.unwrap();
    let run = node.submit(COUNT, 7).await.unwrap();
    let root = TaskId::parse(run.id()).unwrap();
    let is_step = |record: &Record| record.entry.kind() == "step";
    until("step one", async || node.broker().tasks.log(root.clone()).await.unwrap().iter().any(is_step)).await;
    run.cancel("enough").await.unwrap();
    let report = Replay::of(node.broker()).serve(agent()).run(run.id()).await.unwrap();
    assert!(matches!(&report.tasks[0].verdict, Verdict::Cut { .. }), "{report:?}");
    assert_eq!(report.records(), 1);
}
