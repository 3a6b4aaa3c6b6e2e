//! A node is killed at random, again and again, until its run is done: nothing is lost, nothing that was recorded is done
//! again, every outcome is recorded once.
//!
//! Three ways to end it: SIGKILL at a random moment, an abort at a random write of the store, and SIGTERM, which drains.
//! The judge is outside: executions are counted in a file by the agents themselves, outcomes are read from a copy of the
//! store after each end. `KILL_SEED` repeats a sequence, `KILL_POINTS` asks for more than 20 ends.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use callboard_broker::id::{RunId, TaskId};
use callboard_tests::process::{Child, Ended, Life, Line, Recorded, incomplete, ledger, repeated, scatter};
use tempfile::TempDir;

/// The workflow; its agent is the runtime's own and keeps no ledger.
const ROOT: &str = "run";
const LEADS: [&str; 3] = ["one", "two", "last"];
const CHILDREN: [&str; 4] = ["leaf-1", "leaf-2", "leaf-3", "tally"];
/// Every claim counts against the 50 that a task may have, so a run is left in peace after so many.
const MOST_ENDS: usize = 20;

/// How a life is ended.
#[derive(Clone, Copy)]
enum By {
    Kill,
    Write,
    Term,
}

/// One run over its own store, through as many lives as it takes.
struct Run {
    folder: TempDir,
    lives: Vec<Life>,
    ends: usize,
}

impl Run {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), lives: Vec::new(), ends: 0 }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    fn ledger(&self) -> Vec<Line> {
        ledger::read(&self.folder.path().join("ledger"))
    }

    fn recorded(&self) -> Recorded {
        Recorded::read(&self.store())
    }

    /// Starts a node; with a number, one that aborts at that write.
    fn start(&mut self, write: Option<u64>) -> Child {
        self.lives.push(Life { lines: self.ledger().len(), recorded: self.recorded() });
        let mut program = Command::new(env!("CARGO_BIN_EXE_kill_node"));
        program.arg(self.store()).arg(self.folder.path().join("ledger")).arg(ROOT);
        program.args(write.map(|write| write.to_string()));
        Child::start(&mut program)
    }

    /// One life that ends at a point that `random` chooses, if its run is not done before. Whether the run is done.
    fn live(&mut self, by: By, random: u64) -> bool {
        let write = matches!(by, By::Write).then_some(1 + random % 120);
        let mut child = self.start(write);
        match by {
            By::Kill if !child.ends_within(Duration::from_millis(random % 250)) => child.kill(),
            By::Term if child.says("ready") && !child.ends_within(Duration::from_millis(random % 150)) => {
                child.terminate();
            }
            _ => {}
        }
        let Ended { code, signal, last, stderr } = child.end();
        assert_eq!(stderr, "", "a life that was ended has nothing to say");
        let done = last == "done";
        match by {
            By::Term => assert_eq!((code, signal), (Some(0), None), "SIGTERM drains"),
            // A kill may come after the last word.
            By::Kill | By::Write => assert!(done || code != Some(0), "it ended by itself and had not done its work"),
        }
        self.ends += usize::from(!done);
        done
    }

    fn finish(&mut self, by: By, random: &mut u64) {
        while !(self.ends < MOST_ENDS && self.live(by, scatter(random))) {
            if self.ends >= MOST_ENDS {
                assert_eq!(self.start(None).end().last, "done");
                break;
            }
        }
    }

    fn verdict(&self) -> Vec<String> {
        let ledger = self.ledger();
        let recorded = self.recorded();
        [repeated(&self.lives, &ledger), incomplete(&expected(), &[ROOT], &recorded, &ledger), tallied(&recorded)]
            .concat()
    }
}

/// The ids that all tasks of the run must have, whoever computes them and how often.
fn expected() -> BTreeSet<String> {
    let run = RunId::parse(ROOT).unwrap();
    let root = TaskId::root(&run);
    let mut ids = BTreeSet::from([root.to_string()]);
    for lead in LEADS {
        let lead = TaskId::child(&run, &root, lead, 1);
        ids.extend(CHILDREN.map(|key| TaskId::child(&run, &lead, key, 1).to_string()));
        ids.insert(lead.to_string());
    }
    ids
}

