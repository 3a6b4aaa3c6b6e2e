//! The plan against a world that answers in any order: whatever happens, a few things never do.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;
use crate::tree::policy::{Backoff, Intensity};
use crate::tree::spec::Strategy as Group;

#[derive(Clone, Debug)]
enum Event {
    /// The nth action under way is answered; a start fails when `fails`.
    Answer {
        nth: usize,
        fails: bool,
    },
    /// The nth child that runs ends.
    Exit {
        nth: usize,
        normal: bool,
    },
    /// One of each pair of children that runs ends, all at the same moment.
    Collapse,
    Add(Restart),
    Terminate {
        nth: usize,
    },
    Pass(u64),
}

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (any::<usize>(), prop::bool::weighted(0.1)).prop_map(|(nth, fails)| Event::Answer { nth, fails }),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(nth, normal)| Event::Exit { nth, normal }),
        1 => Just(Event::Collapse),
        1 => restart().prop_map(Event::Add),
        1 => any::<usize>().prop_map(|nth| Event::Terminate { nth }),
        2 => (0u64..20_000).prop_map(Event::Pass),
    ]
}

fn strategy() -> impl Strategy<Value = Group> {
    use Group::{OneForAll, OneForOne, RestForOne};
    prop_oneof![Just(OneForOne), Just(OneForAll), Just(RestForOne)]
}

/// Does what the plan says and checks each action as it comes.
struct World {
    plan: Plan,
    strategy: Group,
    now: Duration,
    order: Vec<Key>,
    restarts: HashMap<Key, Restart>,
    under_way: Vec<Action>,
    running: HashSet<Key>,
    starting: HashMap<Key, Ticket>,
    stopping: HashSet<Key>,
    restarted_at: Vec<Duration>,
    ready: bool,
    gave_up: bool,
    finished: Option<ExitReason>,
}

const MAX: u32 = 4;
const PERIOD: Duration = Duration::from_secs(30);

impl World {
    fn new(strategy: Group, children: &[Restart]) -> Self {
        let policy = Policy {
            strategy,
            intensity: Intensity::new(MAX, PERIOD).unwrap(),
            backoff: Some(Backoff::default()),
            max_failed_starts: 3,
        };
        let mut world = Self {
            plan: Plan::new(policy, false),
            strategy,
            now: Duration::ZERO,
            order: Vec::new(),
            restarts: HashMap::new(),
            under_way: Vec::new(),
            running: HashSet::new(),
            starting: HashMap::new(),
            stopping: HashSet::new(),
            restarted_at: Vec::new(),
            ready: false,
            gave_up: false,
            finished: None,
        };
        children.iter().for_each(|restart| world.add(*restart, false));
        world.tell(Input::Begin);
        world
    }

    fn add(&mut self, restart: Restart, dynamic: bool) {
        let key = self.plan.add(format!("c{}", self.order.len()).into(), restart, dynamic);
        self.order.push(key);
        self.restarts.insert(key, restart);
    }

