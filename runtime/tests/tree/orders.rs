//! Children come and go while the tree runs; trees do not know of each other; a reader that is slow knows what it missed.

use std::sync::Arc;

use callboard::tree::{ChildSpec, ChildStats, ExitReason, Fault, SupervisorSpec, Tree, TreeError, TreeInfo};

use crate::stage::{End, puppet, settled, state, until};

async fn pool() -> Tree {
    let (a, _) = puppet("a");
    let pool = ChildSpec::supervisor(SupervisorSpec::new("pool", []).unwrap().max_children(2));
    Tree::builder(SupervisorSpec::new("root", [a, pool]).unwrap()).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn children_are_added_and_taken_away() {
    let tree = pool().await;
    let (one, strings) = puppet("w#1");
    tree.start_child("root/pool", one.clone()).await.unwrap();
    tree.start_child("root/pool", puppet("w#2").0).await.unwrap();
    assert_eq!(state(&tree, "root/pool/w#1"), "running");

    let text = |result: Result<(), TreeError>| result.unwrap_err().to_string();
    assert_eq!(text(tree.start_child("root/pool", one).await), "there is already a child root/pool/w#1");
    let third = puppet("w#3").0;
    assert_eq!(text(tree.start_child("root/pool", third).await), "root/pool holds 2 children and may not hold more");
    assert_eq!(text(tree.start_child("root/a", puppet("b").0).await), "root/a is a worker and holds no children");
    assert_eq!(text(tree.start_child("root/nobody", puppet("b").0).await), "there is no child root/nobody");
    assert_eq!(text(tree.terminate_child("root/pool/w#9").await), "there is no child root/pool/w#9");
    assert_eq!(text(tree.kill("root/pool/w#9")), "there is no child root/pool/w#9");

    let mut events = tree.events();
    strings.end(End::Error);
    until(&mut events, "root/pool/w#1 started 2").await;
    tree.terminate_child("root/pool/w#1").await.unwrap();
    assert_eq!(state(&tree, "root/pool/w#1"), "absent");
    tree.start_child("root/pool", puppet("w#3").0).await.unwrap();

    tree.stop().await;
    assert_eq!(text(tree.start_child("root", puppet("b").0).await), "supervisor root is not running");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_added_leaves_when_it_ends_for_good_and_is_not_added_when_it_cannot_start() {
    let tree = pool().await;
    let (one, strings) = puppet("job");
    strings.fail_starts(1);
    let refused = tree.start_child("root/pool", one.clone()).await;
    let reason = ExitReason::StartFailed("no luck today".into());
    assert_eq!(refused, Err(TreeError::Start { path: "root/pool/job".into(), reason }));
    assert_eq!(state(&tree, "root/pool/job"), "absent");

    tree.start_child("root/pool", one.restart(callboard::tree::Restart::Transient)).await.unwrap();
    strings.end(End::Normal);
    settled().await;
    assert_eq!(state(&tree, "root/pool/job"), "absent");
    let info = tree.info();
    assert_eq!(info.root.find("root/pool").map(|pool| pool.children().len()), Some(0));
}

#[tokio::test(start_paused = true)]
async fn two_trees_of_the_same_names_do_not_collide() {
    let (a, strings) = puppet("a");
    let spec = SupervisorSpec::new("root", [a]).unwrap();
    let one = Tree::builder(spec.clone()).start().await.unwrap();
    let (b, _) = puppet("a");
    let two = Tree::builder(SupervisorSpec::new("root", [b]).unwrap()).start().await.unwrap();
    let (mut of_one, mut of_two) = (one.events(), two.events());
    strings.end(End::Error);
    until(&mut of_one, "root/a started 2").await;
    one.stop().await;
    assert_eq!(of_two.try_next(), None);
    assert_eq!(state(&two, "root/a"), "running");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_knows_what_it_missed() {
    let (a, strings) = puppet("a");
    let spec = SupervisorSpec::new("root", [a]).unwrap();
    let builder = Tree::builder(spec).event_capacity(4);
    let mut slow = builder.events();
    let tree = builder.start().await.unwrap();
    let mut quick = tree.events();
    strings.end(End::Error);
    until(&mut quick, "root/a started 2").await;
    strings.end(End::Error);
    until(&mut quick, "root/a started 3").await;
    // Two of the start and three for each restart were sent; four are kept.
    assert_eq!(until(&mut slow, "root/a started 3").await.len(), 4);
    assert_eq!((slow.lagged(), quick.lagged()), (4, 0));
}

struct Figures;

impl ChildStats for Figures {
    fn stats(&self) -> serde_json::Value {
        serde_json::json!({ "running": 3, "waiting": 12 })
    }

    fn draining(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_what_a_child_publishes_and_survives_json() {
    let child = ChildSpec::task("cell", |ctx| async move {
        ctx.publish(Arc::new(Figures));
        Ok(async move { std::future::pending::<Result<(), Fault>>().await })
    });
    let tree = Tree::builder(SupervisorSpec::new("root", [child]).unwrap()).start().await.unwrap();
    let json = serde_json::to_value(tree.info()).unwrap();
    let cell = &json["root"]["children"][0];
    assert_eq!((&cell["state"], &cell["stats"]["waiting"]), (&"draining".into(), &12.into()));
    assert_eq!((&json["root"]["strategy"], &json["root"]["max_restarts"]), (&"one_for_one".into(), &5.into()));
    let back: TreeInfo = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(back).unwrap(), json);
}
