//! A supervisor that cannot help gives up, level by level, up to whoever waits for the root.

use std::time::Duration;

use callboard::tree::{Backoff, ChildSpec, Exceeded, ExitReason, Intensity, Restart, SupervisorSpec, Tree};

use crate::stage::{End, puppet, state, until};

fn at_most(restarts: u32) -> Intensity {
    Intensity::new(restarts, Duration::from_secs(30)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn level_by_level_to_the_root() {
    let (a, _) = puppet("a");
    let (b, strings) = puppet("b");
    let lead = SupervisorSpec::new("lead", [a, b]).unwrap().intensity(at_most(1)).backoff(None);
    let exec = SupervisorSpec::new("exec", [ChildSpec::supervisor(lead)]).unwrap().intensity(at_most(1)).backoff(None);
    let root = SupervisorSpec::new("root", [ChildSpec::supervisor(exec)]).unwrap().intensity(at_most(0));
    let tree = Tree::builder(root).start().await.unwrap();
    let mut events = tree.events();

    // Two failures are one too many for the lead; exec restarts it once, then gives up, and the root allows nothing.
    strings.end(End::Error);
    strings.end(End::Error);
    let seen = until(&mut events, "root/exec/lead started 2").await;
    let order = ["root/exec/lead/b escalated", "root/exec/lead/a exited: shutdown", "root/exec/lead restarting 1"];
    let at = |line: &str| seen.iter().position(|seen| seen == line).unwrap_or_else(|| panic!("{line} in {seen:#?}"));
    assert!(order.is_sorted_by_key(|line| at(line)), "{seen:#?}");

    strings.end(End::Error);
    strings.end(End::Panic);
    let reason = tree.ended().await;
    assert_eq!(reason.root_cause(), &ExitReason::Panic("told to panic".into()));
    let told = "exec/lead/b failed too often, at last with panic: told to panic; failures: \
                lead 2 in 30s, exec 2 in 30s, root 1 in 30s";
    assert_eq!(reason.to_string(), told);
    assert_eq!(reason.exit_code(), 70);
    let seen = until(&mut events, "root/exec escalated").await;
    assert!(seen.contains(&"root/exec/lead escalated".to_owned()), "{seen:#?}");
    assert_eq!(state(&tree, "root"), "failed");
}

#[tokio::test(start_paused = true)]
async fn restarts_are_forgotten_after_the_period() {
    let (a, strings) = puppet("a");
    let spec = SupervisorSpec::new("root", [a]).unwrap().intensity(at_most(1));
    let tree = Tree::builder(spec).start().await.unwrap();
    let mut events = tree.events();
    for start in 2..6 {
        strings.end(End::Error);
        until(&mut events, &format!("root/a started {start}")).await;
        let used = |tree: &Tree| tree.info().root.supervisor.map(|supervisor| supervisor.restarts);
        assert_eq!(used(&tree), Some(1));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(used(&tree), Some(0));
    }
}

/// With waits longer than the period no intensity is ever exceeded.
#[tokio::test(start_paused = true)]
async fn a_row_of_failed_starts_escalates_whatever_the_backoff() {
    let (a, strings) = puppet("a");
    let spec = SupervisorSpec::new("root", [a])
        .unwrap()
        .backoff(Backoff::new(Duration::from_secs(600), Duration::from_secs(600)).unwrap())
        .max_failed_starts(4)
        .unwrap();
    let tree = Tree::builder(spec).seed(3).start().await.unwrap();
    strings.fail_starts(u32::MAX);
    strings.end(End::Error);
    let failed = ExitReason::StartFailed("no luck today".into());
    let exceeded = Exceeded { child: "a".into(), times: 4, within_ms: None, last: failed };
    assert_eq!(tree.ended().await, ExitReason::IntensityExceeded(Box::new(exceeded)));
    assert_eq!(tree.info().root.find("root/a").map(|child| child.starts), Some(1 + 4));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_killed_comes_back_with_all_its_children() {
    let (a, _) = puppet("a");
    let lead = SupervisorSpec::new("lead", [a]).unwrap();
    let spec = ChildSpec::supervisor(lead).restart(Restart::Transient);
    let tree = Tree::builder(SupervisorSpec::new("root", [spec]).unwrap()).start().await.unwrap();
    let mut events = tree.events();
    tree.kill("root/lead").unwrap();
    let seen = until(&mut events, "root/lead started 2").await;
    assert_eq!(seen[0], "root/lead exited: killed");
    assert_eq!(state(&tree, "root/lead/a"), "running");
}
