//! The contract suite: what every wing promises, as checks that know nothing but the contracts.
//!
//! A check is an `async fn(Bench)` that panics when a promise is broken; [`contract!`](crate::contract!) makes tests of
//! them all over one [`Wing`]. In the checks of [`for_each_check!`](crate::for_each_check!) time stands still and moves
//! only when the check says so, whatever threads a wing has; those of [`for_each_race!`](crate::for_each_race!) run on
//! several threads in real time, and those of [`for_each_storm!`](crate::for_each_storm!) over a bad line. `invariants` are the questions that more than one check asks.

pub mod attempts;
pub mod bench;
pub mod by_name;
pub mod cancels;
pub mod claims;
pub mod concludes;
pub mod crashes;
pub mod dead;
pub mod events;
pub mod invariants;
pub mod messages;
pub mod parks;
pub mod races;
pub mod retries;
pub mod schedules;
pub mod state;
pub mod storms;
pub mod submits;
pub mod versions;
pub mod waits;

pub use bench::{Bench, Setup, Wing, in_flowing_time, in_real_time, in_still_time};
pub use storms::Behind;

/// Calls `$then! { room name }` for every check, each with still time.
#[macro_export]
macro_rules! for_each_check {
    ($then:ident $($args:tt)*) => {
        $crate::for_each_check! { @list $then ($($args)*)
            submits: stored_once_and_a_known_id_is_left_as_it_is,
            submits: a_known_id_with_another_input_diverges,
            submits: what_is_too_large_or_of_another_run_is_refused,
            submits: a_full_queue_is_busy_and_has_room_again,
            submits: of_a_batch_as_many_are_taken_as_there_is_room_for,
            submits: no_child_is_stored_under_a_parent_that_ended,
            submits: the_log_of_events_says_that_it_was_created,
            submits: tasks_are_listed_by_what_is_asked,
            claims: the_most_urgent_first_then_in_order,
            claims: what_is_less_urgent_is_not_starved,
            claims: bulk_takes_no_slot_that_is_kept_free_of_it,
            claims: a_first_claim_leaves_no_record_and_a_second_one_does,
            claims: a_parked_claim_is_woken_by_what_feeds_it,
            claims: parked_claims_are_served_in_turn_and_by_their_slots,
            claims: a_claim_that_finds_nothing_ends_when_its_wait_does,
            claims: a_delay_is_kept_and_its_end_wakes_who_waits,
            claims: a_failed_attempt_lets_those_go_first_that_were_not_begun,
            claims: what_is_handed_back_free_costs_no_attempt,
            claims: a_declined_task_goes_to_others_and_back_only_when_nobody_is_left,
            claims: an_extended_claim_holds_and_a_silent_one_lapses,
            claims: a_dropped_claim_loses_nothing,
            claims: a_task_claimed_too_often_is_given_up,
            claims: a_task_past_its_deadline_expires_waiting_or_running,
            claims: depth_counts_what_waits_and_what_runs,
            attempts: what_is_large_but_allowed_comes_back_whole,
            attempts: an_append_gives_the_next_fence_and_a_stale_one_appends_nothing,
            attempts: children_are_stored_with_their_record_or_not_at_all,
            attempts: a_known_child_is_left_as_it_is,
            attempts: a_skipped_child_ends_as_it_is_stored,
            attempts: an_outcome_is_recorded_once,
            attempts: the_records_before_an_outcome_come_before_it,
            attempts: a_failed_attempt_leaves_its_error_in_the_log,
            attempts: a_poor_outcome_is_refused,
            attempts: an_attempt_that_was_replaced_can_do_nothing,
            cancels: everything_below_is_cancelled_from_the_top_down,
            cancels: what_had_ended_stands_and_nothing_can_be_added,
            cancels: a_child_of_an_earlier_generation_is_reached_through_the_log,
            cancels: a_cancelled_attempt_can_record_nothing,
            concludes: the_first_answer_holds_and_the_second_is_told,
            concludes: a_conclusion_wakes_who_waits_and_a_held_task_takes_none,
            concludes: a_poor_conclusion_is_refused,
            parks: a_parked_task_comes_back_with_the_first_end_as_the_same_attempt,
            parks: what_had_ended_before_wakes_at_once,
            parks: a_deadline_and_a_cancel_reach_a_parked_task,
            parks: a_poor_park_is_refused,
            parks: the_end_of_an_inherited_child_wakes_a_later_generation,
            parks: what_is_parked_is_so_after_a_crash,
            retries: a_retry_is_the_next_generation_once,
            retries: what_runs_or_is_done_is_not_retried,
            retries: a_child_is_retried_under_its_parents_newest_generation,
            schedules: a_tick_is_one_task_however_many_rounds_are_made,
            schedules: what_was_missed_is_handled_as_declared,
            schedules: one_that_rests_submits_nothing_and_makes_nothing_up,
            schedules: a_single_time_comes_once_and_leaves_no_schedule,
            schedules: a_poor_schedule_is_refused_and_the_same_is_known,
            schedules: one_that_was_put_by_hand_counts_from_when_it_is_seen,
            schedules: one_whose_time_a_round_cannot_tell_is_left_to_those_who_can,
            schedules: what_is_due_after_a_crash_is_submitted_once,
            versions: what_a_version_began_stays_with_it,
            versions: a_newer_version_goes_on_when_it_says_so,
            versions: what_was_given_back_before_it_began_is_anybodys,
            versions: what_nobody_serves_any_more_is_given_up_after_a_while,
            versions: who_began_it_is_known_after_a_crash,
            waits: any_ends_with_the_first_and_all_with_the_last,
            waits: a_wait_ends_when_it_may_and_says_what_is_there,
            waits: what_is_not_there_yet_can_be_waited_for,
            messages: an_ask_ends_in_an_answer_or_a_rejection,
            messages: nobody_there_is_an_error_and_a_dead_letter,
            messages: waiting_and_running_count_together,
            messages: a_deadline_ends_an_ask_queued_or_running,
            messages: a_recipient_that_vanishes_is_a_crash_at_once,
            messages: a_dropped_ask_is_not_begun_or_seen_to_be_gone,
            messages: a_notification_that_waits_too_long_is_never_handled,
            messages: what_cannot_be_read_is_kept,
            messages: a_closed_queue_answers_what_waited_in_it,
            messages: the_last_to_leave_closes_the_queue,
            messages: a_queue_outlives_who_serves_it,
            messages: everybody_gets_their_own_answer,
            messages: a_broadcast_reaches_all_but_its_sender,
            messages: a_subscriber_that_falls_behind_is_told_once,
            messages: consume_gives_up_after_its_time,
            state: a_write_is_applied_or_meets_a_conflict,
            state: a_version_is_never_used_twice,
            state: writes_are_answered_in_order_and_each_alone,
            state: history_tells_who_changed_what_from_what_to_what,
            state: a_key_and_what_lies_below_it_are_listed,
            state: a_watcher_sees_what_is_there_and_then_every_change,
            state: a_watcher_that_falls_behind_sees_all_or_is_told_and_ends,
            state: the_past_is_there_by_number_and_by_time,
            state: any_snapshot_and_its_tail_are_the_whole_replay,
            events: published_facts_have_numbers_without_gaps,
            events: a_reader_gets_what_passes_from_where_it_asked,
            events: following_has_no_seam_between_stored_and_new,
            events: state_changes_are_facts_with_what_was_there_before,
            events: the_log_says_exactly_what_happened,
            dead: letters_are_listed_shown_and_purged,
            dead: a_task_is_put_back_once_and_a_message_never,
            dead: a_failed_task_is_kept_with_its_body_and_its_error,
            crashes: what_was_acknowledged_is_there_after_a_crash,
            crashes: a_claim_does_not_survive_but_its_attempt_counts,
            crashes: what_was_at_work_beside_others_is_known_to_have_been_begun,
        }
    };
    (@list $then:ident $args:tt $($room:ident: $name:ident,)*) => { $($crate::$then! { $args $room $name })* };
}

