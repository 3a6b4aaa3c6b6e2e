//! What a context promises, over a scripted world: no actor, no broker.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use std::future::IntoFuture;

use crate::testing::World;
use crate::{Agent, Capability, Class, Context, Error, EventKind, Failure, Result, Topic};

const COUNT: Capability<String, u32> = Capability::new("text.count").about("counts letters");
const PAID: EventKind<u32> = EventKind::new("shop.paid");
const NEWS: Topic<String> = Topic::new("news");

fn counting() -> World {
    World::new().answers(COUNT, |text| u32::try_from(text.len()).map_err(|_| Error::decode("too long")))
}

fn never() -> World {
    World::new().answers_async(COUNT, |_| std::future::pending())
}

#[tokio::test]
async fn an_ask_gives_the_response_and_says_how_it_came_about() {
    let world = counting();
    let ctx = world.context();
    assert_eq!(ctx.ask(COUNT, "four".into()).await.unwrap(), 4);
    let reply = ctx.ask(COUNT, "three".into()).full().await.unwrap();
    assert_eq!((reply.value, reply.agent.as_str(), reply.attempt, reply.degraded), (5, "text.count", 1, None));
    assert_eq!(world.asked(COUNT), ["four", "three"]);
}

#[tokio::test]
async fn a_call_does_nothing_until_it_is_awaited() {
    let world = counting();
    let ctx = world.context();
    let (ask, tell, child) = (ctx.ask(COUNT, "a".into()), ctx.tell(COUNT, "b".into()), ctx.delegate(COUNT, "c".into()));
    assert!(world.asked(COUNT).is_empty());
    drop((ask, tell));
    assert_eq!(child.await.unwrap(), 1);
    assert_eq!(world.asked(COUNT), ["c"]);
}

