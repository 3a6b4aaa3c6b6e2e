//! Negative controls: the suite is worth what it catches, so wings that break one promise each have to fail it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use callboard_broker::event::{Event, NewEvent};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::state::{Change, Key};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Outcome, Status, Task};
use callboard_broker::tasks::TaskView;
use callboard_tests::contract::{self, invariants};

mod sins;

use sins::{Sin, Sinner};

/// `sin: room check, in a way of running`: the check has to fail on a wing with that sin.
macro_rules! caught {
    ($($name:ident: $sin:ident fails $room:ident::$check:ident $run:ident;)*) => {$(
        #[test]
        fn $name() {
            let run = || contract::$run(Arc::new(Sinner(Sin::$sin)), contract::$room::$check);
            let passed = catch_unwind(AssertUnwindSafe(run)).is_ok();
            assert!(!passed, "{} does not notice {:?}", stringify!($check), Sin::$sin);
        }
    )*};
}

caught! {
    an_unfenced_outcome_once: Unfenced fails attempts::an_outcome_is_recorded_once in_still_time;
    an_unfenced_outcome_replaced: Unfenced fails attempts::an_attempt_that_was_replaced_can_do_nothing in_still_time;
    an_unfenced_outcome_cancelled: Unfenced fails cancels::a_cancelled_attempt_can_record_nothing in_still_time;
    an_unfenced_outcome_in_a_race: Unfenced fails races::one_finish_of_many_is_the_outcome in_real_time;
    an_unfenced_outcome_of_an_older_claim: Unfenced fails races::an_older_claim_never_beats_a_newer_one in_real_time;
    a_lost_submission: LosesSubmissions fails submits::stored_once_and_a_known_id_is_left_as_it_is in_still_time;
    a_lost_submission_in_a_storm: LosesSubmissions fails storms::every_task_ends_once_with_its_own_result in_flowing_time;
    a_task_for_two: HandsOutTwice fails races::every_task_is_claimed_once in_real_time;
    a_claim_that_does_not_wait: DoesNotWait fails claims::a_parked_claim_is_woken_by_what_feeds_it in_still_time;
    attempts_uncounted: ForgetsAttempts fails claims::a_first_claim_leaves_no_record_and_a_second_one_does in_still_time;
    a_cancel_of_the_top_only: CancelsTheTop fails cancels::everything_below_is_cancelled_from_the_top_down in_still_time;
    a_failure_without_a_dead_letter: NoDeadLetter fails dead::a_failed_task_is_kept_with_its_body_and_its_error in_still_time;
    a_missing_event: DropsEvents fails events::published_facts_have_numbers_without_gaps in_still_time;
    a_missing_event_of_a_task: DropsEvents fails events::the_log_says_exactly_what_happened in_still_time;
    a_missing_event_in_a_storm: DropsEvents fails storms::every_acknowledged_fact_is_there_at_its_number in_flowing_time;
    a_blind_write: BlindWrites fails state::a_write_is_applied_or_meets_a_conflict in_still_time;
    a_blind_write_in_a_race: BlindWrites fails races::counting_under_contention_loses_nothing in_real_time;
    a_blind_write_in_a_storm: BlindWrites fails storms::every_acknowledged_count_is_there_once in_flowing_time;
    a_snapshot_without_its_tail: NoTail fails state::any_snapshot_and_its_tail_are_the_whole_replay in_still_time;
    a_watcher_that_misses: SkipsChanges fails state::a_watcher_sees_what_is_there_and_then_every_change in_still_time;
    answers_of_others: MixesAnswers fails messages::everybody_gets_their_own_answer in_still_time;
    answers_of_others_in_a_race: MixesAnswers fails races::asks_from_everywhere_get_their_own_answers in_real_time;
    answers_of_others_in_a_storm: MixesAnswers
        fails storms::every_ask_ends_by_its_deadline_in_its_own_answer_or_none in_flowing_time;
    a_queue_without_a_bound: NoBound fails messages::waiting_and_running_count_together in_still_time;
    a_broadcast_to_oneself: HearsItself fails messages::a_broadcast_reaches_all_but_its_sender in_still_time;
}

fn event(seq: u64, kind: &str) -> Event {
    let run = RunId::parse("r").unwrap();
    let fact = NewEvent {
        kind: kind.into(),
        agent: "a".into(),
        task: Some(TaskId::root(&run)),
        run: Some(run),
        payload: Payload::null(),
    };
    Event::new(seq, 5_000, fact)
}

fn view(status: Status) -> TaskView {
    let capability = CapabilityName::parse("x").unwrap();
    let task = Task::root(RunId::parse("r").unwrap(), capability, Payload::null(), 1);
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

#[test]
fn the_questions_notice_what_is_wrong() {
    let (created, started, completed, failed) = ("task.created", "task.started", "task.completed", "task.failed");
    let log = |kinds: &[&str]| kinds.iter().zip(1..).map(|(kind, n)| event(n, kind)).collect::<Vec<_>>();
    let done = [view(Status::Completed)];
    assert!(invariants::gapless(&log(&[created, started])).is_ok());
    assert!(invariants::gapless(&[event(1, created), event(3, started)]).is_err());
    let started_at = |time| [event(1, created), Event { time, ..event(2, started) }];
    assert!(invariants::gapless(&started_at(4_000)).is_ok());
    assert!(invariants::gapless(&started_at(3_999)).is_err());

    assert!(invariants::told(&done, &log(&[created, started, completed])).is_ok());
    for wrong in [
        &[created, started][..],
        &[started, completed],
        &[created, started, failed],
        &[created, completed, completed],
        &[created, completed, started],
        &[created, created, completed],
    ] {
        assert!(invariants::told(&done, &log(wrong)).is_err(), "{wrong:?}");
    }
    assert!(invariants::told(&[], &log(&[created])).is_err());
    assert!(invariants::told(&[view(Status::Pending)], &log(&[created, completed])).is_err());

    assert!(invariants::accounted(&done).is_ok());
    assert!(invariants::accounted(&[TaskView { outcome: None, ..view(Status::Completed) }]).is_err());
    assert!(invariants::accounted(&[TaskView { status: Status::Failed, ..view(Status::Completed) }]).is_err());
    assert!(invariants::accounted(&[TaskView { status: Status::Pending, ..view(Status::Completed) }]).is_err());
    assert!(invariants::accounted(&[view(Status::InProgress)]).is_err(), "nobody holds it");
}

#[test]
fn a_broken_chain_of_changes_is_noticed() {
    let change = |sequence, previous: Option<u64>, value: u64| Change {
        sequence,
        key: Key::parse("global.a").unwrap(),
        value: Some(Payload::of(value)),
        previous: previous.map(Payload::of),
        version: sequence,
        by: "a".into(),
        at: 1,
        task: None,
    };
    let sound = [change(1, None, 1), change(2, Some(1), 2)];
    assert!(invariants::chained(&sound).is_ok());
    assert!(invariants::chained(&sound[1..]).is_err(), "the first change is missing");
    assert!(invariants::chained(&[change(1, None, 1), change(2, Some(7), 2)]).is_err());
    assert!(invariants::chained(&[change(2, None, 1), change(1, Some(1), 2)]).is_err());
}