/// A state that every lead has had counted up once: a task that was run again must not have changed it again.
fn tallied(recorded: &Recorded) -> Vec<String> {
    let state = recorded.state.get("global.agents.kill.tally").map(String::as_str).unwrap_or_default();
    let count = serde_json::from_str::<serde_json::Value>(state).map(|stored| stored["state"].clone());
    match count {
        Ok(count) if count == LEADS.len() => Vec::new(),
        other => vec![format!("the tally is {other:?}")],
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Ends lives until there were enough of them, in as many runs as that takes, and says what it cost.
fn rounds(by: By, seed: u64, check: impl Fn(&Run)) {
    let (seed, points) = (number("KILL_SEED", seed), number("KILL_POINTS", 20) as usize);
    let (mut random, mut ends, mut runs, mut executed, mut lines) = (seed, 0, 0, 0, 0);
    while ends < points {
        let mut run = Run::new();
        run.finish(by, &mut random);
        let found = run.verdict();
        assert!(found.is_empty(), "seed {seed}, run {}:\n{}", runs + 1, found.join("\n"));
        check(&run);
        let once: BTreeSet<(String, String)> = run.ledger().into_iter().map(|l| (l.what, l.task)).collect();
        (ends, runs) = (ends + run.ends, runs + 1);
        (executed, lines) = (executed + once.len(), lines + run.ledger().len());
    }
    println!("seed {seed}: {ends} ends in {runs} runs; {lines} executions of {executed}, {} extra", lines - executed);
}

#[test]
fn killed_at_random_moments_a_run_is_finished_and_nothing_recorded_is_done_again() {
    rounds(By::Kill, 1, |_| {});
}

#[test]
fn aborted_at_random_writes_a_run_is_finished_and_nothing_recorded_is_done_again() {
    rounds(By::Write, 2, |_| {});
}

/// What a drain could wait for is done once: leaves, tallies and steps. A lead that waits is handed back, and begins
/// again without its steps; no task loses an attempt.
#[test]
fn terminated_a_node_drains_and_nothing_is_done_twice() {
    rounds(By::Term, 3, |run| {
        let leads = LEADS.map(|lead| {
            let id = RunId::parse(ROOT).unwrap();
            TaskId::child(&id, &TaskId::root(&id), lead, 1).to_string()
        });
        let mut seen = BTreeSet::new();
        for line in run.ledger() {
            let first = seen.insert((line.what.clone(), line.task.clone()));
            assert!(first || (line.what == "handle" && leads.contains(&line.task)), "{line:?} was done twice");
            assert_eq!(line.attempt, 1, "a drain costs no attempt: {line:?}");
        }
    });
}

/// The judge must see what it is there for: a ledger and a store are doctored in every way that would be a broken promise.
#[test]
fn the_judge_finds_what_was_done_twice_what_is_missing_and_what_was_made_up() {
    let mut run = Run::new();
    assert_eq!(run.start(None).end().last, "done");
    let (ledger, recorded, expected) = (run.ledger(), run.recorded(), expected());
    assert_eq!(incomplete(&expected, &[ROOT], &recorded, &ledger), Vec::<String>::new());
    assert!(ledger.len() >= expected.len() - 1);

    let lives = [Life::default(), Life { lines: ledger.len(), recorded: recorded.clone() }];
    assert_eq!(repeated(&lives, &ledger), Vec::<String>::new());
    for line in &ledger {
        let again = [ledger.clone(), vec![line.clone()]].concat();
        assert_eq!(repeated(&lives, &again).len(), 1, "{line:?} once more");
        assert_eq!(repeated(&lives[..1], &again).len(), 0, "before any end it is nobody's business");
    }

    let store = rusqlite::Connection::open(run.store()).unwrap();
    let doctored = |sql: &str| {
        store.execute_batch(&format!("SAVEPOINT doctored; {sql}")).unwrap();
        let found = incomplete(&expected, &[ROOT], &Recorded::of(&store), &ledger);
        store.execute_batch("ROLLBACK TO doctored; RELEASE doctored").unwrap();
        found
    };
    assert_eq!(doctored(""), Vec::<String>::new());
    assert_eq!(tallied(&recorded), Vec::<String>::new());
    let mut twice = recorded.clone();
    twice.state.values_mut().for_each(|stored| *stored = stored.replace(":3", ":4"));
    assert_eq!(tallied(&twice).len(), 1);
    let cases = [
        ("DELETE FROM outcome WHERE seq = 5", "pending"),
        ("DELETE FROM task WHERE seq = 5", "unknown"),
        ("UPDATE outcome SET status = 'failed' WHERE seq = 5", "failed"),
        ("INSERT INTO page SELECT first + 100000, run, count, body, crc FROM page", "2 outcomes"),
        ("INSERT INTO task SELECT seq + 100000, id || 'x', run, parent, capability, body, crc FROM task", "no task"),
    ];
    for (sql, what) in cases {
        let found = doctored(sql);
        assert!(found.iter().any(|sentence| sentence.contains(what)), "{sql}: {found:?}");
    }
}
