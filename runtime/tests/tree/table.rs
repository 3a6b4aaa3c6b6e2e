//! Every restart type, every way to end, three strategies.
//!
//! The middle one of three children ends; then the table says who is restarted. The children before and after it are
//! permanent, so each shows by its number of starts whether it took part.

use callboard::tree::{ChildSpec, Restart, Strategy, SupervisorSpec, Tree};

use crate::stage::{End, puppet, settled, state};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Itself(End),
    Killed,
    /// It fails, and the start that follows fails once.
    FailingStart,
}

const WAYS: [Way; 5] =
    [Way::Itself(End::Normal), Way::Itself(End::Error), Way::Itself(End::Panic), Way::Killed, Way::FailingStart];
const RESTARTS: [Restart; 3] = [Restart::Permanent, Restart::Transient, Restart::Temporary];
const STRATEGIES: [Strategy; 3] = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];

/// The state of the middle child and the number of starts of each, afterwards.
fn expected(restart: Restart, way: Way, strategy: Strategy) -> (&'static str, [u64; 3]) {
    let again = match restart {
        Restart::Permanent => true,
        Restart::Transient => way != Way::Itself(End::Normal),
        Restart::Temporary => false,
    };
    if !again {
        return (if restart == Restart::Temporary { "absent" } else { "stopped" }, [1, 1, 1]);
    }
    // A group that falls back because a start in its middle failed has not come to its last child yet.
    let (own, before) = if way == Way::FailingStart { (3, 3) } else { (2, 2) };
    match strategy {
        Strategy::OneForOne => ("running", [1, own, 1]),
        Strategy::OneForAll => ("running", [before, own, 2]),
        Strategy::RestForOne => ("running", [1, own, 2]),
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_restarted() {
    for restart in RESTARTS {
        for way in WAYS {
            for strategy in STRATEGIES {
                let case = format!("{restart:?} {way:?} {strategy:?}");
                let seen = run(restart, way, strategy).await;
                let (state, starts) = expected(restart, way, strategy);
                let own = if state == "absent" { 0 } else { starts[1] };
                assert_eq!(seen, (state.to_owned(), [starts[0], own, starts[2]]), "{case}");
            }
        }
    }
}

async fn run(restart: Restart, way: Way, strategy: Strategy) -> (String, [u64; 3]) {
    let (a, _) = puppet("a");
    let (b, strings) = puppet("b");
    let (c, _) = puppet("c");
    let children: [ChildSpec; 3] = [a, b.restart(restart), c];
    let spec = SupervisorSpec::new("root", children).unwrap().strategy(strategy);
    let tree = Tree::builder(spec).seed(1).start().await.unwrap();
    match way {
        Way::Itself(end) => strings.end(end),
        Way::Killed => tree.kill("root/b").unwrap(),
        Way::FailingStart => {
            strings.fail_starts(1);
            strings.end(End::Error);
        }
    }
    settled().await;
    let starts = |path: &str| tree.info().root.find(path).map_or(0, |child| child.starts);
    (state(&tree, "root/b"), [starts("root/a"), starts("root/b"), starts("root/c")])
}
