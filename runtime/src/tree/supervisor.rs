//! The supervisor as an actor: it turns messages and exits into inputs of its [`Plan`] and runs the actions.
//!
//! It never waits. Starts, stops and backoffs run as tasks that it owns and that report back by message; they are
//! aborted with it. So it answers at any moment, and a child that hangs holds up nobody but those that must follow it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::child::{Seat, StartCtx};
use super::decide::Policy;
use super::event::Happening;
use super::exit::{ExitReason, Fault, SHUTDOWN};
use super::node::{Mark, Node, Restarts};
use super::ops;
use super::plan::{Action, Input, Key, Plan, Ticket};
use super::policy::Jitter;
use super::root::TreeError;
use super::spec::{ChildSpec, StartFuture, SupervisorSpec};

pub(crate) type Reply = oneshot::Sender<Result<(), TreeError>>;

/// What a supervisor is told. Exits of children come as supervision events, before any of these.
#[derive(Debug)]
pub(crate) enum SupMsg {
    StartDone(Ticket, Result<(), ExitReason>),
    StopDone(Ticket, ExitReason),
    Due(Ticket),
    /// Adds a child after all others; answered when it runs.
    StartChild(ChildSpec, Reply),
    /// Stops a child by its id and forgets it; answered when it is gone.
    TerminateChild(String, Reply),
    /// Stops all children in order, then itself.
    Shutdown,
}

/// Starts a supervisor as a child; done when all its children have been started once.
pub(crate) fn start(spec: Arc<SupervisorSpec>, ctx: StartCtx) -> StartFuture {
    Box::pin(async move {
        let (ready, started) = oneshot::channel();
        ctx.spawn(Supervisor, Arguments { spec, node: ctx.node().clone(), ready }).await?;
        match started.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(reason.into()),
            Err(_) => Err(Fault::from("the supervisor ended while it started its children")),
        }
    })
}

struct Supervisor;

struct Arguments {
    spec: Arc<SupervisorSpec>,
    node: Arc<Node>,
    ready: oneshot::Sender<Result<(), ExitReason>>,
}

struct Child {
    spec: ChildSpec,
    node: Arc<Node>,
    seat: Seat,
    /// The task of its start or backoff.
    task: Option<AbortHandle>,
    /// Who asked for it and waits until it runs.
    starting: Option<Reply>,
    /// Who waits until it is gone.
    ending: Vec<Reply>,
}

struct State {
    spec: Arc<SupervisorSpec>,
    node: Arc<Node>,
    plan: Plan,
    children: HashMap<Key, Child>,
    ops: JoinSet<()>,
    jitter: Jitter,
    ready: Option<oneshot::Sender<Result<(), ExitReason>>>,
}

impl Actor for Supervisor {
    type Msg = SupMsg;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(&self, _: ActorRef<SupMsg>, args: Arguments) -> Result<State, ActorProcessingErr> {
        let Arguments { spec, node, ready } = args;
        let policy = Policy {
            strategy: spec.strategy,
            intensity: spec.intensity,
            backoff: spec.backoff,
            max_failed_starts: spec.max_failed_starts,
        };
        node.clear();
        let mut state = State {
            plan: Plan::new(policy, spec.stop_together),
            jitter: Jitter::seeded(node.board().seed_for(node.path())),
            children: HashMap::new(),
            ops: JoinSet::new(),
            ready: Some(ready),
            spec,
            node,
        };
        state.publish_restarts();
        for child in state.spec.clone().children.iter() {
            state.add(child.clone(), None);
        }
        Ok(state)
    }

    async fn post_start(&self, myself: ActorRef<SupMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.step(&myself, Input::Begin)
    }