    fn tell(&mut self, input: Input) {
        assert!(self.finished.is_none(), "nothing is asked of a supervisor that has ended");
        for action in self.plan.handle(input, self.now, 0.5) {
            assert!(self.finished.is_none(), "{action:?} after the end");
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match &action {
            Action::Start { ticket, .. } => {
                let key = ticket.key;
                assert!(!self.running.contains(&key) && !self.stopping.contains(&key), "two of one child");
                assert_eq!(self.starting.insert(key, *ticket), None, "two starts of one child");
                if self.strategy != Group::OneForOne {
                    assert_eq!(self.starting.len(), 1, "a group starts one after the other");
                    assert!(self.stopping.is_empty(), "a group starts when all that must leave are gone");
                }
                self.under_way.push(action);
            }
            Action::Stop { ticket } => {
                let key = ticket.key;
                assert!(
                    self.running.remove(&key) | self.starting.remove(&key).is_some(),
                    "only what is there is stopped"
                );
                self.stopping.insert(key);
                self.under_way.push(action);
            }
            Action::Restart { ticket, delay, .. } => {
                assert_ne!(self.restarts[&ticket.key], Restart::Temporary);
                self.restarted_at.push(self.now);
                let recent = self.restarted_at.iter().filter(|at| self.now - **at < PERIOD).count();
                assert!(recent <= MAX as usize, "{recent} restarts in a period");
                if !delay.is_zero() {
                    self.under_way.push(action);
                }
            }
            Action::GiveUp(_) => self.gave_up = true,
            Action::Finish(reason) => {
                assert!(self.running.is_empty() && self.starting.is_empty() && self.stopping.is_empty());
                self.finished = Some(reason.clone());
            }
            Action::Remove(key) => self.order.retain(|other| other != key),
            Action::Ready => self.ready = true,
            Action::Up(_) | Action::Down(..) | Action::Refuse(..) => {}
        }
    }

    fn answer(&mut self, nth: usize, fails: bool) {
        if self.under_way.is_empty() {
            return;
        }
        match self.under_way.swap_remove(nth % self.under_way.len()) {
            Action::Start { ticket, .. } => {
                // A start that was stopped meanwhile answers late; the plan must not care.
                let counts = self.starting.get(&ticket.key) == Some(&ticket);
                if counts {
                    self.starting.remove(&ticket.key);
                }
                if fails {
                    self.tell(Input::StartFailed(ticket, ExitReason::StartFailed("no".into())));
                } else {
                    if counts {
                        self.running.insert(ticket.key);
                    }
                    self.tell(Input::Started(ticket));
                }
            }
            Action::Stop { ticket } => {
                self.stopping.remove(&ticket.key);
                self.tell(Input::Stopped(ticket, ExitReason::Shutdown));
            }
            Action::Restart { ticket, .. } => self.tell(Input::Due(ticket)),
            other => unreachable!("{other:?} takes no time"),
        }
    }

    fn exit(&mut self, nth: usize, normal: bool) {
        let running: Vec<Key> = self.order.iter().copied().filter(|key| self.running.contains(key)).collect();
        if let Some(key) = running.get(nth % running.len().max(1)) {
            self.running.remove(key);
            let reason = if normal { ExitReason::Normal } else { ExitReason::Panic("boom".into()) };
            self.tell(Input::Exited(*key, reason));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Answer { nth, fails } => self.answer(nth, fails),
            Event::Exit { nth, normal } => self.exit(nth, normal),
            Event::Collapse => {
                for nth in 0..self.running.len() / 2 {
                    if self.finished.is_none() {
                        self.exit(nth, false);
                    }
                }
            }
            Event::Add(restart) if !self.plan.is_closing() => {
                self.add(restart, true);
                self.tell(Input::Begin);
            }
            Event::Add(_) => {}
            Event::Terminate { nth } => {
                if let Some(key) = self.order.get(nth % self.order.len().max(1)) {
                    self.tell(Input::Terminate(*key));
                }
            }
            Event::Pass(ms) => self.now += Duration::from_millis(ms),
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_can_be_stopped_and_keeps_its_rules(
        strategy in strategy(),
        children in prop::collection::vec(restart(), 0..6),
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut world = World::new(strategy, &children);
        for event in events {
            if world.finished.is_some() {
                break;
            }
            world.happen(event);
        }
        if world.finished.is_none() {
            world.tell(Input::Shutdown);
        }
        let mut patience = 1000;
        while world.finished.is_none() {
            patience -= 1;
            prop_assert!(patience > 0 && !world.under_way.is_empty(), "it never ends");
            world.answer(0, false);
        }
        let gave_up = matches!(world.finished, Some(ExitReason::IntensityExceeded(_)));
        prop_assert_eq!(gave_up, world.gave_up);
    }

    /// With nobody failing any more, every child that should run does.
    #[test]
    fn when_it_calms_down_everything_runs(
        strategy in strategy(),
        children in prop::collection::vec(restart(), 1..6),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut world = World::new(strategy, &children);
        for event in events {
            if world.finished.is_some() {
                return Ok(());
            }
            world.happen(event);
        }
        while world.finished.is_none() && !world.under_way.is_empty() {
            world.answer(0, false);
        }
        if world.finished.is_none() {
            let down: Vec<_> = world.order.iter().filter(|key| world.restarts[key] == Restart::Permanent)
                .filter(|key| !world.running.contains(key)).collect();
            prop_assert!(world.ready, "whoever started it still waits");
            prop_assert!(down.is_empty(), "{:?} are down and nothing is under way", down);
        }
    }
}

/// An exit can overtake the answer of the start that caused it.
#[test]
fn an_early_exit_is_an_exit_after_the_start() {
    let mut world = World::new(Group::OneForOne, &[Restart::Permanent]);
    let key = world.order[0];
    let early = world.plan.handle(Input::Exited(key, ExitReason::Normal), Duration::ZERO, 0.5);
    assert_eq!(early, []);
    let Some(Action::Start { ticket, .. }) = world.under_way.pop() else { panic!("a start is under way") };
    let actions = world.plan.handle(Input::Started(ticket), Duration::ZERO, 0.5);
    assert!(matches!(actions[..3], [Action::Up(_), Action::Down(_, ExitReason::Normal), Action::Restart { .. }]));
    assert!(actions.iter().any(|action| matches!(action, Action::Start { attempt: 2, .. })));
}
