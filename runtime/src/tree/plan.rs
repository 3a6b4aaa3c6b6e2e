//! What a supervisor does next: a state machine over its children, without I/O.
//!
//! Everything that takes time (a start, a stop, a wait) is an [`Action`] that the shell runs beside the supervisor and
//! answers with an [`Input`]; so a supervisor always answers. Each action carries a [`Ticket`]; an answer whose ticket
//! is not the child's current one is stale and ignored. A sibling that is being stopped is no longer `Up`, so its end
//! is stale too, and two children that fall together cause one restart of their group.
//!
//! After each input one function, `reconcile`, compares what should be up with what is: first the stops, from the last
//! child to the first, then the starts, from the first to the last. Every strategy is this one loop with other marks.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::clock::millis;

use super::decide::{History, Policy, Verdict, Window, decide};
use super::exit::{Exceeded, ExitReason, clip};
use super::spec::{Restart, Strategy};

/// A child of a supervisor; never used twice.
pub(crate) type Key = u64;

/// One action on a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) key: Key,
    op: u64,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// All children of the spec were added: start them.
    Begin,
    Started(Ticket),
    StartFailed(Ticket, ExitReason),
    /// The actor of this child ended by itself.
    Exited(Key, ExitReason),
    /// A stop is done; how the child went.
    Stopped(Ticket, ExitReason),
    /// A wait is over.
    Due(Ticket),
    /// End this child and forget it.
    Terminate(Key),
    /// End all children, then yourself.
    Shutdown,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Run its start; `attempt` counts its starts from 1.
    Start { ticket: Ticket, attempt: u64, last_exit: Option<ExitReason> },
    /// End it within its shutdown time, whether it runs or is still starting.
    Stop { ticket: Ticket },
    /// It will be restarted for the `attempt`th time in a row; answer `Due` after `delay`, unless that is zero.
    Restart { ticket: Ticket, attempt: u32, delay: Duration },
    /// It runs.
    Up(Key),
    /// It is down.
    Down(Key, ExitReason),
    /// It was added while running and its first start failed; `Remove` follows.
    Refuse(Key, ExitReason),
    /// Forget it.
    Remove(Key),
    /// The exit of this child is one too many.
    GiveUp(Key),
    /// All children have been started once.
    Ready,
    /// All children are down: end with this reason. The last action ever.
    Finish(ExitReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Starting,
    Up,
    Stopping,
}

struct Slot {
    id: Arc<str>,
    key: Key,
    op: u64,
    restart: Restart,
    /// Added while running; leaves the tree when it ends for good.
    dynamic: bool,
    phase: Phase,
    /// It should be up.
    wanted: bool,
    /// It must go down first.
    leave: bool,
    /// It waits for its backoff.
    held: bool,
    /// Being terminated by command.
    doomed: bool,
    ever_up: bool,
    starts: u64,
    /// An exit that overtook the answer of its start.
    early: Option<ExitReason>,
    last_exit: Option<ExitReason>,
    history: History,
}

impl Slot {
    fn next(&mut self, phase: Phase) -> Ticket {
        self.op += 1;
        self.phase = phase;
        Ticket { key: self.key, op: self.op }
    }

    fn alive(&self) -> bool {
        self.phase != Phase::Down
    }

    fn due(&self) -> bool {
        self.wanted && !self.held && self.phase == Phase::Down
    }

    /// Takes part in the restart of its group: whatever it is doing, it goes down and comes up in its turn. A temporary
    /// one is removed when it is down; a transient one that had ended normally runs again, as in OTP.
    fn recycle(&mut self) {
        if self.doomed {
            return;
        }
        self.held = false;
        self.leave = self.alive();
        self.wanted = true;
    }
}

/// All children of one supervisor and what is going on with each.
pub(crate) struct Plan {
    policy: Policy,
    stop_together: bool,
    slots: Vec<Slot>,
    window: Window,
    last_key: Key,
    /// Until each child of the spec has been started once. Then a failed start is the failure of the supervisor's own.
    initial: bool,
    closing: Option<ExitReason>,
    finished: bool,
}

impl Plan {
    pub(crate) fn new(policy: Policy, stop_together: bool) -> Self {
        Self {
            policy,
            stop_together,
            slots: Vec::new(),
            window: Window::default(),
            last_key: 0,
            initial: true,
            closing: None,
            finished: false,
        }
    }

