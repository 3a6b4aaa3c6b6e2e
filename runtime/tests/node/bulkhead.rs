//! How many asks for one capability a node has under way at a time.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callboard::{Capability, Context, Node, Result, Service};
use tokio::time::Instant;

use crate::kit::*;

on_every_wing! {
    asks_that_hang_on_an_ask_need_no_place,
    an_ask_that_nobody_polls_keeps_no_place;
    embedded: more_asks_than_there_are_places_wait_and_others_go_on,
}

const FAN: Capability<usize, usize> = Capability::new("wall.fan");
const DEEP: Capability<u32, u32> = Capability::new("wall.deep");

/// Waits, and counts how many do so at a time.
fn counted(most: &Arc<AtomicUsize>) -> Service {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), most.clone());
    let service = WAIT.by_fn(move |_ctx: Context, ms: u64| {
        let (now, most) = (now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(ms)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(ms)
        }
    });
    service.concurrency(100)
}

/// Asks so many at once; what else it asks meanwhile is answered at once.
async fn fan(ctx: Context, n: usize) -> Result<usize> {
    let asks: Vec<_> = (0..n).map(|k| ctx.ask(WAIT, 1_000 + k as u64)).map(IntoFuture::into_future).collect();
    let asked: Vec<_> = asks.into_iter().map(tokio::spawn).collect();
    let began = Instant::now();
    ctx.ask(SHOUT, "x".into()).await?;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    let mut done = 0;
    for one in asked {
        done += usize::from(one.await.is_ok_and(|answer| answer.is_ok()));
    }
    Ok(done)
}

async fn more_asks_than_there_are_places_wait_and_others_go_on(wing: &Wing) {
    for (given, places, seconds) in [(None, 10, 3), (Some(4), 4, 6)] {
        let most = Arc::default();
        let node = Node::over(wing.open(&format!("{places}"))).name("n").serve(counted(&most)).serve(FAN.by_fn(fan));
        let node = given.into_iter().fold(node, |node, places| node.bulkhead(WAIT, places));
        let node = node.serve(SHOUT.by_fn(shout)).start().await.unwrap();
        let began = Instant::now();
        assert_eq!(node.submit(FAN, 24).await.unwrap().outcome().await.unwrap(), 24);
        assert_eq!((most.load(Ordering::SeqCst), began.elapsed().as_secs()), (places, seconds));
        node.shutdown().await.unwrap();
    }
}

async fn asks_that_hang_on_an_ask_need_no_place(wing: &Wing) {
    let deep =
        DEEP.by_fn(|ctx: Context, n: u32| async move { Ok(if n == 0 { 0 } else { ctx.ask(DEEP, n - 1).await? + 1 }) });
    let node = wing.node().serve(deep.concurrency(100)).bulkhead(DEEP, 1).start().await.unwrap();
    assert_eq!(node.submit(DEEP, 20).await.unwrap().outcome().await.unwrap(), 20);
}

/// A loop over several asks sees to one of them and leaves the others alone meanwhile.
async fn an_ask_that_nobody_polls_keeps_no_place(wing: &Wing) {
    async fn leaves_alone(ctx: Context, n: usize) -> Result<usize> {
        let mut asks: Vec<_> = (0..n).map(|_| ctx.ask(WAIT, 20).into_future()).collect();
        for one in &mut asks {
            let while_it_waits = Duration::from_millis(1);
            assert!(tokio::time::timeout(while_it_waits, one).await.is_err());
        }
        ctx.ask(WAIT, 1).await?;
        for one in asks {
            one.await?;
        }
        Ok(n)
    }
    let node = wing.node().serve(counted(&Arc::default())).serve(FAN.by_fn(leaves_alone)).bulkhead(WAIT, 3);
    let node = node.start().await.unwrap();
    assert_eq!(node.submit(FAN, 8).await.unwrap().outcome().await.unwrap(), 8);
}
