//! When schedules are due, and what a look at them comes to.

use std::time::Duration;

use callboard_broker::subject::CapabilityName;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn schedule(when: When, missed: Missed, next: Millis) -> Schedule {
    let capability = CapabilityName::parse("x").unwrap();
    Schedule { next: Some(next), missed, ..Schedule::of("s", capability, json!(1).into(), when) }
}

fn every(seconds: u64) -> When {
    When::every(Duration::from_secs(seconds)).begun(1)
}

#[test]
fn every_so_often_counts_from_when_it_began() {
    let when = When::Every { period: Duration::from_secs(10).into(), from: 5_000 };
    assert_eq!((when.after(0), when.after(14_999), when.after(15_000)), (Some(15_000), Some(15_000), Some(25_000)));
    assert_eq!((when.up_to(14_999), when.up_to(15_000), when.up_to(60_000)), (None, Some(15_000), Some(55_000)));
}

#[cfg(feature = "cron")]
#[test]
fn cron_expressions_are_counted_in_utc() {
    // 2026-11-29T10:00:00Z is a Sunday.
    let now = 1_795_946_400_000;
    let hour = 3_600_000;
    for (text, next) in [
        ("0 3 * * *", now + 17 * hour),
        ("30 10 * * SUN", now + hour / 2),
        ("0 9 * * MON-FRI", now + 23 * hour),
        ("*/15 * * * *", now + hour / 4),
        ("30 0 10 * * *", now + 30_000),
    ] {
        let when = When::cron(text);
        when.check().unwrap();
        assert_eq!(when.after(now), Some(next), "{text}");
        assert_eq!(when.up_to(next), Some(next), "{text}");
        assert!(when.up_to(next - 1).unwrap() < next, "{text}");
    }
    for text in ["", "never", "* * *", "61 * * * *"] {
        assert!(When::cron(text).check().is_err(), "{text}");
    }
}

#[test]
fn a_document_says_what_it_is_in_words() {
    let told = serde_json::to_value(schedule(every(60), Missed::All, 60_001)).unwrap();
    assert_eq!(told["when"], json!({ "every": { "period": "1m", "from": 1 } }));
    assert_eq!((&told["missed"], &told["next"]), (&json!("all"), &json!(60_001)));
    assert!(serde_json::from_value::<Schedule>(told).is_ok());
}

#[test]
fn a_name_and_the_latest_time_make_the_id_of_a_run() {
    let longest = Schedule { name: "a".repeat(MAX_NAME), ..schedule(every(1), Missed::Skip, 1) };
    assert!(longest.run(9_999_999_999_999).is_ok());
}

proptest! {
    #[test]
    fn ticks_are_taken_once_and_in_order_however_often_it_is_looked(
        period in 1_u64..200, looks in proptest::collection::vec(1_u64..400_000, 1..40), all in any::<bool>(),
    ) {
        let missed = if all { Missed::All } else { Missed::Skip };
        let mut of = schedule(every(period), missed, 1 + period * 1_000);
        let (mut now, mut fired, mut skipped) = (1, Vec::new(), 0);
        for look in looks {
            now += look;
            if let Some(plan) = of.plan(now) {
                prop_assert!(plan.fire.iter().all(|tick| *tick <= now && of.when.up_to(*tick) == Some(*tick)));
                prop_assert!(plan.next.is_some_and(|next| next > now));
                fired.extend(plan.fire);
                skipped += plan.skipped;
                of.next = plan.next;
            }
        }
        prop_assert!(fired.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(fired.len() as u64 + skipped, (now - 1) / (period * 1_000), "none is lost and none is new");
    }
}
