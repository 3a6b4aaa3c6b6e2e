//! The planner against every order in which tasks may end, on graphs that nobody chose.
//!
//! A simulated orchestrator does what each turn says, ends one of the running tasks at a time in a random order and with a
//! random result, and keeps what happened. The invariants are looked at after every turn; circles are compared with
//! reachability computed the slow way.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Case {
    nodes: Vec<Node>,
    concurrency: usize,
    /// Which of the running tasks ends next, and whether it completes.
    ends: Vec<(usize, bool)>,
}

/// Graphs of up to 12 tasks; edges may go anywhere when `circles`, else only to earlier ones.
fn case(circles: bool) -> impl Strategy<Value = Case> {
    let tasks = proptest::collection::vec((proptest::collection::vec(0usize..12, 0..4), any::<bool>()), 1..12);
    let ends = proptest::collection::vec((any::<usize>(), prop::bool::weighted(0.8)), 12);
    (tasks, 1usize..4, ends).prop_map(move |(tasks, concurrency, ends)| {
        let many = tasks.len();
        let node = |(at, (after, optional)): (usize, (Vec<usize>, bool))| {
            let keep = |dep: &usize| if circles { *dep < many } else { *dep < at };
            let mut after: Vec<usize> = after.into_iter().filter(keep).collect();
            after.sort_unstable();
            after.dedup();
            Node { id: format!("t{at}"), after, optional }
        };
        let nodes = tasks.into_iter().enumerate().map(node).collect();
        Case { nodes, concurrency, ends }
    })
}

/// Runs a workflow to its end; `Err` when it got stuck.
fn run(case: &Case) -> Result<(States, End<'static>), Problem> {
    let graph = Graph::new(case.nodes.clone(), case.concurrency);
    let mut states = States::new();
    let mut ends = case.ends.iter().cycle();
    // Every turn starts, skips or ends something, so this many are enough.
    for _ in 0..=2 * case.nodes.len() {
        let turn = graph.turn(&states)?;
        for (id, why) in &turn.skip {
            let node = &case.nodes[graph.places[*id]];
            assert!(node.after.iter().any(|dep| case.nodes[*dep].id == **why), "{id} was skipped for {why}");
            states.insert((*id).to_owned(), Status::Skipped);
        }
        if let Some(end) = turn.end {
            let names = |ids: Vec<&str>| ids.into_iter().map(|id| -> &str { id.to_owned().leak() }).collect();
            let end = match end {
                End::Completed { without } => End::Completed { without: names(without) },
                End::Failed { tasks } => End::Failed { tasks: names(tasks) },
            };
            return Ok((states, end));
        }
        for id in turn.start {
            let node = &case.nodes[graph.places[id]];
            for dep in &node.after {
                let (dep, status) = (&case.nodes[*dep], states[&case.nodes[*dep].id]);
                assert!(status == Status::Completed || (dep.optional && status.is_final()), "{id} began too early");
            }
            assert!(states.insert(id.to_owned(), Status::InProgress).is_none(), "{id} was started twice");
        }
        let at_work: Vec<String> =
            states.iter().filter(|(_, status)| **status == Status::InProgress).map(|(id, _)| id.clone()).collect();
        assert!(at_work.len() <= case.concurrency, "{} at work", at_work.len());
        if !at_work.is_empty() {
            let (which, completes) = ends.next().expect("a cycle has no end");
            let status = if *completes { Status::Completed } else { Status::Failed };
            states.insert(at_work[which % at_work.len()].clone(), status);
        }
    }
    panic!("it did not end");
}

/// Whether each task can reach each other along its dependencies: the slow and certain way.
fn reaches(nodes: &[Node]) -> Vec<Vec<bool>> {
    let mut reach: Vec<Vec<bool>> =
        nodes.iter().map(|node| (0..nodes.len()).map(|at| node.after.contains(&at)).collect()).collect();
    for via in 0..nodes.len() {
        for from in 0..nodes.len() {
            for to in 0..nodes.len() {
                reach[from][to] |= reach[from][via] && reach[via][to];
            }
        }
    }
    reach
}

