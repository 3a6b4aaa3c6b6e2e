//! What becomes of a task after an attempt: pure, with time and chance passed in.

use std::time::Duration;

use callboard_broker::clock::Millis;
use callboard_broker::dead_letter::Reason;
use callboard_broker::error::{Class, Remote};
use callboard_broker::payload::Payload;
use callboard_broker::task::{Outcome, Retry, Status, Task};

use crate::resilience::breaker::Seen;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Attempted {
    /// With a response.
    Done(Payload),
    /// With a failure of the handler, a panic or the attempt's time limit.
    Failed(Remote),
    /// The task's deadline passed; with what the agent had kept.
    Expired(Option<Payload>),
}

impl Attempted {
    /// What it says of the capability.
    pub(crate) fn seen(&self) -> Seen {
        match self {
            Self::Done(_) => Seen::Success,
            Self::Failed(remote) => Seen::of(remote.class),
            Self::Expired(_) => Seen::Nothing,
        }
    }
}

/// What is to be written.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The outcome, and the reason if it is a dead letter too.
    Finish(Box<Outcome>, Option<Reason>),
    /// Back to the queue, not before this delay.
    Retry(Remote, Duration),
}

impl Verdict {
    /// What becomes of the task, in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Finish(outcome, _) => outcome.status.as_str(),
            Self::Retry(..) => "retried",
        }
    }

    /// What went wrong, if anything did.
    pub(crate) fn error(&self) -> Option<&Remote> {
        match self {
            Self::Finish(outcome, _) => outcome.error.as_ref(),
            Self::Retry(error, _) => Some(error),
        }
    }
}

/// `failures` is how many attempts failed before this one; `chance` is in 0..1.
pub(crate) fn verdict(task: &Task, attempted: Attempted, failures: u32, now: Millis, chance: f64) -> Verdict {
    let finish = |status, error| Box::new(Outcome::of(task, status, error, now));
    match attempted {
        Attempted::Done(output) => {
            Verdict::Finish(Box::new(Outcome { output, ..*finish(Status::Completed, None) }), None)
        }
        Attempted::Expired(partial) => {
            let error = Remote { partial, ..task.overdue() };
            Verdict::Finish(finish(Status::Expired, Some(error)), Some(Reason::Expired))
        }
        Attempted::Failed(error) if error.class == Class::Cancelled => {
            Verdict::Finish(finish(Status::Cancelled, Some(error)), None)
        }
        Attempted::Failed(error) if !error.class.is_retried() => {
            Verdict::Finish(finish(Status::Failed, Some(error)), None)
        }
        Attempted::Failed(error) => {
            let delay = backoff(&task.retry, failures + 1, error.retry_after_ms, chance);
            let in_time = now.saturating_add(callboard_broker::clock::millis(delay)) < task.deadline;
            if failures + 1 < task.retry.attempts.max(1) && in_time {
                return Verdict::Retry(error, delay);
            }
            Verdict::Finish(finish(Status::Failed, Some(error)), Some(Reason::Failed))
        }
    }
}

/// What becomes of a task whose run has no retry left.
pub(crate) fn given_up(task: &Task, mut error: Remote, now: Millis) -> Verdict {
    error.message = format!("{}: not tried again, the retry budget of its run is used up", error.message);
    Verdict::Finish(Box::new(Outcome::of(task, Status::Failed, Some(error), now)), Some(Reason::Failed))
}

