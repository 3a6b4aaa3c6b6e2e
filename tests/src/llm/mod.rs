//! Servers of language models, as values that die on drop: one that breaks on demand and judges who asks it, and a real
//! one.

mod llama;
mod mock;

pub use llama::Llama;
pub use mock::Mock;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a server may take until it answers. The real one may have to be installed first.
const PATIENCE: Duration = Duration::from_secs(300);

/// A process that ends with its standard input.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    address: String,
}

impl Server {
    /// Starts it; its first line is its address.
    fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = started.unwrap_or_else(|why| panic!("{command:?}: {why}"));
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("it is piped"));
        let mut lines = BufReader::new(output).lines();
        let address = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("http://"));
        let Some(address) = address else {
            let ended = child.wait();
            panic!("{command:?} did not start: {ended:?}");
        };
        // What else it says must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, input, address: address.trim_end_matches('/').to_owned() }
    }

    /// Until it answers this path with success.
    fn ready(self, path: &str) -> Self {
        let began = Instant::now();
        while self.ask("GET", path, "").is_none() {
            assert!(began.elapsed() < PATIENCE, "{} does not answer", self.address);
            std::thread::sleep(Duration::from_millis(50));
        }
        self
    }

    /// The body of its answer to a small request; none when it refuses.
    fn ask(&self, verb: &str, path: &str, body: &str) -> Option<String> {
        let host = self.address.strip_prefix("http://").expect("it is plain HTTP");
        let mut line = TcpStream::connect(host).ok()?;
        let head = format!(
            "{verb} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        line.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        line.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ').nth(1)?.starts_with('2').then(|| body.to_owned())
    }

    fn json(&self, verb: &str, path: &str, body: &Value) -> Value {
        let answer = self.ask(verb, path, &if body.is_null() { String::new() } else { body.to_string() });
        let answer = answer.unwrap_or_else(|| panic!("{verb} {path} was refused"));
        serde_json::from_str(&answer).unwrap_or_else(|why| panic!("{verb} {path}: {why}: {answer}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        // Refused only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
