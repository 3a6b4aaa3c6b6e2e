use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The longest that a child may take to say or do what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program that prints one word a line. Killed when it is dropped.
pub struct Child {
    process: process::Child,
    words: Receiver<String>,
    last: String,
    stderr: Receiver<String>,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last word that it said.
    pub last: String,
    /// What it complained about.
    pub stderr: String,
}

#[derive(PartialEq)]
enum Heard {
    Word,
    Nothing,
    End,
}

impl Child {
    /// Starts it.
    pub fn start(program: &mut Command) -> Self {
        let mut process =
            program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (stdout, stderr) = (process.stdout.take().expect("piped"), process.stderr.take().expect("piped"));
        let (say, words) = mpsc::sync_channel(64);
        std::thread::spawn(move || {
            // A line that was cut off by a kill is no word.
            for word in BufReader::new(stdout).lines().map_while(Result::ok) {
                if say.send(word).is_err() {
                    break;
                }
            }
        });
        let (complain, complaints) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What came before the pipe broke is worth having too.
            let _ = BufReader::new(stderr).read_to_end(&mut text);
            let _ = complain.send(String::from_utf8_lossy(&text).into_owned());
        });
        Self { process, words, last: String::new(), stderr: complaints }
    }

    /// Waits until it says this word; whether it did before it ended.
    pub fn says(&mut self, word: &str) -> bool {
        while self.next_word(PATIENCE) == Heard::Word {
            if self.last == word {
                return true;
            }
        }
        false
    }

    /// Waits for the next word that it says; none when it ended.
    pub fn word(&mut self) -> Option<String> {
        (self.next_word(PATIENCE) == Heard::Word).then(|| self.last.clone())
    }

    /// Waits for its end for so long; whether it came.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            match self.next_word(until.saturating_duration_since(Instant::now())) {
                Heard::Word => {}
                Heard::Nothing => return false,
                Heard::End => return true,
            }
        }
    }

    fn next_word(&mut self, limit: Duration) -> Heard {
        match self.words.recv_timeout(limit) {
            Ok(word) => {
                self.last = word;
                Heard::Word
            }
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            // Its end of the pipe is closed.
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    /// Ends it as the kernel does when memory is short: it gets no chance to do anything.
    pub fn kill(&mut self) {
        // Refused only when it has ended already.
        let _ = self.process.kill();
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Stops its clock: its connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, which: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([which, &pid]).stderr(Stdio::null()).status();
        sent.expect("there is a kill command");
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        assert!(self.ends_within(PATIENCE), "it did not end");
        let status = self.process.wait().expect("it has ended");
        let last = std::mem::take(&mut self.last);
        let stderr = self.stderr.recv().unwrap_or_default();
        Ended { code: status.code(), signal: status.signal(), last, stderr }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        let _ = self.process.wait();
    }
}