/// Doubles from `base` up to `max`, then times 0.5 to 1.5 so that what failed together is not tried together again.
/// What the failure itself asked for is never undercut.
pub(crate) fn backoff(retry: &Retry, failures: u32, retry_after_ms: Option<Millis>, chance: f64) -> Duration {
    let doubled = retry.base_ms.saturating_mul(1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX));
    let jittered = Duration::from_millis(doubled.min(retry.max_ms)).mul_f64(0.5 + chance.clamp(0.0, 1.0));
    jittered.max(Duration::from_millis(retry_after_ms.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use callboard_broker::budget::Budget;
    use callboard_broker::code;
    use callboard_broker::id::RunId;
    use callboard_broker::subject::CapabilityName;

    use super::*;

    fn task() -> Task {
        Task::root(RunId::parse("r").unwrap(), CapabilityName::parse("x").unwrap(), Payload::null(), 0)
    }

    fn failed(class: Class) -> Attempted {
        Attempted::Failed(Remote { class, ..task().overdue() })
    }

    #[test]
    fn a_failure_is_retried_until_the_attempts_are_used_up_and_then_it_is_dead() {
        for class in [Class::Transient, Class::RateLimited, Class::Unclassified] {
            assert!(matches!(verdict(&task(), failed(class), 0, 0, 0.5), Verdict::Retry(..)));
            assert!(matches!(verdict(&task(), failed(class), 1, 0, 0.5), Verdict::Retry(..)));
            let Verdict::Finish(outcome, dead) = verdict(&task(), failed(class), 2, 0, 0.5) else {
                panic!("{class:?}")
            };
            assert_eq!((outcome.status, dead), (Status::Failed, Some(Reason::Failed)));
        }
    }

    #[test]
    fn a_final_answer_is_not_retried_and_no_dead_letter() {
        let Verdict::Finish(outcome, dead) = verdict(&task(), failed(Class::Permanent), 0, 0, 0.5) else { panic!() };
        assert_eq!((outcome.status, dead), (Status::Failed, None));
        let Verdict::Finish(outcome, _) = verdict(&task(), failed(Class::Cancelled), 0, 0, 0.5) else { panic!() };
        assert_eq!(outcome.status, Status::Cancelled);
    }

    #[test]
    fn no_retry_is_planned_for_after_the_deadline() {
        let late = Task { deadline: 1_400, ..task() };
        assert!(matches!(verdict(&late, failed(Class::Transient), 0, 0, 0.5), Verdict::Retry(..)));
        assert!(matches!(verdict(&late, failed(Class::Transient), 0, 500, 0.5), Verdict::Finish(..)));
    }

    #[test]
    fn what_passed_its_deadline_says_whether_that_was_its_own_or_the_wall_time_of_its_run() {
        let expired = |task: &Task| match verdict(task, Attempted::Expired(Some(Payload::of(7))), 0, 0, 0.5) {
            Verdict::Finish(outcome, Some(Reason::Expired)) => *outcome,
            other => panic!("{other:?}"),
        };
        let wall = |wall_ms| Budget { wall_ms: Some(wall_ms), ..Budget::default() };
        for (task, code, said) in [
            (task(), code::EXPIRED, "its deadline passed before it was done"),
            (task().budgeted(wall(60_000)), code::EXHAUSTED, "the budget of r is used up: 60 seconds of wall time"),
            (task().budgeted(wall(250)), code::EXHAUSTED, "the budget of r is used up: 250 milliseconds of wall time"),
            (
                Task { deadline: 10, ..task() }.budgeted(wall(60_000)),
                code::EXPIRED,
                "its deadline passed before it was done",
            ),
        ] {
            let outcome = expired(&task);
            let error = outcome.error.clone().unwrap();
            assert_eq!((outcome.status, &*error.code, &*error.message), (Status::Expired, code, said));
            assert_eq!(error.partial, Some(Payload::of(7)));
            assert_eq!(outcome.into_result().unwrap_err().code(), code);
        }
    }

    #[test]
    fn waits_double_up_to_the_cap_and_never_undercut_what_was_asked_for() {
        let wait = |failures, asked, chance| backoff(&Retry::default(), failures, asked, chance).as_millis();
        assert_eq!([wait(1, None, 0.5), wait(2, None, 0.5), wait(3, None, 0.5)], [1_000, 2_000, 4_000]);
        assert_eq!([wait(9, None, 0.0), wait(9, None, 1.0), wait(200, None, 0.5)], [30_000, 90_000, 60_000]);
        assert_eq!(wait(1, Some(9_000), 0.0), 9_000);
    }
}
