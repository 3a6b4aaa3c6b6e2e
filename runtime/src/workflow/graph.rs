//! Which task waits for which, and what may start now.
//!
//! The planner is a function of the graph and of where each task stands, and remembers nothing: an orchestrator that was
//! killed reads the states from the run log, asks again, and goes on where the other one was. A task starts as soon as
//! its own dependencies have ended, not in waves.

use std::collections::{BTreeMap, HashMap};

use callboard_broker::code;
use callboard_broker::problem::Problem;
use callboard_broker::task::Status;

#[cfg(test)]
mod tests;

/// The tasks of a workflow with their dependencies.
#[derive(Clone, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    places: HashMap<String, usize>,
    /// Dependencies first; tasks in or behind a circle last.
    order: Vec<usize>,
    concurrency: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    /// Positions of the tasks that must have ended before, ascending, each once.
    pub(crate) after: Vec<usize>,
    /// Whether the workflow goes on when the task yields nothing.
    pub(crate) optional: bool,
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn<'g> {
    /// The tasks to start, in the order of the document, as many as may be at work at once.
    pub start: Vec<&'g str>,
    /// The tasks that cannot be done any more, each with the one on whose account.
    pub skip: Vec<(&'g str, &'g str)>,
    /// How the workflow ended, once `skip` is recorded.
    pub end: Option<End<'g>>,
}

/// How a workflow ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<'g> {
    /// Every task completed, apart from these, without which the workflow could go on.
    Completed {
        /// Optional tasks that yielded nothing: the result is degraded when there are any.
        without: Vec<&'g str>,
    },
    /// These tasks ended otherwise; those skipped on their account are not among them.
    Failed {
        /// Never empty.
        tasks: Vec<&'g str>,
    },
}

/// Where each task stands, by id; a task that is not there is pending.
pub type States = BTreeMap<String, Status>;

impl Graph {
    pub(crate) fn new(nodes: Vec<Node>, concurrency: usize) -> Self {
        let places = nodes.iter().enumerate().map(|(at, node)| (node.id.clone(), at)).collect();
        let mut order = peel(&nodes, &vec![false; nodes.len()]);
        let mut seen = vec![false; nodes.len()];
        order.iter().for_each(|at| seen[*at] = true);
        order.extend((0..nodes.len()).filter(|at| !seen[*at]));
        Graph { nodes, places, order, concurrency: concurrency.max(1) }
    }

