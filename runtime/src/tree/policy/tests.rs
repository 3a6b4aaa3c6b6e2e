use super::*;

#[test]
fn waits_double_up_to_the_longest_with_full_jitter() {
    let backoff = Backoff::default();
    let longest: Vec<u128> = (1..=10).map(|failure| backoff.delay(failure, 1.0).as_millis()).collect();
    assert_eq!(longest, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    assert_eq!(backoff.delay(u32::MAX, 1.0), Duration::from_secs(10));
    assert_eq!(backoff.delay(5, 0.0), Duration::ZERO);
    assert_eq!(backoff.delay(5, 0.25), Duration::from_millis(200));
}

#[test]
fn jitter_is_spread_evenly_and_repeatable() {
    let draw = |seed| {
        let mut jitter = Jitter::seeded(seed);
        (0..10_000).map(|_| jitter.unit()).collect::<Vec<_>>()
    };
    let numbers = draw(42);
    assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
    for tenth in 0..10 {
        let low = f64::from(tenth) / 10.0;
        let share = numbers.iter().filter(|number| (low..low + 0.1).contains(*number)).count();
        assert!((850..1150).contains(&share), "{share} of 10,000 in the tenth from {low}");
    }
    assert_eq!(numbers, draw(42));
    assert_ne!(numbers, draw(43));
}

#[test]
fn refusals_are_sentences() {
    let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
    let text = |result: Result<_, SpecError>| result.map(|_: Backoff| ()).unwrap_err().to_string();
    assert_eq!(text(Backoff::new(zero, second)), "the shortest backoff is zero; leave the backoff out instead");
    assert_eq!(text(Backoff::new(second * 2, second)), "the longest backoff, 1s, is under the shortest, 2s");
    assert_eq!(text(Backoff::new(second, second * 7200)), "the longest backoff is 7200s, the most is one hour");
    assert_eq!(text(Backoff::default().factor(f64::NAN)), "the factor of a backoff is NaN, it must be from 1 to 100");
    assert_eq!(text(Backoff::default().reset_after(zero)), "a backoff that resets after zero would never grow");
    let text = |result: Result<Intensity, SpecError>| result.unwrap_err().to_string();
    assert_eq!(text(Intensity::new(10_001, second)), "intensity allows 10001 restarts, the most is 10000");
    assert!(text(Intensity::new(1, zero)).starts_with("the period of an intensity is zero"));
}

#[test]
fn a_pool_may_restart_as_often_as_it_has_workers_but_three_times_at_least() {
    assert_eq!([0, 3, 8, u32::MAX].map(|workers| Intensity::pool(workers).max()), [3, 3, 8, MAX_RESTARTS]);
}
