//! Bounds of real time.
//!
//! How long something takes is up to the machine as much as to the code. So a test that may have others beside it prints
//! what it measured, and fails only when that is over the bound by [`LEEWAY`]: what hangs, or waits for some timeout, is
//! found everywhere. With `CALLBOARD_STRICT=1`, which the nightly run sets on a machine that does nothing else, nothing
//! over the bound passes.

use std::time::Duration;

/// How much longer than it should something may take on a machine that does other things.
pub const LEEWAY: Duration = Duration::from_secs(10);

/// Whether bounds are asserted as they are: `CALLBOARD_STRICT=1`.
pub fn are_strict() -> bool {
    std::env::var("CALLBOARD_STRICT").is_ok_and(|strict| strict == "1")
}

/// Prints how long `what` took and its bound.
///
/// # Panics
/// When it took longer than `bound`, and [`LEEWAY`] unless bounds [are strict](are_strict).
#[track_caller]
pub fn within(what: &str, took: Duration, bound: Duration) {
    println!("{what}: {took:?}, at most {bound:?} are promised");
    assert!(is_within(took, bound, are_strict()), "{what}: {took:?}, and not {bound:?}");
}

fn is_within(took: Duration, bound: Duration, strict: bool) -> bool {
    took < if strict { bound } else { bound + LEEWAY }
}

#[test]
fn the_leeway_is_left_out_when_bounds_are_strict() {
    let bound = Duration::from_millis(250);
    let over = bound + Duration::from_millis(1);
    assert!(is_within(over, bound, false) && !is_within(over, bound, true));
    assert!(!is_within(over + LEEWAY, bound, false));
}
