//! Agents that crash and nodes that give up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::messages::Address;
use callboard::{Agent, Context, Error, Failure, Node, Result, Service, Supervisor};

use crate::kit::*;

on_every_wing! {
    a_fatal_failure_answers_and_has_the_agent_rebuilt,
    an_agent_that_keeps_crashing_takes_its_node_down_with_a_reason,
    an_agent_that_does_not_start_keeps_its_node_from_starting,
    an_agent_that_does_not_start_again_is_tried_again_until_it_does,
    what_panics_while_it_is_dropped_is_tried_again_as_often_as_its_task_says,
}

async fn a_fatal_failure_answers_and_has_the_agent_rebuilt(wing: &Wing) {
    let built = Arc::new(AtomicU32::new(0));
    let counted = built.clone();
    struct Fragile;
    impl Agent<String, String> for Fragile {
        async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
            if text == "break" { Err(Failure::fatal("lost its connection")) } else { Ok(text) }
        }
    }
    let fresh = SHOUT.by_fresh(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok(Fragile) }
    });
    let node = wing.node().serve(fresh).start().await.unwrap();
    assert!(matches!(node.ask(SHOUT, "break".into()).await, Err(Error::Failed { .. })));
    assert_eq!(node.ask(SHOUT, "fine".into()).await.unwrap(), "fine");
    assert_eq!(built.load(Ordering::SeqCst), 2);
}

async fn an_agent_that_keeps_crashing_takes_its_node_down_with_a_reason(wing: &Wing) {
    let broken = SHOUT.by_fn(|_ctx, _text: String| async { Err(Failure::fatal("cannot go on")) });
    let lead = Supervisor::new("lead").intensity(1, Duration::from_secs(60)).child(broken);
    let node = wing.node().intensity(1, Duration::from_secs(60)).serve(lead).start().await.unwrap();
    let node = Arc::new(node);
    let asking = tokio::spawn({
        let node = node.clone();
        async move {
            loop {
                let _ = node.ask(SHOUT, "x".into()).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let gave_up = tokio::time::timeout(Duration::from_secs(600), node.gave_up()).await.expect("it gives up");
    assert!(gave_up.to_string().contains("cannot go on"), "{gave_up}");
    asking.abort();
}

async fn an_agent_that_does_not_start_keeps_its_node_from_starting(wing: &Wing) {
    struct Never;
    impl Agent<String, String> for Never {
        async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
            Ok(text)
        }
    }
    let broker = wing.broker();
    let start = |service: Service| {
        Node::over(broker.clone())
            .name("n")
            .serve(COUNT.by_fn(|_ctx, n: u32| async move { Ok(n) }))
            .serve(service)
            .start()
    };
    let refused = SHOUT.by_fresh(|| async { Err::<Never, _>(Failure::permanent("the file is missing")) });
    let Err(error) = start(refused).await else { panic!("it cannot start") };
    assert!(matches!(error, Error::Unavailable { .. }) && error.to_string().contains("the file is missing"), "{error}");
    let panics = SHOUT.by_fresh(|| async {
        assert!(std::path::Path::new("/no/such/file").exists(), "no file");
        Ok(Never)
    });
    let Err(error) = start(panics).await else { panic!("it cannot start") };
    assert!(error.to_string().contains("no file"), "{error}");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!broker.messages.is_served(&Address::Capability(COUNT.id())), "nothing of it is left");
}

async fn an_agent_that_does_not_start_again_is_tried_again_until_it_does(wing: &Wing) {
    struct Fragile;
    impl Agent<String, String> for Fragile {
        async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
            if text == "break" { Err(Failure::fatal("lost its connection")) } else { Ok(text) }
        }
    }
    let starts = AtomicU32::new(0);
    let fresh = SHOUT.by_fresh(move || {
        let n = starts.fetch_add(1, Ordering::SeqCst);
        async move {
            match n {
                1 => Err(Failure::transient("still away")),
                2 => panic!("in the middle of it"),
                _ => Ok(Fragile),
            }
        }
    });
    let node = wing.node().serve(fresh).start().await.unwrap();
    let task = node.submit(SHOUT, "break".into()).retry(1).await.unwrap();
    assert!(matches!(task.outcome().await, Err(Error::Failed { .. })));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let kept = node.ask(SHOUT, "kept".into()).await;
    assert_eq!(kept.unwrap(), "kept", "a queue outlives the cell, and waits for the next one");
    assert_eq!(node.tree().root.find("n/agents/text.shout/#1").unwrap().starts, 4);
}

async fn what_panics_while_it_is_dropped_is_tried_again_as_often_as_its_task_says(wing: &Wing) {
    struct Breaks;
    impl Drop for Breaks {
        fn drop(&mut self) {
            panic!("nothing can be put away");
        }
    }
    let runs = Arc::new(AtomicU32::new(0));
    let counts = runs.clone();
    let service = COUNT.by_fn(move |_ctx, n: u32| {
        counts.fetch_add(1, Ordering::SeqCst);
        async move {
            let _breaks = Breaks;
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            Ok(n)
        }
    });
    let node = wing.node().serve(service).start().await.unwrap();
    let run = node.submit(COUNT, 0).timeout(Duration::from_millis(100)).retry(2).await.unwrap();
    let failed = run.outcome().await.unwrap_err().to_string();
    assert!(failed.contains("panicked while it was being dropped"), "{failed}");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(dead(&node).await.len(), 1);
}

/// A handler that never yields cannot be dropped. Its cell is replaced all the same, its task goes to the next one, what
/// it brings at last is refused, and the tree says that it is still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_handler_that_spins_is_a_zombie_and_its_task_goes_on_without_it() {
    for wing in Wing::all() {
        let (spins, go) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (counts, ended) = (spins.clone(), go.clone());
        let service = COUNT.by_fn(move |_ctx, _: u32| {
            let (spins, go) = (counts.clone(), ended.clone());
            async move {
                let n = spins.fetch_add(1, Ordering::SeqCst) + 1;
                while n == 1 && !go.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                Ok(n)
            }
        });
        let node = wing.live().serve(service).start().await.unwrap();
        let run = node.submit(COUNT, 0).await.unwrap();
        until("it spins", async || spins.load(Ordering::SeqCst) > 0).await;
        node.kill("n/agents/test.count/#1").unwrap();
        let reply = tokio::time::timeout(Duration::from_secs(60), run.reply()).await.expect("another cell does it");
        assert_eq!(reply.unwrap().value, 2);
        until("it is seen", async || node.tree().zombies == 1).await;
        go.store(true, Ordering::SeqCst);
        until("it is gone", async || node.tree().zombies == 0).await;
        assert_eq!(run.outcome().await.unwrap(), 2, "what it brought was not recorded");
        node.shutdown().await.unwrap();
    }
}