#[tokio::test]
async fn what_is_not_scripted_is_named_together_with_what_is() {
    let ctx = counting().context();
    let missing: Capability<String, String> = Capability::new("text.shout");
    let error = ctx.ask(missing, "x".into()).await.unwrap_err().to_string();
    assert!(error.contains("text.shout") && error.contains("text.count"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_ask_ends_by_its_deadline_and_joins_with_tokio() {
    let ctx = never().context();
    let late = ctx.ask(COUNT, "x".into()).deadline(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(late, Error::Deadline { limit, .. } if limit == Duration::from_millis(20)));
    let ctx = counting().context();
    let both = tokio::try_join!(ctx.ask(COUNT, "x".into()), ctx.delegate(COUNT, "yz".into()));
    assert_eq!(both.unwrap(), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_child_is_abandoned_when_nobody_waits_any_more_and_only_then() {
    let world = never();
    let ctx = world.context();
    let waited = tokio::time::timeout(Duration::from_secs(1), ctx.delegate(COUNT, "slow".into()));
    assert!(waited.await.is_err());
    assert_eq!(world.abandoned(COUNT), ["slow"]);
    let detached = ctx.delegate(COUNT, "on its own".into()).detach().await.unwrap();
    assert!(detached.id().starts_with("test_"));
    drop(detached);
    assert_eq!(world.abandoned(COUNT), ["slow"]);
    let world = counting();
    world.context().delegate(COUNT, "quick".into()).await.unwrap();
    assert!(world.abandoned(COUNT).is_empty());
}

#[tokio::test]
async fn a_second_attempt_finds_the_children_that_are_done() {
    let world = counting();
    for _ in 0..2 {
        let ctx = world.context();
        assert_eq!(ctx.delegate_all(COUNT, ["b".into(), "aa".into(), "b".into()]).await.unwrap(), [1, 2, 1]);
    }
    assert_eq!(world.asked(COUNT), ["b", "aa", "b"], "twins are two children, and nothing is done again");
}

#[tokio::test]
async fn a_key_of_ones_own_stands_for_one_input() {
    let ctx = counting().context();
    assert_eq!(ctx.delegate(COUNT, "a".into()).key("first").await.unwrap(), 1);
    let other = ctx.delegate(COUNT, "bb".into()).key("first").await.unwrap_err();
    assert!(matches!(&other, Error::Diverged { key, .. } if &**key == "first"), "{other}");
    assert_eq!(ctx.delegate(COUNT, "bb".into()).key("second").await.unwrap(), 2);
}

#[tokio::test]
async fn a_child_that_fails_keeps_its_class_code_and_partial_answer() {
    let world = World::new().answers(COUNT, |_| {
        let mut remote = Failure::permanent("the text is empty").into_remote();
        remote.partial = Some(crate::json!(7).into());
        Err(Error::Failed { to: "inner".into(), failure: Box::new(remote) })
    });
    let error = world.context().delegate(COUNT, "".into()).retry(2).describe("count it").await.unwrap_err();
    assert_eq!((error.class(), error.partial::<u32>()), (Class::Permanent, Some(7)));
    assert_eq!(error.partial::<String>(), None);
    assert_eq!(error.to_string(), "text.count failed: the text is empty");
}

#[tokio::test]
async fn outside_a_task_there_is_nothing_to_attach_a_child_to() {
    let ctx = counting().asking().context();
    assert!(matches!(ctx.delegate(COUNT, "a".into()).await, Err(Error::Denied { .. })));
    assert_eq!((ctx.task_id(), ctx.run_id()), ("", "test"));
    assert_eq!(counting().context().task_id(), "test");
}

#[tokio::test]
async fn a_step_is_done_once_over_all_attempts() {
    let world = World::new();
    let done = AtomicU32::new(0);
    let work = async |ctx: Context| ctx.step("pick", async || Ok(done.fetch_add(1, Ordering::Relaxed))).await;
    assert_eq!(work(world.context()).await.unwrap(), 0);
    assert_eq!(work(world.context()).await.unwrap(), 0);
    assert_eq!(done.load(Ordering::Relaxed), 1);
    assert_eq!(work(world.clone().asking().context()).await.unwrap(), 1, "outside a task nothing is recorded");
}

#[tokio::test]
async fn a_step_that_failed_is_done_again_and_keeps_its_class() {
    let world = World::new();
    let failing = async || Err::<u32, _>(Failure::transient("busy signal"));
    let error = world.context().step("call", failing).await.unwrap_err();
    assert_eq!((error.class(), error.to_string().as_str()), (Class::Transient, "step call failed: busy signal"));
    assert_eq!(world.context().step("call", async || Ok(3)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_step_name_used_twice_in_one_attempt_is_refused() {
    let ctx = World::new().context();
    ctx.step("mail", async || Ok(())).await.unwrap();
    let twice = ctx.step("mail", async || Ok(())).await.unwrap_err();
    assert!(matches!(&twice, Error::Decode { what } if what.contains("mail")), "{twice}");
}

#[tokio::test]
async fn what_reaches_others_is_seen() {
    let world = World::new();
    let ctx = world.context();
    ctx.emit(PAID, 5).await.unwrap();
    ctx.broadcast(NEWS, "hello".into()).await.unwrap();
    ctx.progress(1.5, "nearly");
    ctx.say("to");
    ctx.say("ken");
    ctx.keep(&vec![1, 2]);
    assert_eq!((world.emitted(PAID), world.broadcast(NEWS)), (vec![5], vec!["hello".to_owned()]));
    assert_eq!((world.progress(), world.said()), (vec![(1.0, "nearly".into())], "token".into()));
    assert_eq!(world.kept::<Vec<u32>>(), Some(vec![1, 2]));
}

#[tokio::test]
async fn a_context_that_is_kept_after_its_request_is_of_no_use() {
    let world = never();
    let ctx = world.context();
    let waiting = ctx.ask(COUNT, "x".into()).into_future();
    let (why, _) = tokio::join!(ctx.cancelled(), async { world.cancel("the user") });
    assert!(matches!(why, Error::Cancelled { by } if &*by == "the user"));
    for error in [
        waiting.await.unwrap_err(),
        ctx.ask(COUNT, "y".into()).await.unwrap_err(),
        ctx.tell(COUNT, "y".into()).await.unwrap_err(),
        ctx.delegate(COUNT, "y".into()).await.unwrap_err(),
        ctx.emit(PAID, 1).await.unwrap_err(),
        ctx.broadcast(NEWS, "y".into()).await.unwrap_err(),
        ctx.step("s", async || Ok(1)).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    }
}

struct Twice;

impl Agent<String, u32> for Twice {
    async fn handle(&self, ctx: Context, text: String) -> Result<u32> {
        Ok(2 * ctx.ask(COUNT, text).await?)
    }
}

#[tokio::test]
async fn an_agent_is_called_like_any_other_value() {
    assert_eq!(Twice.handle(counting().context(), "four".into()).await.unwrap(), 8);
    let shared = std::sync::Arc::new(Twice);
    assert_eq!(shared.handle(counting().context(), "four".into()).await.unwrap(), 8);
    let busy = World::new()
        .answers(COUNT, |_| Err(Error::Busy { to: "text.count".into(), retry_after: Duration::from_millis(5) }));
    let failure = Twice.handle(busy.context(), "four".into()).await.unwrap_err();
    assert_eq!(failure.class(), Class::RateLimited);
}

#[tokio::test]
async fn what_a_real_agent_kept_is_what_its_failure_leaves_behind() {
    let service = COUNT.by_fn(|ctx: Context, _text| async move {
        ctx.say("working");
        ctx.keep(&2_u32);
        Err(Failure::transient("lost the rest"))
    });
    let world = World::new().serves(service);
    let ctx = world.context();
    assert_eq!(ctx.delegate(COUNT, "x".into()).await.unwrap_err().partial::<u32>(), Some(2));
    assert_eq!(ctx.ask(COUNT, "x".into()).await.unwrap_err().partial::<u32>(), Some(2));
    assert_eq!((world.said(), world.kept::<u32>()), (String::new(), None), "another agent said it");
}