/// Calls `$then! { room name }` for every race, each in real time.
#[macro_export]
macro_rules! for_each_race {
    ($then:ident $($args:tt)*) => {
        $crate::for_each_check! { @list $then ($($args)*)
            races: every_task_is_claimed_once,
            races: one_finish_of_many_is_the_outcome,
            races: an_older_claim_never_beats_a_newer_one,
            races: one_submit_of_many_is_new,
            races: counting_under_contention_loses_nothing,
            races: a_cancel_and_a_finish_leave_one_outcome,
            races: asks_from_everywhere_get_their_own_answers,
            races: a_wait_never_misses_an_end,
            schedules: rounds_at_the_same_time_submit_each_tick_once,
            parks: a_park_never_misses_an_end,
        }
    };
}

/// Calls `$then! { room name }` for every storm, each in time that flows as fast as everybody waits.
#[macro_export]
macro_rules! for_each_storm {
    ($then:ident $($args:tt)*) => {
        $crate::for_each_check! { @list $then ($($args)*)
            storms: every_task_ends_once_with_its_own_result,
            storms: every_acknowledged_count_is_there_once,
            storms: every_ask_ends_by_its_deadline_in_its_own_answer_or_none,
            storms: every_acknowledged_fact_is_there_at_its_number,
        }
    };
}

