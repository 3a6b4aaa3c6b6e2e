//! How work that was cancelled stops, and what is said of work that does not.

use std::time::Duration;

use callboard::{Capability, Context, Error, json};

use crate::kit::*;

on_every_wing! {
    ;
    embedded: a_handler_that_listens_for_its_cancel_has_a_moment_to_put_things_in_order,
}

async fn a_handler_that_listens_for_its_cancel_has_a_moment_to_put_things_in_order(wing: &Wing) {
    const HEED: Capability<u64, u64> = Capability::new("test.heed");
    let (tell, mut told) = tokio::sync::mpsc::channel(4);
    let heeding = HEED.by_fn(move |ctx: Context, ms: u64| {
        let tell = tell.clone();
        async move {
            let why = ctx.cancelled().await;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            // Whoever listens is this test.
            let _ = tell.try_send((ms, why.to_string()));
            Ok(ms)
        }
    });
    let node = wing.node().serve(heeding.concurrency(2)).start().await.unwrap();
    for ms in [100, 900] {
        let run = node.submit(HEED, ms).await.unwrap();
        a_moment().await;
        let began = tokio::time::Instant::now();
        run.cancel("enough").await.unwrap();
        let stopped = node.control("stopped", json!({ "tasks": [run.id()] })).await.unwrap();
        assert_eq!(stopped, json!({ "node": "n", "stopped": 1, "zombies": [] }));
        assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
        assert!(matches!(run.outcome().await, Err(Error::Cancelled { .. })), "what it returns then is not recorded");
    }
    a_moment().await;
    let (ms, why) = told.try_recv().unwrap();
    assert_eq!(ms, 100);
    assert!(why.contains("cancelled"), "{why}");
    assert!(told.try_recv().is_err(), "what takes too long is dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_cannot_be_dropped_is_told_to_be_a_zombie() {
    const SPIN: Capability<u32, u32> = Capability::new("test.spin");
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let spinning = SPIN.by_fn(move |_ctx: Context, n: u32| {
        let held = held.clone();
        async move {
            // Keeps its thread, as bad code does.
            let _ = held.lock().unwrap().recv();
            Ok(n)
        }
    });
    let wing = Wing::all().swap_remove(0);
    let node = wing.live().serve(spinning).start().await.unwrap();
    let run = node.submit(SPIN, 1).await.unwrap();
    while node.metrics().running == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.cancel("enough").await.unwrap();
    let stopped = node.control("stopped", json!({ "tasks": [run.id()] })).await.unwrap();
    let zombie = json!({ "task": run.id(), "agent": "test.spin" });
    assert_eq!(stopped, json!({ "node": "n", "stopped": 0, "zombies": [zombie] }));
    release.send(()).unwrap();
    let stopped = node.control("stopped", json!({ "tasks": [run.id()] })).await.unwrap();
    assert_eq!(stopped["zombies"], json!([]));
    let bad = node.control("stopped", json!({ "tasks": "all" })).await;
    assert!(matches!(bad, Err(Error::Decode { .. })), "{bad:?}");
    node.shutdown().await.unwrap();
}
