//! Runs that begin with the records of others.

use std::sync::{Arc, Mutex};

use callboard::broker::id::{RunId, TaskId};
use callboard::broker::task::Status;
use callboard::broker::tasks::TaskView;
use callboard::fork::Fork;
use callboard::llm::Models;
use callboard::replay::Replay;
use callboard::testing::Script;
use callboard::{Context, Error, Failure, Node, Service};

use crate::kit::*;

on_every_wing! {
    a_fork_begins_with_what_was_recorded_up_to_its_record,
    a_fork_from_nothing_does_everything_anew,
    a_fork_that_fails_is_tried_again_with_what_it_has,
    a_fork_has_the_children_of_its_original_and_leaves_them_alone,
    a_fork_of_a_failed_run_goes_on_where_it_failed,
    a_fork_asks_the_model_that_it_is_given_and_otherwise_that_of_its_original,
    a_fork_replays,
    what_cannot_be_forked_is_refused,
}

/// What was really done, in order.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Vec<String>>>);

impl Done {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A step, a child, an effect, a last step that fails when the input says so.
fn agent(done: &Done) -> Service {
    let done = done.clone();
    SHOUT.by_fn(move |ctx: Context, text: String| {
        let done = done.clone();
        async move {
            let step = async |what: &str| {
                done.note(what);
                Ok(what.to_owned())
            };
            let plan: String = ctx.step("plan", async || step("plan").await).await?;
            let count = ctx.delegate(COUNT, 7).await?;
            let paid: String = ctx.effect("pay", async || step("pay").await).await?;
            if text.starts_with("fail") && ctx.attempt() < 9 {
                return Err(Failure::permanent("told to fail"));
            }
            if text.starts_with("later") && ctx.attempt() < 3 {
                return Err(Failure::transient("told to fail"));
            }
            let last: String = ctx.step("last", async || step("last").await).await?;
            Ok(format!("{text} {plan} {count} {paid} {last}"))
        }
    })
}

fn counting(done: &Done) -> Service {
    let done = done.clone();
    COUNT.by_fn(move |_ctx: Context, n: u32| {
        done.note("child");
        async move { Ok(n) }
    })
}

async fn begun(wing: &Wing, text: &str) -> (Node, Done, TaskId) {
    let done = Done::default();
    let node = wing.node().serve(agent(&done)).serve(counting(&done)).start().await.unwrap();
    let run = node.submit(SHOUT, text.into()).await.unwrap();
    // Whether it fails is a matter of the test.
    let _ = run.outcome().await;
    assert_eq!(done.take()[..3], ["plan", "child", "pay"]);
    (node, done, TaskId::parse(run.id()).unwrap())
}

async fn ended(node: &Node, fork: &TaskView) -> Result<String, Error> {
    node.attach(SHOUT, fork.task.run.as_str()).unwrap().outcome().await
}

async fn a_fork_begins_with_what_was_recorded_up_to_its_record(wing: &Wing) {
    let (node, done, original) = begun(wing, "a").await;
    // plan, delegated, intent, effect, last
    let rest: [&[&str]; 6] =
        [&["plan", "child", "pay", "last"], &["child", "pay", "last"], &["pay", "last"], &[], &["last"], &[]];
    for (from, rest) in rest.into_iter().enumerate().filter(|(from, _)| *from != 3) {
        let fork = Fork::of(node.broker(), original.clone()).from(from as u64).set(".", "b").submit().await.unwrap();
        assert_eq!(ended(&node, &fork).await.unwrap(), "b plan 7 pay last", "from {from}");
        assert_eq!(done.take(), rest, "from {from}");
    }
    let log = node.broker().tasks.log(original.clone()).await.unwrap();
    assert_eq!(log.len(), 5, "the original is as it was");
}

async fn a_fork_from_nothing_does_everything_anew(wing: &Wing) {
    let (node, done, original) = begun(wing, "a").await;
    let run = RunId::parse("again-1").unwrap();
    let fork = Fork::of(node.broker(), original).from(0).run(run).submit().await.unwrap();
    assert_eq!(fork.task.run.as_str(), "again-1");
    assert_eq!(ended(&node, &fork).await.unwrap(), "a plan 7 pay last");
    assert_eq!(done.take(), ["plan", "child", "pay", "last"]);
}

async fn a_fork_that_fails_is_tried_again_with_what_it_has(wing: &Wing) {
    let (node, done, original) = begun(wing, "a").await;
    let fork = Fork::of(node.broker(), original).from(4).set(".", "later").submit().await.unwrap();
    assert_eq!(ended(&node, &fork).await.unwrap(), "later plan 7 pay last");
    assert_eq!(done.take(), ["last"]);
    let log = node.broker().tasks.log(fork.task.id).await.unwrap();
    let kinds: Vec<&str> = log.iter().map(|record| record.entry.kind()).collect();
    let expected = ["step", "delegated", "intent", "effect", "released", "claimed", "released", "claimed", "step"];
    assert_eq!(kinds, expected, "they are copied once");
}

async fn a_fork_has_the_children_of_its_original_and_leaves_them_alone(wing: &Wing) {
    let (node, done, original) = begun(wing, "a").await;
    let fork = Fork::of(node.broker(), original).from(2).submit().await.unwrap();
    ended(&node, &fork).await.unwrap();
    assert_eq!(done.take(), ["pay", "last"]);
    let filter = callboard::broker::tasks::TaskFilter { run: Some(fork.task.run.clone()), ..Default::default() };
    let tasks = node.broker().tasks.list(filter).await.unwrap();
    let of = |view: &TaskView| (view.task.parent.clone(), view.status, view.outcome.as_ref().unwrap().output.clone());
    assert_eq!(of(&tasks[1]), (Some(fork.task.id.clone()), Status::Completed, 7.into_payload()));
    assert_eq!(tasks.len(), 2);
}

async fn a_fork_of_a_failed_run_goes_on_where_it_failed(wing: &Wing) {
    let (node, done, original) = begun(wing, "fail").await;
    let fork = Fork::of(node.broker(), original).set(".", "better").submit().await.unwrap();
    assert_eq!(ended(&node, &fork).await.unwrap(), "better plan 7 pay last");
    assert_eq!(done.take(), ["last"]);
}

async fn a_fork_asks_the_model_that_it_is_given_and_otherwise_that_of_its_original(wing: &Wing) {
    let agent = SHOUT.by_fn(|ctx: Context, text: String| async move {
        let Some(model) = ctx.model("shout") else { return Err(Failure::permanent("no model")) };
        Ok(model.complete(text.as_str()).await?.text)
    });
    let (one, other) = (Script::new().named("scripted/one"), Script::new().named("scripted/other"));
    let one = one.reply("one says a").reply("one says b");
    let models = Models::none().allow(Arc::new(one)).allow(Arc::new(other.reply("other says c")));
    let node = wing.node().serve(agent).models(models).start().await.unwrap();
    let run = node.submit(SHOUT, "a".into()).model("scripted/one").await.unwrap();
    assert_eq!(run.outcome().await.unwrap(), "one says a");
    let original = TaskId::parse(run.id()).unwrap();
    let fork = |text: &str| Fork::of(node.broker(), original.clone()).from(0).set(".", text);
    let same = fork("b").submit().await.unwrap();
    assert_eq!(ended(&node, &same).await.unwrap(), "one says b");
    let changed = fork("c").model("scripted/other").submit().await.unwrap();
    assert_eq!(ended(&node, &changed).await.unwrap(), "other says c");
}

async fn a_fork_replays(wing: &Wing) {
    let (node, done, original) = begun(wing, "a").await;
    let fork = Fork::of(node.broker(), original).from(4).set(".", "b").submit().await.unwrap();
    ended(&node, &fork).await.unwrap();
    done.take();
    let replay = Replay::of(node.broker()).serve(agent(&done)).serve(counting(&done));
    let report = replay.run(fork.task.run.as_str()).await.unwrap();
    assert!(report.is_identical(), "{report:?}");
    assert_eq!((report.records(), done.take()), (4, Vec::new()));
}

async fn what_cannot_be_forked_is_refused(wing: &Wing) {
    let (node, _, original) = begun(wing, "a").await;
    let fork = |from| Fork::of(node.broker(), original.clone()).from(from);
    let refused = fork(6).submit().await.unwrap_err().to_string();
    assert!(refused.contains("has 5 records: a fork is from 0 to 5, not from 6"), "{refused}");
    let refused = fork(1).set("text", "b").submit().await.unwrap_err().to_string();
    assert!(refused.contains("no place \"text\""), "{refused}");
    let nobody = Fork::of(node.broker(), TaskId::parse("nobody").unwrap()).submit().await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })), "{nobody:?}");
}

trait IntoPayload {
    fn into_payload(self) -> callboard::broker::payload::Payload;
}

impl IntoPayload for u32 {
    fn into_payload(self) -> callboard::broker::payload::Payload {
        callboard::broker::payload::Payload::of(self)
    }
}