    /// The ids of all tasks, dependencies before what depends on them.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(|at| self.id(*at))
    }

    /// The tasks that must have ended before this one starts.
    pub fn after(&self, id: &str) -> impl Iterator<Item = &str> {
        let node = self.places.get(id).map(|at| &self.nodes[*at]);
        node.into_iter().flat_map(|node| &node.after).map(|at| self.id(*at))
    }

    /// The tasks on which no other depends, in the order of the document.
    pub fn ends(&self) -> Vec<&str> {
        let mut needed = vec![false; self.nodes.len()];
        self.nodes.iter().flat_map(|node| &node.after).for_each(|at| needed[*at] = true);
        (0..self.nodes.len()).filter(|at| !needed[*at]).map(|at| self.id(at)).collect()
    }

    /// How many tasks may be at work at once.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// What is to be done, given where each task stands.
    ///
    /// # Errors
    /// [`code::STUCK`] when nothing is at work, nothing can start and something is not finished. That cannot happen to a
    /// graph that was checked; it is reported rather than waited out should one ever come without.
    pub fn turn(&self, states: &States) -> Result<Turn<'_>, Problem> {
        let mut now: Vec<Status> =
            self.nodes.iter().map(|node| states.get(&node.id).copied().unwrap_or(Status::Pending)).collect();
        let mut turn = Turn::default();
        for at in &self.order {
            let node = &self.nodes[*at];
            let lost = node.after.iter().find(|dep| self.is_lost(**dep, now[**dep]));
            if let (Status::Pending, Some(dep)) = (now[*at], lost) {
                now[*at] = Status::Skipped;
                turn.skip.push((&node.id, self.id(*dep)));
            }
        }
        let at_work = now.iter().filter(|status| **status == Status::InProgress).count();
        let ready = |(at, node): &(usize, &Node)| {
            now[*at] == Status::Pending && node.after.iter().all(|dep| now[*dep].is_final())
        };
        let room = self.concurrency.saturating_sub(at_work);
        turn.start = self.nodes.iter().enumerate().filter(ready).map(|(_, node)| node.id.as_str()).take(room).collect();
        if now.iter().all(|status| status.is_final()) {
            turn.end = Some(self.end(&now));
        } else if at_work == 0 && turn.start.is_empty() && turn.skip.is_empty() {
            return Err(self.stuck(&now));
        }
        Ok(turn)
    }

    fn end(&self, now: &[Status]) -> End<'_> {
        let ids = |wanted: &dyn Fn(&Node, Status) -> bool| {
            let nodes = self.nodes.iter().zip(now).filter(|(node, status)| wanted(node, **status));
            nodes.map(|(node, _)| node.id.as_str()).collect::<Vec<_>>()
        };
        let tasks = ids(&|node, status| !node.optional && !matches!(status, Status::Completed | Status::Skipped));
        if tasks.is_empty() {
            return End::Completed { without: ids(&|_, status| status != Status::Completed) };
        }
        End::Failed { tasks }
    }

    /// Whether a task has ended so that what depends on it can never start.
    fn is_lost(&self, at: usize, status: Status) -> bool {
        status.is_final() && status != Status::Completed && !self.nodes[at].optional
    }

    fn stuck(&self, now: &[Status]) -> Problem {
        let waits: Vec<&str> = (0..now.len()).filter(|at| !now[*at].is_final()).map(|at| self.id(at)).collect();
        let what = format!("the workflow cannot go on: {} waits for something that will not come", waits.join(", "));
        Problem::new(code::STUCK, what)
    }

    fn id(&self, at: usize) -> &str {
        &self.nodes[at].id
    }
}

/// Circles of tasks that wait for each other, each told once, from its first task in the document on: every task waits for
/// the next, and the last for the first. Circles that share a task are told one at a time.
pub(crate) fn circles(nodes: &[Node]) -> Vec<Vec<usize>> {
    let mut gone = vec![false; nodes.len()];
    let mut circles = Vec::new();
    loop {
        peel(nodes, &gone).into_iter().for_each(|at| gone[at] = true);
        let Some(mut at) = (0..nodes.len()).find(|at| !gone[*at]) else { return circles };
        // Whatever is left waits for something that is left: a walk along that must come back to where it was.
        let mut walk: Vec<usize> = Vec::new();
        let from = loop {
            if let Some(from) = walk.iter().position(|seen| *seen == at) {
                break from;
            }
            walk.push(at);
            let Some(next) = nodes[at].after.iter().find(|dep| !gone[**dep]) else { return circles };
            at = *next;
        };
        let mut circle = walk.split_off(from);
        let first = circle.iter().enumerate().min_by_key(|(_, at)| **at).map_or(0, |(n, _)| n);
        circle.rotate_left(first);
        circle.iter().for_each(|at| gone[*at] = true);
        circles.push(circle);
    }
}

/// The tasks that can be done one after the other when those that are `gone` need nothing and give all, in such an order.
fn peel(nodes: &[Node], gone: &[bool]) -> Vec<usize> {
    let mut waits: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut wakes = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let open = node.after.iter().filter(|dep| !gone[**dep]);
        waits.push(open.clone().count());
        open.for_each(|dep| wakes[*dep].push(at));
    }
    let mut done: Vec<usize> = (0..nodes.len()).filter(|at| !gone[*at] && waits[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = done.get(next).copied() {
        next += 1;
        for woken in &wakes[at] {
            waits[*woken] -= 1;
            if waits[*woken] == 0 && !gone[*woken] {
                done.push(*woken);
            }
        }
    }
    done
}