    /// Adds a child after all others. `dynamic` once the supervisor runs. It is started by the next input.
    pub(crate) fn add(&mut self, id: Arc<str>, restart: Restart, dynamic: bool) -> Key {
        self.last_key += 1;
        self.slots.push(Slot {
            id,
            key: self.last_key,
            op: 0,
            restart,
            dynamic,
            phase: Phase::Down,
            wanted: true,
            leave: false,
            held: false,
            doomed: false,
            ever_up: false,
            starts: 0,
            early: None,
            last_exit: None,
            history: History::default(),
        });
        self.last_key
    }

    /// The restarts that count now.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// It is ending: nothing more can be added.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// What to do about `input`; in order. `unit` is random in `[0, 1)`.
    pub(crate) fn handle(&mut self, input: Input, now: Duration, unit: f64) -> Vec<Action> {
        let mut out = Vec::new();
        match input {
            Input::Begin => {}
            Input::Started(ticket) => self.started(ticket, now, unit, &mut out),
            Input::StartFailed(ticket, reason) => self.start_failed(ticket, reason, now, unit, &mut out),
            Input::Exited(key, reason) => self.exited(key, reason, now, unit, &mut out),
            Input::Stopped(ticket, reason) => self.stopped(ticket, reason, &mut out),
            Input::Due(ticket) => {
                if let Some(at) = self.current(ticket, Phase::Down) {
                    self.slots[at].held = false;
                }
            }
            Input::Terminate(key) => self.terminate(key, &mut out),
            Input::Shutdown => self.close(ExitReason::Shutdown),
        }
        self.reconcile(&mut out);
        out
    }

    fn at(&self, key: Key) -> Option<usize> {
        self.slots.iter().position(|slot| slot.key == key)
    }

    fn current(&self, ticket: Ticket, phase: Phase) -> Option<usize> {
        self.at(ticket.key).filter(|at| self.slots[*at].op == ticket.op && self.slots[*at].phase == phase)
    }

    fn started(&mut self, ticket: Ticket, now: Duration, unit: f64, out: &mut Vec<Action>) {
        let Some(at) = self.current(ticket, Phase::Starting) else { return };
        let slot = &mut self.slots[at];
        slot.phase = Phase::Up;
        slot.ever_up = true;
        slot.history.started(now);
        out.push(Action::Up(slot.key));
        if let Some(reason) = slot.early.take() {
            self.exited(ticket.key, reason, now, unit, out);
        }
    }

    fn start_failed(&mut self, ticket: Ticket, reason: ExitReason, now: Duration, unit: f64, out: &mut Vec<Action>) {
        let Some(at) = self.current(ticket, Phase::Starting) else { return };
        let slot = &mut self.slots[at];
        slot.phase = Phase::Down;
        slot.early = None;
        if slot.ever_up {
            return self.ended(at, reason, now, unit, out);
        }
        slot.wanted = false;
        let (id, key) = (slot.id.clone(), slot.key);
        if slot.dynamic {
            out.push(Action::Refuse(key, reason));
            self.remove(at, out);
        } else {
            let text = match &reason {
                ExitReason::StartFailed(text) => format!("{id}: {text}"),
                other => format!("{id}: {other}"),
            };
            out.push(Action::Down(key, reason));
            self.close(ExitReason::StartFailed(clip(text)));
        }
    }

    fn exited(&mut self, key: Key, reason: ExitReason, now: Duration, unit: f64, out: &mut Vec<Action>) {
        let Some(at) = self.at(key) else { return };
        match self.slots[at].phase {
            Phase::Starting => self.slots[at].early = Some(reason),
            Phase::Up => {
                self.slots[at].next(Phase::Down);
                self.ended(at, reason, now, unit, out);
            }
            Phase::Down | Phase::Stopping => {}
        }
    }

