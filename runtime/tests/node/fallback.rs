//! What stands in for a task that failed for good, on a node: the order, what the outcome says, and that a parent that
//! runs again chooses as before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::task::Status;
use callboard::broker::tasks::TaskFilter;
use callboard::workflow::{WORKFLOW, WorkflowDoc};
use callboard::{Capability, Context, Failure, Node, Result, Service, Workflow};

use crate::kit::*;

const ASK: Capability<u32, u32> = Capability::new("test.ask");
const FIRST: Capability<u32, u32> = Capability::new("test.first");
const SECOND: Capability<u32, u32> = Capability::new("test.second");
const DAY: Duration = Duration::from_secs(24 * 3600);

on_every_wing! {
    another_capability_does_it_and_the_run_says_how,
    what_a_child_did_without_is_said_at_the_top;
    embedded: the_four_are_tried_in_their_order,
    an_earlier_response_stands_in_for_a_later_run_and_the_choice_survives_an_attempt,
    a_workflow_falls_back_in_the_declared_order,
}

fn fails() -> Service {
    FIRST.by_fn(|ctx: Context, n: u32| async move {
        if n > 100 {
            ctx.keep(&7_u32);
        }
        Err::<u32, _>(Failure::permanent("out of order"))
    })
}

async fn done(node: &Node, n: u32) -> (Option<u32>, Option<String>) {
    let reply = node.submit(ASK, n).await.unwrap().reply().await;
    reply.map_or((None, None), |reply| (Some(reply.value), reply.degraded))
}

async fn another_capability_does_it_and_the_run_says_how(wing: &Wing) {
    async fn ask(ctx: Context, n: u32) -> Result<u32> {
        Ok(ctx.delegate(FIRST, n).or(SECOND).await?)
    }
    async fn second(_ctx: Context, n: u32) -> Result<u32> {
        Ok(2 * n)
    }
    let services = [ASK.by_fn(ask), fails(), SECOND.by_fn(second)];
    let node = services.into_iter().fold(wing.node(), |node, service| node.serve(service)).start().await.unwrap();
    let (value, how) = done(&node, 4).await;
    assert_eq!(value, Some(8));
    assert_eq!(how.as_deref(), Some("test.first failed (out of order): test.second instead"));
}

async fn the_four_are_tried_in_their_order(wing: &Wing) {
    async fn ask(ctx: Context, n: u32) -> Result<u32> {
        let declared = ctx.delegate(FIRST, n).key("child").or(SECOND).or_cached(DAY).or_partial();
        Ok(declared.or_human("editors")?.deadline(Duration::from_secs(3600)).or_skip(9).await?)
    }
    let second = SECOND.by_fn(|_ctx: Context, _: u32| async { Err::<u32, _>(Failure::permanent("nor this")) });
    let node = wing.node().serve(ASK.by_fn(ask)).serve(fails()).serve(second).start().await.unwrap();
    let (value, how) = done(&node, 101).await;
    let how = how.unwrap();
    assert_eq!(value, Some(7));
    assert!(how.ends_with("test.second failed (nor this): what it had kept instead"), "{how}");
    // Nobody answers within the hour, so it is done without.
    let (value, how) = done(&node, 1).await;
    let how = how.unwrap();
    assert_eq!(value, Some(9));
    assert!(how.contains("human.editors failed") && how.ends_with("done without"), "{how}");
    let tasks = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    let stood: Vec<_> = tasks.iter().filter_map(|view| Some((view.task.key.as_deref()?, view.status))).collect();
    let (failed, expired) = (Status::Failed, Status::Expired);
    let once = [("child", failed), ("child:test.second", failed)];
    assert_eq!(stood, [&once[..], &once[..], &[("child:human.editors", expired)]].concat());
}

