//! Many threads, children that fail at any point of their life, kills at any moment: no exit is lost and nothing is left
//! over. Real time and real threads, because the races between a start and an exit are what is looked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callboard::tree::{
    ChildInfo, ChildSpec, ChildState, ExitReason, Intensity, Strategy, SupervisorSpec, Tree, TreeError,
};

/// Each failure uses up one life; without any left a child runs until it is stopped.
fn mortal(id: &str, lives: &Arc<AtomicU64>) -> ChildSpec {
    let lives = lives.clone();
    ChildSpec::task(id, move |mut ctx| {
        let lives = lives.clone();
        async move {
            let die = move || lives.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).ok();
            let fate = if ctx.attempt() == 1 { Some(3) } else { die() };
            match fate.map(|left| left % 5) {
                Some(0) => return Err("at the start".into()),
                Some(1) => panic!("at the start"),
                Some(2) => tokio::task::yield_now().await,
                _ => {}
            }
            Ok(async move {
                match fate.map(|left| left % 5) {
                    Some(2) => Err("at once".into()),
                    Some(3) => {
                        tokio::task::yield_now().await;
                        panic!("a little later")
                    }
                    Some(_) => Ok(()),
                    None => {
                        ctx.stopping().await;
                        Ok(())
                    }
                }
            })
        }
    })
}

fn all_run(child: &ChildInfo) -> bool {
    child.state == ChildState::Running && child.children().iter().all(all_run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_exit_is_lost_and_nothing_is_left_over() {
    let lives = Arc::new(AtomicU64::new(600));
    let often = Intensity::new(10_000, Duration::from_secs(60)).unwrap();
    let supervisor = |id: &str, strategy, children: Vec<ChildSpec>| {
        let spec = SupervisorSpec::new(id, children).unwrap().strategy(strategy).intensity(often).backoff(None);
        spec.max_failed_starts(10_000).unwrap()
    };
    let workers = |lives: &Arc<AtomicU64>| (0..5).map(|n| mortal(&format!("w{n}"), lives)).collect();
    let leads = [("one", Strategy::OneForOne), ("all", Strategy::OneForAll), ("rest", Strategy::RestForOne)];
    let idle = Arc::new(AtomicU64::new(0));
    // One half fails once and is killed now and then, the other fails in every way until it has no life left.
    let children = leads.map(|(id, strategy)| ChildSpec::supervisor(supervisor(id, strategy, workers(&idle))));
    let tree = Tree::builder(supervisor("root", Strategy::OneForOne, children.into())).start().await.unwrap();
    for (id, strategy) in leads {
        // A start that its group's restart interrupts is no first start: the next may fail, and its supervisor with it.
        loop {
            let more = supervisor(&format!("more-{id}"), strategy, workers(&lives));
            match tree.start_child("root", ChildSpec::supervisor(more)).await {
                Ok(()) => break,
                Err(error) => assert!(matches!(error, TreeError::Start { .. }), "{error}"),
            }
        }
    }
    let mut at = 0_usize;
    while lives.load(Ordering::SeqCst) > 0 {
        at += 1;
        let (lead, _) = leads[at % leads.len()];
        // Often there is nothing to kill there at the moment.
        let _ = tree.kill(&format!("root/more-{lead}/w{}", at % 5));
        let _ = tree.kill(&format!("root/{lead}/w{}", at % 4));
        tokio::task::yield_now().await;
    }
    let calm = async {
        while !all_run(&tree.info().root) {
            tokio::task::yield_now().await;
        }
    };
    let calm = tokio::time::timeout(Duration::from_secs(30), calm).await;
    assert!(calm.is_ok(), "{}", serde_json::to_string_pretty(&tree.info()).unwrap());

    let ended = tokio::time::timeout(Duration::from_secs(30), tree.stop()).await;
    assert_eq!(ended, Ok(ExitReason::Shutdown));
    assert_eq!(tree.info().zombies, 0);
    assert_eq!((Arc::strong_count(&lives), Arc::strong_count(&idle)), (1, 1), "specs and tasks are gone");
}
