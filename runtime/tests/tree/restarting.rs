//! When and how often a child is restarted, and that nobody waits for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::tree::{
    Backoff, ChildSpec, ExitReason, Fault, Intensity, Restart, Strategy, SupervisorSpec, Tree, TreeError,
};
use tokio::time::{Instant, timeout};

use crate::stage::{End, puppet, settled, state, until};

fn often() -> Intensity {
    Intensity::new(1000, Duration::from_secs(30)).unwrap()
}

/// The waits before the first seven starts of a child that fails as soon as it runs, or cannot start again.
async fn gaps(seed: u64, at_start: bool) -> Vec<Duration> {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let log = starts.clone();
    let child = ChildSpec::task("a", move |ctx| {
        log.lock().unwrap().push(Instant::now());
        async move {
            let fail = || Err::<(), Fault>("again".into());
            if at_start && ctx.attempt() > 1 {
                fail()?;
            }
            Ok(async move { fail() })
        }
    });
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(160)).unwrap();
    let six = Intensity::new(6, Duration::from_secs(30)).unwrap();
    let spec = SupervisorSpec::new("root", [child]).unwrap().intensity(six).backoff(backoff);
    let tree = Tree::builder(spec).seed(seed).start().await.unwrap();
    assert_eq!(tree.ended().await.exit_code(), 70);
    let starts = starts.lock().unwrap();
    starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_restart_is_at_once_and_the_others_wait_longer_and_longer() {
    for at_start in [false, true] {
        let mut sums = [Duration::ZERO; 6];
        for seed in 0..40 {
            let gaps = gaps(seed, at_start).await;
            assert_eq!(gaps.len(), 6, "six restarts, then it gave up");
            // Tokio rounds waits up to the millisecond.
            let caps = [0, 21, 41, 81, 161, 161].map(Duration::from_millis);
            assert!(gaps.iter().zip(caps).all(|(gap, cap)| *gap <= cap), "{gaps:?}");
            sums.iter_mut().zip(&gaps).for_each(|(sum, gap)| *sum += *gap);
        }
        assert_eq!(sums[0], Duration::ZERO);
        assert!(sums[..5].is_sorted_by(|a, b| a < b), "on average each wait is longer: {sums:?}");
    }
    assert_eq!(gaps(7, false).await, gaps(7, false).await, "the same seed, the same waits");
    assert_ne!(gaps(7, false).await, gaps(8, false).await);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_answers_while_a_child_waits_or_hangs() {
    let (a, strings) = puppet("a");
    let hour = Duration::from_secs(3600);
    let spec = SupervisorSpec::new("root", [a]).unwrap().backoff(Backoff::new(hour, hour).unwrap());
    let tree = Tree::builder(spec).seed(1).start().await.unwrap();
    let mut events = tree.events();
    strings.fail_starts(1);
    strings.end(End::Error);
    until(&mut events, "root/a restarting 2").await;
    let hanging = ChildSpec::task("hanging", |_| async {
        std::future::pending::<()>().await;
        Ok(async { Ok(()) })
    });
    let mut hung = std::pin::pin!(tree.start_child("root", hanging));
    assert!(timeout(Duration::from_millis(1), &mut hung).await.is_err());

    let now = Instant::now();
    let (b, _) = puppet("b");
    tree.start_child("root", b).await.unwrap();
    assert_eq!(now.elapsed(), Duration::ZERO, "two children in trouble, and it answered at once");
    assert_eq!(state(&tree, "root/a"), "backoff");
    assert_eq!(state(&tree, "root/b"), "running");

    let reason = ExitReason::StartFailed("not started within 30s".into());
    assert_eq!(hung.await, Err(TreeError::Start { path: "root/hanging".into(), reason }));
    assert_eq!(state(&tree, "root/hanging"), "absent");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_a_failed_start() {
    let child = ChildSpec::task("a", |ctx| async move {
        if ctx.attempt() == 2 {
            std::future::pending::<()>().await;
        }
        let again = ctx.attempt() == 1;
        Ok(async move { if again { Err("once".into()) } else { std::future::pending().await } })
    });
    let child = child.start_timeout(Duration::from_secs(3));
    let tree = Tree::builder(SupervisorSpec::new("root", [child]).unwrap()).start().await.unwrap();
    let mut events = tree.events();
    let begin = Instant::now();
    let seen = until(&mut events, "root/a started 3").await;
    assert!(seen.contains(&"root/a exited: start failed: not started within 3s".to_owned()), "{seen:#?}");
    assert!(begin.elapsed() >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn two_that_fall_together_are_one_restart_of_the_group() {
    let (a, a_strings) = puppet("a");
    let (b, b_strings) = puppet("b");
    let (c, _) = puppet("c");
    let spec = SupervisorSpec::new("root", [a, b, c]).unwrap().strategy(Strategy::OneForAll);
    let tree = Tree::builder(spec).start().await.unwrap();
    a_strings.end(End::Error);
    b_strings.end(End::Panic);
    settled().await;
    let info = tree.info();
    let starts: Vec<u64> = info.root.children().iter().map(|child| child.starts).collect();
    assert_eq!(starts, [2, 2, 2]);
}

/// A group comes up in its order, each when the one before it has started.
#[tokio::test(start_paused = true)]
async fn a_group_goes_down_in_reverse_and_comes_up_in_order() {
    let (a, _) = puppet("a");
    let (b, strings) = puppet("b");
    let (c, _) = puppet("c");
    let (d, _) = puppet("d");
    let spec = SupervisorSpec::new("root", [a, b, c, d]).unwrap().strategy(Strategy::RestForOne);
    let tree = Tree::builder(spec).start().await.unwrap();
    let mut events = tree.events();
    strings.end(End::Error);
    assert_eq!(
        until(&mut events, "root/d started 2").await,
        [
            "root/b exited: error: told to fail",
            "root/b restarting 1",
            "root/d exited: shutdown",
            "root/c exited: shutdown",
            "root/b started 2",
            "root/c started 2",
            "root/d started 2"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_healthy_life_makes_the_next_failure_the_first_again() {
    let (a, strings) = puppet("a");
    let spec = SupervisorSpec::new("root", [a]).unwrap().intensity(often());
    let tree = Tree::builder(spec).start().await.unwrap();
    let mut events = tree.events();
    for attempt in 1..5 {
        strings.end(End::Error);
        until(&mut events, &format!("root/a restarting {attempt}")).await;
        until(&mut events, &format!("root/a started {}", attempt + 1)).await;
    }
    tokio::time::advance(Duration::from_secs(30)).await;
    strings.end(End::Error);
    until(&mut events, "root/a restarting 1").await;
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_the_backoff_of_the_one_that_failed() {
    let (a, _) = puppet("a");
    let (b, strings) = puppet("b");
    let spec = SupervisorSpec::new("root", [a, b]).unwrap().strategy(Strategy::OneForAll);
    let tree = Tree::builder(spec).seed(5).start().await.unwrap();
    let mut events = tree.events();
    strings.end(End::Error);
    strings.end(End::Error);
    until(&mut events, "root/b restarting 2").await;
    until(&mut events, "root/a exited: shutdown").await;
    assert_eq!((state(&tree, "root/a"), state(&tree, "root/b")), ("stopped".into(), "backoff".into()));
    let begin = Instant::now();
    assert_eq!(until(&mut events, "root/b started 3").await, ["root/a started 3", "root/b started 3"]);
    assert!(!begin.elapsed().is_zero());
}

/// As in OTP: a temporary child goes with its group and stays away, a transient one that had done its work does it again.
#[tokio::test(start_paused = true)]
async fn who_comes_back_with_a_group() {
    let (temporary, _) = puppet("temporary");
    let (transient, done) = puppet("transient");
    let (c, strings) = puppet("c");
    let children = [temporary.restart(Restart::Temporary), transient.restart(Restart::Transient), c];
    let spec = SupervisorSpec::new("root", children).unwrap().strategy(Strategy::OneForAll);
    let tree = Tree::builder(spec).start().await.unwrap();
    let mut events = tree.events();
    done.end(End::Normal);
    until(&mut events, "root/transient exited: normal").await;
    strings.end(End::Error);
    until(&mut events, "root/c started 2").await;
    assert_eq!((state(&tree, "root/temporary"), state(&tree, "root/transient")), ("absent".into(), "running".into()));
}