/// Whether a check is of the third that is always made, also where each of them takes seconds: those whose words can be
/// counted off in threes.
pub fn is_chosen(check: &str) -> bool {
    check.split('_').count().is_multiple_of(3)
}

/// The same, or whether all are wanted, `CALLBOARD_R3=all`. Says so of one that is not.
pub fn is_due(check: &str) -> bool {
    let is_due = is_chosen(check) || std::env::var("CALLBOARD_R3").is_ok_and(|checks| checks == "all");
    if !is_due {
        println!("LEFT to CALLBOARD_R3=all: {check}");
    }
    is_due
}

/// All checks, races and storms as tests over one wing: `contract!(Memory::default)`.
#[macro_export]
macro_rules! contract {
    ($wing:expr) => {
        $crate::for_each_check!(still_test $wing);
        $crate::for_each_race!(race_test $wing);
        $crate::for_each_storm!(storm_test $wing);
    };
}

/// One check as a test.
#[macro_export]
macro_rules! still_test {
    (($wing:expr) $room:ident $name:ident) => {
        #[test]
        fn $name() {
            $crate::contract::in_still_time(::std::sync::Arc::new($wing()), $crate::contract::$room::$name);
        }
    };
}

/// One check as a test, if it is [due](is_due).
#[macro_export]
macro_rules! due_test {
    (($wing:expr) $room:ident $name:ident) => {
        #[test]
        fn $name() {
            if $crate::contract::is_due(stringify!($name)) {
                $crate::contract::in_still_time(::std::sync::Arc::new($wing()), $crate::contract::$room::$name);
            }
        }
    };
}

/// Adds a check, with its room, to a set.
#[macro_export]
macro_rules! list_check {
    (($list:ident) $room:ident $name:ident) => {
        $list.insert((stringify!($room), stringify!($name)));
    };
}

/// One check as a test, if it is of the room of messages.
#[macro_export]
macro_rules! messages_test {
    (($wing:expr) messages $name:ident) => {
        $crate::still_test! { ($wing) messages $name }
    };
    ($wing:tt $room:ident $name:ident) => {};
}

/// One race as a test.
#[macro_export]
macro_rules! race_test {
    (($wing:expr) $room:ident $name:ident) => {
        #[test]
        fn $name() {
            $crate::contract::in_real_time(::std::sync::Arc::new($wing()), $crate::contract::$room::$name);
        }
    };
}

/// One storm as a test.
#[macro_export]
macro_rules! storm_test {
    (($wing:expr) $room:ident $name:ident) => {
        #[test]
        fn $name() {
            $crate::contract::in_flowing_time(::std::sync::Arc::new($wing()), $crate::contract::$room::$name);
        }
    };
}
