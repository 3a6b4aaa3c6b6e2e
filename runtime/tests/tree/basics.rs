use callboard::tree::{ExitReason, SupervisorSpec, Tree, TreeError};

use crate::stage::{End, puppet, state, until};

#[tokio::test(start_paused = true)]
async fn starts_in_order_restarts_one_and_stops_in_reverse() {
    let (a, _) = puppet("a");
    let (b, b_strings) = puppet("b");
    let builder = Tree::builder(SupervisorSpec::new("root", [a, b]).unwrap());
    let mut events = builder.events();
    let tree = builder.start().await.unwrap();
    assert_eq!(until(&mut events, "root started 1").await, ["root/a started 1", "root/b started 1", "root started 1"]);

    b_strings.end(End::Panic);
    assert_eq!(
        until(&mut events, "root/b started 2").await,
        ["root/b exited: panic: told to panic", "root/b restarting 1", "root/b started 2"]
    );
    let info = tree.info();
    assert_eq!(info.root.supervisor.as_ref().map(|s| (s.restarts, s.max_restarts)), Some((1, 5)));
    assert_eq!(
        info.root.find("root/b").and_then(|b| b.last_exit.clone()),
        Some(ExitReason::Panic("told to panic".into()))
    );

    assert_eq!(tree.stop().await, ExitReason::Shutdown);
    assert_eq!(
        until(&mut events, "root exited: shutdown").await,
        ["root/b exited: shutdown", "root/a exited: shutdown", "root exited: shutdown"]
    );
    assert_eq!(state(&tree, "root/a"), "stopped");
}

#[tokio::test(start_paused = true)]
async fn a_first_start_that_fails_is_the_failure_of_the_tree() {
    let (a, _) = puppet("a");
    let (b, b_strings) = puppet("b");
    b_strings.fail_starts(1);
    let below = SupervisorSpec::new("lead", [b]).unwrap();
    let spec = SupervisorSpec::new("root", [a, callboard::tree::ChildSpec::supervisor(below)]).unwrap();
    let error = Tree::builder(spec).start().await.unwrap_err();
    let reason = ExitReason::StartFailed("lead: b: no luck today".into());
    assert_eq!(error, TreeError::Start { path: "root".into(), reason });
}
