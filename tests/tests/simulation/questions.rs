//! Negative controls for the questions that no wing with a bug is caught by.

use callboard_broker::dead_letter::{DeadLetter, NewDeadLetter, Reason};
use callboard_broker::id::RunId;
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status, Task};
use callboard_broker::tasks::TaskView;
use callboard_tests::contract::invariants::{self, Done, Seen};

fn root() -> Task {
    Task::root(RunId::parse("r").unwrap(), CapabilityName::parse("x").unwrap(), Payload::null(), 1)
}

fn view(task: Task, status: Status) -> TaskView {
    let outcome = status.is_final().then(|| Outcome::of(&task, status, None, 1));
    TaskView {
        task,
        seq: 1,
        status,
        attempt: 1,
        node: None,
        started_at: None,
        not_before: None,
        parked: false,
        outcome,
    }
}

fn ended(task: &Task, status: Status, is_dead: bool) -> Seen {
    Seen::Ended { outcome: Box::new(Outcome::of(task, status, None, 1)), lease: Some(1), is_dead }
}

#[test]
fn a_success_below_what_was_cancelled_is_noticed() {
    let root = root();
    let child = root.child("a", root.capability.clone(), Payload::null(), 1);
    let tasks = [view(root.clone(), Status::Cancelled), view(child.clone(), Status::Completed)];
    let (cancelled, success) = (Seen::Cancelled { tasks: vec![root.id] }, ended(&child, Status::Completed, false));
    assert!(invariants::stays_cancelled(&[success.clone(), cancelled.clone()], &tasks).is_ok());
    assert!(invariants::stays_cancelled(&[cancelled, success], &tasks).is_err());
}

#[test]
fn a_missing_dead_letter_is_noticed_and_one_too_many() {
    let task = root();
    let letter = |seq| {
        let (capability, to) = (task.capability.to_string(), task.id.to_string());
        let (body, error) = (Payload::null(), None);
        let reason = Reason::Failed;
        let new =
            NewDeadLetter { reason, capability, to, from: String::new(), task: Some(task.id.clone()), body, error };
        DeadLetter::new(seq, 1, new)
    };
    let (failed, expired) = ([view(task.clone(), Status::Failed)], [view(task.clone(), Status::Expired)]);
    let seen = [ended(&task, Status::Failed, true)];
    assert!(invariants::buried(&seen, &failed, &[letter(1)]).is_ok());
    assert!(invariants::buried(&seen, &failed, &[]).is_err());
    assert!(invariants::buried(&[], &expired, &[]).is_err());
    assert!(invariants::buried(&seen, &failed, &[letter(1), letter(2)]).is_err());
    assert!(invariants::buried(&[], &[view(task.clone(), Status::Completed)], &[letter(1)]).is_err());
}

#[test]
fn a_repeated_effect_is_noticed() {
    let done = |key: Option<&str>| Done { name: "pay".into(), key: key.map(Into::into) };
    assert!(invariants::done_once(&[done(None)]).is_ok());
    assert!(invariants::done_once(&[done(None), done(None)]).is_err());
    assert!(invariants::done_once(&[done(Some("k")), done(Some("k"))]).is_ok());
    assert!(invariants::done_once(&[done(Some("k")), done(Some("l"))]).is_err());
}

#[test]
fn a_lost_update_is_noticed() {
    assert!(invariants::counted(3, (4, 3)).is_ok() && invariants::counted(4, (4, 3)).is_ok());
    assert!(invariants::counted(2, (4, 3)).is_err() && invariants::counted(5, (4, 3)).is_err());
}
