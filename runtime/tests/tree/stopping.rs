//! Everything stops in order and in time, whatever it is doing.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use callboard::tree::{ChildSpec, ExitReason, Fault, Happening, Shutdown, SupervisorSpec, Tree};
use tokio::time::Instant;

use crate::stage::{End, puppet, settled, state, until};

/// A worker that ends `after` it was asked to stop.
fn slow(id: &str, after: Duration) -> ChildSpec {
    ChildSpec::task(id, move |mut ctx| async move {
        Ok(async move {
            ctx.stopping().await;
            tokio::time::sleep(after).await;
            Ok(())
        })
    })
}

fn within(limit: u64) -> Shutdown {
    Shutdown::Timeout(Duration::from_millis(limit))
}

#[tokio::test(start_paused = true)]
async fn in_reverse_order_each_within_its_own_time() {
    let ms = Duration::from_millis;
    let below = SupervisorSpec::new("lead", [slow("x", ms(7)), slow("y", ms(5))]).unwrap();
    let children = [
        slow("a", ms(30)).shutdown(within(40)),
        ChildSpec::supervisor(below),
        slow("stuck", ms(100_000)).shutdown(within(100)),
        slow("victim", ms(1)).shutdown(Shutdown::BrutalKill),
    ];
    let tree = Tree::builder(SupervisorSpec::new("root", children).unwrap()).start().await.unwrap();
    let mut events = tree.events();
    let begin = Instant::now();
    assert_eq!(tree.stop().await, ExitReason::Shutdown);
    // A millisecond or two of slack: tokio's timer has that granularity.
    let took = begin.elapsed();
    assert!((ms(142)..ms(150)).contains(&took), "{took:?}");
    assert_eq!(
        until(&mut events, "root exited: shutdown").await,
        [
            "root/victim exited: killed",
            "root/stuck exited: killed",
            "root/lead/y exited: shutdown",
            "root/lead/x exited: shutdown",
            "root/lead exited: shutdown",
            "root/a exited: shutdown",
            "root exited: shutdown"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pool_stops_all_at_once() {
    let children = (0..10).map(|n| slow(&format!("w#{n}"), Duration::from_secs(4)));
    let spec = SupervisorSpec::new("pool", children).unwrap().stop_together();
    let tree = Tree::builder(spec).start().await.unwrap();
    let begin = Instant::now();
    tree.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn also_while_a_child_waits_for_its_restart_or_starts() {
    let (a, strings) = puppet("a");
    let late = ChildSpec::task("late", |ctx| async move {
        if ctx.attempt() > 1 {
            std::future::pending::<()>().await;
        }
        Ok(async { Err::<(), Fault>("at once".into()) })
    });
    let tree = Tree::builder(SupervisorSpec::new("root", [a, late]).unwrap()).seed(2).start().await.unwrap();
    let mut events = tree.events();
    strings.fail_starts(3);
    strings.end(End::Error);
    until(&mut events, "root/a restarting 2").await;
    assert_eq!((state(&tree, "root/a"), state(&tree, "root/late")), ("backoff".into(), "starting".into()));
    let begin = Instant::now();
    assert_eq!(tree.stop().await, ExitReason::Shutdown);
    assert!(begin.elapsed() < Duration::from_millis(10), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_kills_everything() {
    let alive = Arc::new(());
    let held = alive.clone();
    let child = ChildSpec::task("a", move |_| {
        let held = held.clone();
        async move {
            Ok(async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            })
        }
    });
    let lead = SupervisorSpec::new("lead", [child]).unwrap();
    let tree =
        Tree::builder(SupervisorSpec::new("root", [ChildSpec::supervisor(lead)]).unwrap()).start().await.unwrap();
    let other = tree.clone();
    drop(tree);
    settled().await;
    assert!(Arc::strong_count(&alive) > 1);
    drop(other);
    settled().await;
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// A thread that is stuck cannot be ended; it can be seen. Real time, as a blocked thread does not pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_thread_is_reported_as_a_zombie() {
    let (free, stuck) = mpsc::sync_channel::<()>(1);
    let stuck = Arc::new(Mutex::new(stuck));
    let child = ChildSpec::task("spinner", move |_| {
        let stuck = stuck.clone();
        async move {
            Ok(async move {
                let _ = stuck.lock().unwrap().recv();
                Ok(())
            })
        }
    });
    let (a, _) = puppet("a");
    let spec = SupervisorSpec::new("root", [a, child.shutdown(within(20))]).unwrap();
    let spec = spec.kill_wait(Duration::from_millis(20)).unwrap();
    let tree = Tree::builder(spec).start().await.unwrap();
    let mut events = tree.events();
    let ended = tokio::time::timeout(Duration::from_secs(10), tree.stop()).await;
    assert_eq!(ended, Ok(ExitReason::Shutdown), "the stop did not wait for the thread");
    let event = events.next().await.unwrap();
    assert_eq!((&*event.path, event.what), ("root/spinner", Happening::Zombie));
    assert_eq!((tree.info().zombies, state(&tree, "root/spinner")), (1, "zombie".into()));
    assert_eq!(state(&tree, "root/a"), "stopped");

    free.send(()).unwrap();
    let gone = async {
        while tree.info().zombies > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the zombie is gone when its thread is");
}
