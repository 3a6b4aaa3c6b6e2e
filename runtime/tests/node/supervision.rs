//! Agents that crash and nodes that give up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard::{Agent, Context, Error, Failure, Result, Supervisor};

use crate::kit::*;

on_both_wings! {
    a_fatal_failure_answers_and_has_the_agent_rebuilt,
    an_agent_that_keeps_crashing_takes_its_node_down_with_a_reason,
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