async fn an_earlier_response_stands_in_for_a_later_run_and_the_choice_survives_an_attempt(wing: &Wing) {
    let (is_away, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (away, count) = (is_away.clone(), asked.clone());
    let first = FIRST.by_fn(move |_ctx: Context, n: u32| {
        count.fetch_add(1, Ordering::SeqCst);
        let is_away = away.load(Ordering::SeqCst);
        async move { if is_away { Err(Failure::permanent("away")) } else { Ok(n + 1) } }
    });
    let back = is_away.clone();
    let ask = ASK.by_fn(move |ctx: Context, n: u32| {
        let back = back.clone();
        async move {
            let value = ctx.delegate(FIRST, n).key("child").or_cached(DAY).or_skip(0).await?;
            if ctx.attempt() == 1 && back.load(Ordering::SeqCst) {
                // Meanwhile another run leaves a response behind.
                back.store(false, Ordering::SeqCst);
                ctx.delegate(FIRST, n).key("other").or_cached(DAY).await?;
                return Err(Failure::transient("after the choice"));
            }
            Ok(value)
        }
    });
    let node = wing.node().serve(ask).serve(first).start().await.unwrap();
    assert_eq!(done(&node, 1).await, (Some(2), None));
    tokio::time::sleep(Duration::from_secs(90)).await;
    is_away.store(true, Ordering::SeqCst);
    let (value, how) = done(&node, 1).await;
    let how = how.unwrap();
    assert_eq!(value, Some(2));
    assert!(how.starts_with("test.first failed (away): a response of 9") && how.ends_with("s before instead"), "{how}");
    // There was no response to this one when the choice was made; when it is made again there is.
    is_away.store(true, Ordering::SeqCst);
    let (value, how) = done(&node, 5).await;
    assert_eq!((value, how.as_deref()), (Some(0), Some("test.first failed (away): done without")));
    assert_eq!(asked.load(Ordering::SeqCst), 5, "each child ran once");
}

async fn what_a_child_did_without_is_said_at_the_top(wing: &Wing) {
    async fn count(ctx: Context, n: u32) -> Result<u32> {
        Ok(ctx.delegate(ASK, n).await?)
    }
    async fn ask(ctx: Context, n: u32) -> Result<u32> {
        Ok(ctx.delegate(FIRST, n).or_skip(0).await?)
    }
    let node = wing.node().serve(COUNT.by_fn(count)).serve(ASK.by_fn(ask)).serve(fails()).start().await.unwrap();
    let reply = node.submit(COUNT, 1).await.unwrap().reply().await.unwrap();
    assert_eq!(reply.degraded.as_deref(), Some("test.ask: test.first failed (out of order): done without"));
}

async fn a_workflow_falls_back_in_the_declared_order(wing: &Wing) {
    let text = r#"
        name = "w"
        [[task]]
        id = "a"
        capability = "test.first"
        input = 101
        fallback = [{ capability = "test.second" }, { partial = true }, { skip = true }]
        [[task]]
        id = "b"
        capability = "test.first"
        input = "{{a}}"
        fallback = [{ cached = "1d" }, { human = "editors" }, { skip = true }]
        deadline = "1h"
        [[task]]
        id = "c"
        capability = "test.count"
        input = "{{a}}"
        depends_on = ["b"]
    "#;
    let doc = WorkflowDoc::from_toml("w.toml", text, None).unwrap();
    let mut flow = Workflow::new("w");
    let a = flow.task("a", FIRST, 101).or(SECOND).or_partial();
    let b = flow.task("b", FIRST, &a).or_cached(DAY).or_human("editors").deadline(Duration::from_secs(3600)).or_skip();
    let _c = flow.task("c", COUNT, &a).after(&b);
    flow.check().unwrap();
    let second = SECOND.by_fn(|_ctx: Context, _: u32| async { Err::<u32, _>(Failure::permanent("nor this")) });
    let count = COUNT.by_fn(|_ctx: Context, n: u32| async move { Ok(n + 1) });
    let node = wing.node().serve(fails()).serve(second).serve(count).start().await.unwrap();
    for doc in [doc, flow.document()] {
        let reply = node.submit(WORKFLOW, doc).await.unwrap().reply().await.unwrap();
        assert_eq!(reply.value["c"].as_u64().or(reply.value.as_u64()), Some(8));
        let how = reply.degraded.unwrap();
        assert!(how.starts_with("test.first failed (out of order); test.second failed (nor this): what it"), "{how}");
        assert!(how.ends_with("without b"), "{how}");
    }
}