    async fn handle(&self, me: ActorRef<SupMsg>, message: SupMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        while state.ops.try_join_next().is_some() {}
        match message {
            SupMsg::StartDone(ticket, Ok(())) => state.step(&me, Input::Started(ticket)),
            SupMsg::StartDone(ticket, Err(reason)) => state.step(&me, Input::StartFailed(ticket, reason)),
            SupMsg::StopDone(ticket, reason) => state.step(&me, Input::Stopped(ticket, reason)),
            SupMsg::Due(ticket) => state.step(&me, Input::Due(ticket)),
            SupMsg::StartChild(spec, reply) => state.start_child(&me, spec, reply),
            SupMsg::TerminateChild(id, reply) => state.terminate_child(&me, &id, reply),
            SupMsg::Shutdown => state.step(&me, Input::Shutdown),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<SupMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some((actor, reason)) = ExitReason::of_event(event) else { return Ok(()) };
        match state.key_of(actor) {
            Some(key) => {
                state.clear(key);
                state.step(&me, Input::Exited(key, reason))
            }
            None => Ok(()),
        }
    }
}

impl State {
    fn add(&mut self, spec: ChildSpec, starting: Option<Reply>) {
        let node = Node::new(self.node.board().clone(), Some(&self.node), &spec);
        let key = self.plan.add(spec.id.clone(), spec.restart, starting.is_some());
        self.node.add(node.clone());
        let child = Child { spec, node, seat: Seat::new(), task: None, starting, ending: Vec::new() };
        self.children.insert(key, child);
    }

    fn key_of(&self, actor: ActorId) -> Option<Key> {
        let sits = |child: &Child| child.seat.actor().is_some_and(|cell| cell.get_id() == actor);
        self.children.iter().find(|(_, child)| sits(child)).map(|(key, _)| *key)
    }

    fn start_child(&mut self, me: &ActorRef<SupMsg>, spec: ChildSpec, reply: Reply) -> Result<(), ActorProcessingErr> {
        let path = || format!("{}/{}", self.node.path(), spec.id);
        let refusal = if self.plan.is_closing() {
            Some(TreeError::Stopping { path: self.node.path().to_string() })
        } else if self.children.values().any(|child| child.spec.id == spec.id) {
            Some(TreeError::Exists { path: path() })
        } else if self.children.len() >= self.spec.max_children {
            Some(TreeError::Full { path: self.node.path().to_string(), max: self.spec.max_children })
        } else {
            None
        };
        if let Some(error) = refusal {
            answer(reply, Err(error));
            return Ok(());
        }
        self.add(spec, Some(reply));
        self.step(me, Input::Begin)
    }

    fn terminate_child(&mut self, me: &ActorRef<SupMsg>, id: &str, reply: Reply) -> Result<(), ActorProcessingErr> {
        match self.children.iter_mut().find(|(_, child)| *child.spec.id == *id) {
            Some((key, child)) => {
                child.ending.push(reply);
                let key = *key;
                self.step(me, Input::Terminate(key))
            }
            None => {
                answer(reply, Err(TreeError::NoSuchChild { path: format!("{}/{id}", self.node.path()) }));
                Ok(())
            }
        }
    }

    /// One input, all that follows from it. An error ends this supervisor: it is its exit reason.
    fn step(&mut self, me: &ActorRef<SupMsg>, input: Input) -> Result<(), ActorProcessingErr> {
        let actions = self.plan.handle(input, self.node.board().now(), self.jitter.unit());
        for action in actions {
            if let Action::Finish(reason) = action {
                return self.finish(me, reason);
            }
            self.act(me, action);
        }
        Ok(())
    }

    fn act(&mut self, me: &ActorRef<SupMsg>, action: Action) {
        match action {
            Action::Start { ticket, attempt, last_exit } => self.start(me, ticket, attempt, last_exit),
            Action::Stop { ticket } => self.stop(me, ticket),
            Action::Restart { ticket, attempt, delay } => self.restart(me, ticket, attempt, delay),
            Action::Up(key) => self.with(key, |child| {
                child.node.up();
                if let Some(reply) = child.starting.take() {
                    answer(reply, Ok(()));
                }
            }),
            Action::Down(key, reason) => self.with(key, |child| child.node.down(reason)),
            Action::Refuse(key, reason) => self.with(key, |child| {
                child.node.down(reason.clone());
                if let Some(reply) = child.starting.take() {
                    answer(reply, Err(TreeError::Start { path: child.node.path().to_string(), reason }));
                }
            }),
            Action::Remove(key) => self.remove(key),
            Action::GiveUp(key) => {
                self.publish_restarts();
                self.with(key, |child| {
                    child.node.mark(Mark::Failed);
                    child.node.emit(Happening::Escalated);
                });
            }
            Action::Ready => self.tell_ready(Ok(())),
            Action::Finish(_) => {}
        }
    }

