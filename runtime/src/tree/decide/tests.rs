use super::*;
use crate::tree::exit::Exceeded;

fn policy(max: u32) -> Policy {
    Policy {
        strategy: Strategy::OneForOne,
        intensity: Intensity::new(max, Duration::from_secs(30)).unwrap(),
        backoff: Some(Backoff::default()),
        max_failed_starts: 3,
    }
}

fn verdict(restart: Restart, exit: &ExitReason) -> Verdict {
    let (mut history, mut window) = (History::default(), Window::default());
    decide(&policy(5), restart, exit, &mut history, &mut window, Duration::ZERO, 0.5)
}

#[test]
fn restart_types_by_exit() {
    let text = || "why".to_owned();
    let exits = [
        ExitReason::Normal,
        ExitReason::Shutdown,
        ExitReason::Killed,
        ExitReason::StartFailed(text()),
        ExitReason::Error(text()),
        ExitReason::Panic(text()),
        ExitReason::IntensityExceeded(Box::new(Exceeded {
            child: "a".into(),
            times: 4,
            within_ms: Some(30_000),
            last: ExitReason::Killed,
        })),
    ];
    let again = Verdict::Restart { attempt: 1, delay: Duration::ZERO };
    for (at, exit) in exits.iter().enumerate() {
        assert_eq!(verdict(Restart::Permanent, exit), again, "{exit}");
        assert_eq!(verdict(Restart::Transient, exit), if at < 2 { Verdict::Leave } else { again.clone() }, "{exit}");
        assert_eq!(verdict(Restart::Temporary, exit), Verdict::Leave, "{exit}");
    }
}

#[test]
fn the_window_slides() {
    let (mut history, mut window) = (History::default(), Window::default());
    let mut at = |second: u64| {
        let now = Duration::from_secs(second);
        decide(&policy(2), Restart::Permanent, &ExitReason::Killed, &mut history, &mut window, now, 0.0)
    };
    assert!(matches!(at(0), Verdict::Restart { attempt: 1, .. }));
    assert!(matches!(at(20), Verdict::Restart { attempt: 2, .. }));
    // The first is 30 s old and counts no more.
    assert!(matches!(at(30), Verdict::Restart { attempt: 3, .. }));
    assert_eq!(at(49), Verdict::Escalate { times: 3, within: Some(Duration::from_secs(30)) });
}

#[test]
fn a_start_that_works_ends_a_row_of_failed_ones() {
    let (mut history, mut window) = (History::default(), Window::default());
    let failed = ExitReason::StartFailed("no".into());
    let mut fail = |history: &mut History| {
        decide(&policy(100), Restart::Permanent, &failed, history, &mut window, Duration::ZERO, 0.0)
    };
    assert!(matches!(fail(&mut history), Verdict::Restart { .. }));
    assert!(matches!(fail(&mut history), Verdict::Restart { .. }));
    history.started(Duration::ZERO);
    assert!(matches!(fail(&mut history), Verdict::Restart { .. }));
    assert!(matches!(fail(&mut history), Verdict::Restart { .. }));
    assert_eq!(fail(&mut history), Verdict::Escalate { times: 3, within: None });
}
