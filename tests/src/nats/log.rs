//! What a program says on its standard error, to be waited for.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The newest lines that are kept.
const LINES: usize = 2_000;
/// The longest that a line is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The log of one process.
#[derive(Default)]
pub(super) struct Log {
    heard: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Default)]
struct Heard {
    lines: VecDeque<String>,
    ended: bool,
}

impl Log {
    /// Reads it in a thread of its own, to its end: a program whose log nobody reads stands still.
    pub(super) fn read(source: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let ours = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                ours.add(String::from_utf8_lossy(&line).into_owned());
            }
            ours.heard().ended = true;
            ours.changed.notify_all();
        });
        log
    }

    /// The lines so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.heard().lines.iter().cloned().collect()
    }

    /// The first line with this text, as soon as there is one.
    ///
    /// # Errors
    /// When the program has ended without it or 30 s have passed, with all that it said.
    pub(super) fn wait_for(&self, text: &str) -> Result<String, String> {
        let found = |heard: &Heard| heard.lines.iter().find(|line| line.contains(text)).cloned();
        let heard = self.wait(|heard| heard.ended || found(heard).is_some());
        let how = if heard.ended { "it ended" } else { "it is late" };
        found(&heard).ok_or_else(|| format!("{how}\n{}", Vec::from(heard.lines.clone()).join("\n")))
    }

    /// Waits until there is no more to come; whether that is so after 30 s.
    pub(super) fn wait_for_end(&self) -> bool {
        self.wait(|heard| heard.ended).ended
    }

    fn wait(&self, enough: impl Fn(&Heard) -> bool) -> MutexGuard<'_, Heard> {
        let until = Instant::now() + PATIENCE;
        let mut heard = self.heard();
        while !enough(&heard) && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            heard = self.changed.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        heard
    }

    fn add(&self, line: String) {
        let mut heard = self.heard();
        if heard.lines.len() == LINES {
            heard.lines.pop_front();
        }
        heard.lines.push_back(line);
        self.changed.notify_all();
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
