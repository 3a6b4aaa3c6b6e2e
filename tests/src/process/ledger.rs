//! What was executed, line by line, in a file that no store has a hand in.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use callboard::broker::clock::Clock;

/// One execution of the code of an agent, or of a step of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `handle`, or the name of a step.
    pub what: String,
    /// The task.
    pub task: String,
    /// Its attempt.
    pub attempt: u32,
    /// When it began, by the wall clock, in ms.
    pub at: u64,
}

/// Opens a ledger to [`note`] executions in.
///
/// # Errors
/// Of the file system.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Notes an execution. The system has it before this returns, so a kill loses none that has begun; the disk need not, and
/// nobody's signs of life wait for it.
///
/// # Errors
/// Of the file system.
pub fn note(mut ledger: &File, what: &str, task: &str, attempt: u32) -> io::Result<()> {
    // One write at the end of the file, so lines of several threads stay whole.
    let at = Clock::system().now();
    ledger.write_all(format!("{what} {task} {attempt} {at}\n").as_bytes())
}

/// All that was noted; nothing when nothing was. A line that was cut off by a kill is counted as well.
pub fn read(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (what, task) = (next(), next());
        Line { what, task, attempt: next().parse().unwrap_or(0), at: next().parse().unwrap_or(0) }
    };
    text.lines().map(line).collect()
}