    fn with(&mut self, key: Key, act: impl FnOnce(&mut Child)) {
        if let Some(child) = self.children.get_mut(&key) {
            act(child);
        }
    }

    fn start(&mut self, me: &ActorRef<SupMsg>, ticket: Ticket, attempt: u64, last_exit: Option<ExitReason>) {
        let Some(child) = self.children.get_mut(&ticket.key) else { return };
        let seat = Seat::new();
        child.seat = seat.clone();
        child.node.set_seat(seat.clone());
        child.node.starting(attempt);
        let ctx = StartCtx::new(attempt, last_exit, me.get_cell(), seat.clone(), child.node.clone());
        let (spec, node, kill_wait, me) = (child.spec.clone(), child.node.clone(), self.spec.kill_wait, me.clone());
        child.task = Some(self.ops.spawn(async move {
            let work = Box::pin(async move { (spec.start)(ctx).await });
            let result = ops::start(work, spec.start_timeout, seat, node, kill_wait).await;
            report(&me, SupMsg::StartDone(ticket, result));
        }));
    }

    fn stop(&mut self, me: &ActorRef<SupMsg>, ticket: Ticket) {
        let Some(child) = self.children.get_mut(&ticket.key) else { return };
        if let Some(task) = child.task.take() {
            task.abort();
        }
        child.node.mark(Mark::Stopping);
        // From here on its end is no news to us.
        let seat = std::mem::replace(&mut child.seat, Seat::new());
        let (how, node, kill_wait, me) = (child.spec.shutdown, child.node.clone(), self.spec.kill_wait, me.clone());
        self.ops.spawn(async move {
            let reason = ops::stop(&seat, how, &node, kill_wait).await;
            report(&me, SupMsg::StopDone(ticket, reason));
        });
    }

    /// It ended by itself: its tasks end too, or are reported.
    fn clear(&mut self, key: Key) {
        let Some(child) = self.children.get(&key).filter(|child| !child.seat.is_vacant()) else { return };
        self.ops.spawn(ops::clear(child.seat.clone(), child.node.clone(), self.spec.kill_wait));
    }

    fn restart(&mut self, me: &ActorRef<SupMsg>, ticket: Ticket, attempt: u32, delay: Duration) {
        self.publish_restarts();
        let Some(child) = self.children.get_mut(&ticket.key) else { return };
        child.node.mark(Mark::Backoff(child.node.board().now() + delay));
        child.node.emit(Happening::Restarting { attempt, delay });
        if !delay.is_zero() {
            let me = me.clone();
            child.task = Some(self.ops.spawn(async move {
                tokio::time::sleep(delay).await;
                report(&me, SupMsg::Due(ticket));
            }));
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(child) = self.children.remove(&key) else { return };
        self.node.remove(&child.node);
        if let Some(task) = child.task {
            task.abort();
        }
        for reply in child.ending {
            answer(reply, Ok(()));
        }
    }

    fn publish_restarts(&self) {
        self.node.set_restarts(Restarts {
            times: self.plan.window().times().collect(),
            max: self.spec.intensity.max(),
            period: self.spec.intensity.period(),
        });
    }

    fn tell_ready(&mut self, result: Result<(), ExitReason>) {
        if let Some(ready) = self.ready.take() {
            // Not heard by a start that was given up; then our own stop is on its way.
            let _ = ready.send(result);
        }
    }

    fn finish(&mut self, me: &ActorRef<SupMsg>, reason: ExitReason) -> Result<(), ActorProcessingErr> {
        if reason == ExitReason::Shutdown {
            me.stop(Some(SHUTDOWN.into()));
            return Ok(());
        }
        self.tell_ready(Err(reason.clone()));
        Err(reason.into())
    }
}

/// To a supervisor that has ended meanwhile there is nothing to report.
fn report(to: &ActorRef<SupMsg>, message: SupMsg) {
    let _ = to.send_message(message);
}

/// Whoever asked may have stopped waiting.
fn answer(reply: Reply, result: Result<(), TreeError>) {
    let _ = reply.send(result);
}
