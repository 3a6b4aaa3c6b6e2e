//! The whole runtime in virtual time, over and over: each seed is a cluster, its work and its bad luck.
//!
//! `SIM_SEED=n` runs one seed and shows its trace, `SIM_SEEDS=n` so many of them, from `SIM_FROM=n` on.
//!
//! That two lives of one seed are the same in every line is tried for many seeds. What it rests on: no decision of the
//! runtime is left to an unbiased `select!`, the order of a hash map or a clock that is not told; jitter is a function of
//! task, node and failure. What is left to chance is in which order tokio's `watch` channels wake several who wait for
//! one value, which no seed has shown so far.

mod questions;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use callboard_tests::sim::{self, On, Report, Sin};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs seeds on all cores, and returns the reports of those that failed.
fn failed(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> Report + Sync) -> Vec<Report> {
    let (next, bad) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run(seed);
                    if report.verdict.is_err() {
                        bad.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    let mut bad = bad.into_inner().unwrap();
    bad.sort_by_key(|report| report.seed);
    bad
}

fn clean(test: &str, on: On, seeds: u64) {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let from = number("SIM_FROM").unwrap_or(0);
            from..from + number("SIM_SEEDS").unwrap_or(seeds)
        }
    };
    let bad = failed(seeds.clone(), |seed| sim::run(seed, on, None));
    if let (Some(seed), true) = (number("SIM_SEED"), bad.is_empty()) {
        sim::run(seed, on, None).trace.iter().for_each(|line| println!("{line}"));
    }
    for report in bad.iter().take(3) {
        let rerun = format!("SIM_SEED={} cargo test -p callboard-tests --test simulation {test}", report.seed);
        println!("{}", report.tell(&rerun));
    }
    let numbers: Vec<_> = bad.iter().map(|report| report.seed).collect();
    assert!(bad.is_empty(), "{} of {} seeds break a promise: {numbers:?}", bad.len(), seeds.end - seeds.start);
}

#[test]
fn promises_hold_in_memory() {
    clean("promises_hold_in_memory", On::Memory, 2_000);
}

#[test]
fn promises_hold_on_sqlite() {
    clean("promises_hold_on_sqlite", On::Sqlite, 200);
}

/// Where two lives of one seed part, if they do.
fn parting(seed: u64, on: On) -> Option<String> {
    let [first, second] = [sim::run(seed, on, None), sim::run(seed, on, None)];
    if (first.hash, first.trace.len()) == (second.hash, second.trace.len()) {
        return None;
    }
    let at = first.trace.iter().zip(&second.trace).take_while(|(a, b)| a == b).count();
    let lines = |report: &Report| report.trace[at.saturating_sub(3)..].iter().take(6).cloned().collect::<Vec<_>>();
    Some(format!("seed {seed} is not the same twice\n{:#?}\n{:#?}", lines(&first), lines(&second)))
}

fn comes_again(on: On, seeds: u64) {
    let partings: Vec<_> = (0..seeds).filter_map(|seed| parting(seed, on)).collect();
    partings.iter().take(5).for_each(|parting| println!("{parting}"));
    assert!(partings.is_empty(), "{} of {seeds} seeds are not the same twice", partings.len());
}

#[test]
fn a_seed_comes_again_in_memory() {
    comes_again(On::Memory, 100);
}

#[test]
fn a_seed_comes_again_on_sqlite() {
    comes_again(On::Sqlite, 25);
}

/// Looks for a seed in which a bug breaks a promise, among so many.
fn found(sin: Sin, within: u64, what: &str) {
    let first = (0..within).map(|seed| sim::run(seed, On::Memory, Some(sin))).find(|report| report.verdict.is_err());
    let report = first.unwrap_or_else(|| panic!("{sin:?} is not found in {within} seeds"));
    let told = report.tell("cargo test");
    let why = report.verdict.unwrap_err();
    for part in [
        &format!("seed {}: {why}", report.seed),
        "again: cargo test",
        &report.schedule[0],
        &report.trace[report.trace.len() - 1],
    ] {
        assert!(told.contains(part), "{part} is missing in what a person is told:\n{told}");
    }
    println!("{sin:?} is found by seed {}: {why}", report.seed);
    assert!(why.contains(what), "{sin:?} is found as \"{why}\" and not as \"{what}\"");
}

#[test]
fn a_missing_fence_is_found() {
    found(Sin::NoFence, 200, "wrote after claim");
}

#[test]
fn an_early_answer_is_found() {
    found(Sin::EarlyAnswer, 200, "acknowledged");
}

#[test]
fn a_lost_wake_up_is_found() {
    found(Sin::LostWakeUp, 200, "is parked for ever");
}

#[test]
fn a_missing_intent_is_found() {
    found(Sin::NoIntent, 200, "has a result and no intent");
}

#[test]
fn an_overwritten_outcome_is_found() {
    found(Sin::Overwritten, 200, "was");
}

/// Storms in which all that promises are about is reached.
const SEEDS: u64 = 600;

/// What cannot go wrong in any seed is not tried by any: the storms have to reach what the promises are about.
#[test]
fn storms_reach_what_promises_are_about() {
    let mut missing = vec![
        "[\"parked\"]",
        "[\"released\"]",
        "[\"intent\"]",
        "[\"effect\"]",
        "[\"undone\"]",
        "[\"step\"]",
        "doubt:",
        "Cancelled { tasks: [",
        "agent: Some(\"ann\")",
        "status: Failed",
        "DeadLetter",
        "attempt 3 on",
        "key: Some(",
        "Step(",
    ];
    for seed in 0..SEEDS {
        let trace = sim::run(seed, On::Memory, None).trace;
        missing.retain(|what| {
            let is_reached = trace.iter().any(|line| line.contains(what));
            if is_reached {
                println!("{what}: seed {seed}");
            }
            !is_reached
        });
        if missing.is_empty() {
            return;
        }
    }
    panic!("no storm of {SEEDS} reaches {missing:?}");
}
