use std::collections::BTreeSet;

use super::{Line, Recorded};

/// One life of a process: what there was when it began.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// Lines in the ledger.
    pub lines: usize,
    /// What the store held.
    pub recorded: Recorded,
}

/// Every execution of what had been recorded before the process began that did it.
pub fn repeated(lives: &[Life], ledger: &[Line]) -> Vec<String> {
    let mut found = Vec::new();
    for (n, life) in lives.iter().enumerate() {
        let end = lives.get(n + 1).map_or(ledger.len(), |next| next.lines);
        for line in ledger.get(life.lines..end).unwrap_or_default() {
            let again = match line.what.as_str() {
                "handle" => life.recorded.has_ended(&line.task),
                step => life.recorded.steps.contains(&(line.task.clone(), step.to_owned())),
            };
            if again {
                found.push(format!("life {}: {} of {} had its result already", n + 1, line.what, line.task));
            }
        }
    }
    found
}

/// What is missing from a run whose tasks are these, all of them completed: each once, each really executed, except
/// those that keep no ledger.
pub fn incomplete(expected: &BTreeSet<String>, unheard: &[&str], recorded: &Recorded, ledger: &[Line]) -> Vec<String> {
    let mut found = Vec::new();
    for task in recorded.tasks.keys().filter(|task| !expected.contains(*task)) {
        found.push(format!("{task} is no task of the run"));
    }
    for task in expected {
        let status = recorded.tasks.get(task).map_or("unknown", String::as_str);
        if status != "completed" {
            found.push(format!("{task} is {status}"));
        }
        let outcomes = recorded.completed.get(task).copied().unwrap_or(0);
        if outcomes != 1 {
            found.push(format!("{task} has {outcomes} outcomes"));
        }
    }
    let executed: BTreeSet<&str> = ledger.iter().map(|line| line.task.as_str()).collect();
    for line in ledger.iter().filter(|line| !expected.contains(&line.task)) {
        found.push(format!("{} was executed and is no task of the run", line.task));
    }
    let silent = expected.iter().filter(|task| !executed.contains(task.as_str()) && !unheard.contains(&task.as_str()));
    found.extend(silent.map(|task| format!("{task} was recorded and never executed")));
    found
}