    /// The child at `at` went down without having been stopped. One that was about to be stopped anyway (its group is
    /// being restarted, all are being stopped) only saved its supervisor the trouble: no failure of its own.
    fn ended(&mut self, at: usize, reason: ExitReason, now: Duration, unit: f64, out: &mut Vec<Action>) {
        if self.slots[at].leave || self.closing.is_some() {
            return self.gone(at, reason, out);
        }
        let slot = &mut self.slots[at];
        slot.last_exit = Some(reason.clone());
        out.push(Action::Down(slot.key, reason.clone()));
        match decide(&self.policy, slot.restart, &reason, &mut slot.history, &mut self.window, now, unit) {
            Verdict::Leave => {
                slot.wanted = false;
                if slot.dynamic || slot.restart == Restart::Temporary {
                    self.remove(at, out);
                }
            }
            Verdict::Restart { attempt, delay } => {
                slot.wanted = true;
                slot.held = !delay.is_zero();
                let ticket = slot.next(Phase::Down);
                out.push(Action::Restart { ticket, attempt, delay });
                self.recycle_group(at);
            }
            Verdict::Escalate { times, within } => {
                out.push(Action::GiveUp(slot.key));
                let (child, within_ms) = (slot.id.to_string(), within.map(millis));
                self.close(ExitReason::IntensityExceeded(Box::new(Exceeded { child, times, within_ms, last: reason })));
            }
        }
    }

    fn recycle_group(&mut self, failed: usize) {
        let first = match self.policy.strategy {
            Strategy::OneForOne => return,
            Strategy::OneForAll => 0,
            Strategy::RestForOne => failed + 1,
        };
        for (at, slot) in self.slots.iter_mut().enumerate().skip(first) {
            if at != failed {
                slot.recycle();
            }
        }
    }

    fn stopped(&mut self, ticket: Ticket, reason: ExitReason, out: &mut Vec<Action>) {
        if let Some(at) = self.current(ticket, Phase::Stopping) {
            self.slots[at].phase = Phase::Down;
            self.gone(at, reason, out);
        }
    }

    /// A child that had to leave is down.
    fn gone(&mut self, at: usize, reason: ExitReason, out: &mut Vec<Action>) {
        let slot = &mut self.slots[at];
        slot.leave = false;
        slot.last_exit = Some(reason.clone());
        out.push(Action::Down(slot.key, reason));
        if slot.doomed || (slot.restart == Restart::Temporary && self.closing.is_none()) {
            self.remove(at, out);
        }
    }

    fn terminate(&mut self, key: Key, out: &mut Vec<Action>) {
        let Some(at) = self.at(key) else { return };
        let slot = &mut self.slots[at];
        slot.doomed = true;
        slot.wanted = false;
        slot.held = false;
        if slot.alive() {
            slot.leave = true;
        } else {
            self.remove(at, out);
        }
    }

    fn close(&mut self, reason: ExitReason) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(reason);
        for slot in &mut self.slots {
            slot.held = false;
            slot.wanted = false;
            slot.leave = slot.alive();
        }
    }

    fn remove(&mut self, at: usize, out: &mut Vec<Action>) {
        let slot = self.slots.remove(at);
        out.push(Action::Remove(slot.key));
    }

    fn reconcile(&mut self, out: &mut Vec<Action>) {
        self.stop_next(out);
        if let Some(reason) = &self.closing {
            if !self.finished && self.slots.iter().all(|slot| !slot.alive()) {
                self.finished = true;
                out.push(Action::Finish(reason.clone()));
            }
            return;
        }
        self.start_next(out);
        if self.initial && self.slots.iter().all(|slot| slot.ever_up || slot.dynamic) {
            self.initial = false;
            out.push(Action::Ready);
        }
    }

    fn stop_next(&mut self, out: &mut Vec<Action>) {
        let together = match self.closing {
            Some(_) => self.stop_together,
            None => self.policy.strategy == Strategy::OneForOne,
        };
        for slot in self.slots.iter_mut().rev().filter(|slot| slot.leave && slot.alive()) {
            if slot.phase != Phase::Stopping {
                slot.early = None;
                let ticket = slot.next(Phase::Stopping);
                out.push(Action::Stop { ticket });
            }
            if !together {
                break;
            }
        }
    }

    fn start_next(&mut self, out: &mut Vec<Action>) {
        let group = self.policy.strategy != Strategy::OneForOne;
        if group && self.slots.iter().any(|slot| slot.held || slot.leave) {
            return;
        }
        let sequential = group || self.initial;
        if sequential && self.slots.iter().any(|slot| slot.phase == Phase::Starting) {
            return;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.due()) {
            let ticket = slot.next(Phase::Starting);
            slot.starts += 1;
            out.push(Action::Start { ticket, attempt: slot.starts, last_exit: slot.last_exit.clone() });
            if sequential {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