proptest! {
    #[test]
    fn every_workflow_ends_with_every_task_in_its_place(case in case(false)) {
        let (states, end) = run(&case).expect("a graph without circles cannot get stuck");
        prop_assert_eq!(states.len(), case.nodes.len());
        let lost = |node: &Node| !node.optional && states[&node.id] != Status::Completed;
        for node in &case.nodes {
            let wanted = node.after.iter().any(|dep| lost(&case.nodes[*dep]));
            prop_assert_eq!(states[&node.id] == Status::Skipped, wanted, "{} is {}", node.id, states[&node.id]);
        }
        match end {
            End::Completed { without } => {
                prop_assert!(case.nodes.iter().all(|node| !lost(node)));
                prop_assert!(without.iter().all(|id| states[*id] != Status::Completed));
            }
            End::Failed { tasks } => {
                prop_assert!(!tasks.is_empty());
                prop_assert!(tasks.iter().all(|id| states[*id] == Status::Failed));
            }
        }
    }

    #[test]
    fn circles_are_found_exactly_where_a_task_reaches_itself(case in case(true)) {
        let reach = reaches(&case.nodes);
        let found = circles(&case.nodes);
        prop_assert_eq!(found.is_empty(), (0..case.nodes.len()).all(|at| !reach[at][at]));
        for circle in &found {
            for (n, at) in circle.iter().enumerate() {
                let next = circle[(n + 1) % circle.len()];
                prop_assert!(case.nodes[*at].after.contains(&next), "{:?} is no circle", circle);
            }
        }
        // A task in a circle can neither start nor be skipped for another reason than a failure before the circle.
        let all_complete = Case { ends: vec![(0, true); 12], ..case };
        prop_assert_eq!(run(&all_complete).is_err(), !found.is_empty());
    }

    #[test]
    fn ids_come_after_what_they_wait_for(case in case(false)) {
        let graph = Graph::new(case.nodes.clone(), 1);
        let order: Vec<&str> = graph.ids().collect();
        let at = |id: &str| order.iter().position(|known| *known == id).unwrap();
        for id in &order {
            prop_assert!(graph.after(id).all(|dep| at(dep) < at(id)));
        }
    }
}

fn node(id: &str, after: &[usize], optional: bool) -> Node {
    Node { id: id.into(), after: after.into(), optional }
}

fn states(of: &[(&str, Status)]) -> States {
    of.iter().map(|(id, status)| ((*id).to_owned(), *status)).collect()
}

#[test]
fn a_task_starts_when_its_own_dependencies_end_not_in_waves() {
    let graph = Graph::new(vec![node("a", &[], false), node("slow", &[], false), node("b", &[0], false)], 10);
    assert_eq!(graph.turn(&States::new()).unwrap().start, ["a", "slow"]);
    let now = states(&[("a", Status::Completed), ("slow", Status::InProgress)]);
    assert_eq!(graph.turn(&now).unwrap().start, ["b"]);
}

#[test]
fn a_failure_skips_what_depends_on_it_and_nothing_else() {
    let nodes = vec![node("a", &[], false), node("b", &[0], false), node("c", &[1], false), node("d", &[], false)];
    let graph = Graph::new(nodes, 10);
    let turn = graph.turn(&states(&[("a", Status::Expired)])).unwrap();
    assert_eq!((turn.skip, turn.start, turn.end), (vec![("b", "a"), ("c", "b")], vec!["d"], None));
    let turn = graph.turn(&states(&[("a", Status::Cancelled), ("d", Status::Completed)])).unwrap();
    assert_eq!(turn.end, Some(End::Failed { tasks: vec!["a"] }));
}

#[test]
fn the_workflow_goes_on_without_an_optional_task() {
    let graph = Graph::new(vec![node("a", &[], true), node("b", &[0], false)], 10);
    assert_eq!(graph.turn(&states(&[("a", Status::Failed)])).unwrap().start, ["b"]);
    let turn = graph.turn(&states(&[("a", Status::Failed), ("b", Status::Completed)])).unwrap();
    assert_eq!(turn.end, Some(End::Completed { without: vec!["a"] }));
}

#[test]
fn an_unchecked_circle_is_an_error_and_no_wait() {
    let graph = Graph::new(vec![node("a", &[1], false), node("b", &[0], false), node("c", &[], false)], 10);
    assert_eq!(graph.turn(&States::new()).unwrap().start, ["c"]);
    let stuck = graph.turn(&states(&[("c", Status::Completed)])).unwrap_err();
    assert_eq!(stuck.code, code::STUCK);
    assert!(stuck.what.contains("a, b"), "{}", stuck.what);
}

#[test]
fn a_long_chain_needs_no_deep_stack() {
    let nodes: Vec<Node> =
        (0..10_000).map(|at| node(&format!("t{at}"), &[at + 1][..usize::from(at < 9_999)], false)).collect();
    assert!(circles(&nodes).is_empty());
    let graph = Graph::new(nodes, 1);
    assert_eq!(graph.turn(&States::new()).unwrap().start, ["t9999"]);
    let turn = graph.turn(&states(&[("t9999", Status::Failed)])).unwrap();
    assert_eq!(turn.skip.len(), 9_999);
}
