//! A writer that does not get to write: what is refused meanwhile, and what is left to whoever closes the store.

use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::task::Release;
use crate::tasks::GiveBack;

/// With one thread to write on.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap()
}

/// Keeps the one thread until told otherwise, once the writer has left it.
fn occupied() -> (mpsc::SyncSender<()>, JoinHandle<()>) {
    let (free, freed) = mpsc::sync_channel(1);
    let (begin, begun) = mpsc::sync_channel(1);
    let occupied = tokio::task::spawn_blocking(move || {
        begin.send(()).unwrap();
        freed.recv().unwrap();
    });
    begun.recv().unwrap();
    (free, occupied)
}

#[test]
fn who_holds_a_claim_may_keep_it_and_give_it_up_whatever_waits() {
    runtime().block_on(async {
        let (_dir, path) = store();
        let broker = open(&path, Options { commands: 1, ..Options::default() }).unwrap();
        let (tasks, spare) = (&broker.tasks, task("r3"));
        assert!(tasks.submit(vec![task("r1"), task("r2")]).await.iter().all(Result::is_ok));
        let mut leases = tasks.claim(claim(2)).await.unwrap();
        let (kept, given) = (leases.remove(0).fence, leases.remove(0).fence);
        let back = GiveBack {
            fence: given,
            reason: Release::Drained,
            error: None,
            delay: Duration::ZERO,
            agent: None,
            begun: true,
        };

        let (free, occupied) = occupied();
        let waits = tasks.submit(vec![spare.clone()]);
        let refused = tasks.submit(vec![task("r4")]);
        let (kept, given) = (tasks.extend(vec![kept]), tasks.release(back));
        free.send(()).unwrap();
        assert!(matches!(refused.await[..], [Err(Error::Busy { .. })]));
        assert!(waits.await[0].is_ok() && kept.await[0].is_ok());
        given.await.unwrap();
        occupied.await.unwrap();
    });
}

#[test]
fn what_was_left_to_the_writer_is_written_though_the_store_is_closed_before_it_begins() {
    runtime().block_on(async {
        let (_dir, path) = store();
        let broker = open(&path, Options::default()).unwrap();
        let (free, occupied) = occupied();
        drop(broker.tasks.submit(vec![task("r1")]));
        drop(broker);
        free.send(()).unwrap();
        occupied.await.unwrap();
        let broker = open(&path, Options::default()).unwrap();
        assert!(broker.tasks.get(vec![task("r1").id]).await.unwrap()[0].is_some());
    });
}

#[test]
fn a_wait_is_as_long_as_asked_though_the_look_before_it_takes_a_while() {
    let paused = Builder::new_current_thread().enable_all().start_paused(true).max_blocking_threads(1).build().unwrap();
    paused.block_on(async {
        let (_dir, path) = store();
        let broker = open(&path, Options::default()).unwrap();
        assert!(broker.tasks.submit(vec![task("r1")]).await[0].is_ok());
        let (free, occupied) = occupied();
        let (tasks, began) = (broker.tasks.clone(), Instant::now());
        let minute = Duration::from_secs(60);
        let wait = tokio::spawn(async move { tasks.wait(vec![task("r1").id], Until::All, minute).await });
        tokio::task::yield_now().await;
        tokio::time::advance(minute).await;
        free.send(()).unwrap();
        assert_eq!(wait.await.unwrap().unwrap().len(), 0);
        assert_eq!(began.elapsed(), minute);
        occupied.await.unwrap();
    });
}

#[test]
fn who_only_looks_for_an_owner_is_not_taken_for_the_dead_one_whose_name_stands_there() {
    let (_dir, path) = store();
    let dead = lock::Owner { pid: 1, socket: Some("/tmp/gone".into()) };
    let beside = file::beside(&path, "-lock");
    std::fs::write(&beside, serde_json::to_vec(&dead).unwrap()).unwrap();
    let looks = std::fs::File::open(&beside).unwrap();
    looks.lock_shared().unwrap();
    let (_lock, before) = take_lock(&path, |_| looks.unlock().unwrap()).unwrap();
    assert_eq!(before, Some(dead));
}

#[test]
fn whose_store_has_an_owner_who_can_be_reached_is_told_so_without_waiting_long() {
    let (_dir, path) = store();
    let lock::Taken::Ours(lock, None) = lock::Lock::take(&path).unwrap() else { panic!("a lock that nobody holds") };
    lock.name(&lock::Owner { pid: 1, socket: Some("/tmp/s".into()) }).unwrap();
    let mut rested = Duration::ZERO;
    let refused = take_lock(&path, |rest| rested += rest);
    assert_eq!(refused.expect_err("must be refused").code(), code::OWNED);
    assert!(rested < Duration::from_millis(50), "{rested:?}");
}
