//! The other side of all effects: an HTTP server that counts what it was really asked to do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Post {
    /// The task that posts.
    pub task: String,
    /// Which of its posts, from 1.
    pub n: u64,
    /// Its `Idempotency-Key`.
    pub key: Option<String>,
    /// The version of the agent that posts, if it says so.
    pub version: Option<String>,
}

/// The server, for as long as the test runs.
#[derive(Clone)]
pub struct Counter {
    address: String,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Counter {
    /// Starts it, on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let counter = Self { address, posts: Arc::default() };
        let serving = counter.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counter = serving.clone();
                // One that breaks off in the middle was killed.
                std::thread::spawn(move || counter.answer(stream).ok());
            }
        });
        counter
    }

    /// Where to post.
    pub fn url(&self) -> String {
        format!("http://{}/count", self.address)
    }

    /// What has come so far, in order.
    pub fn posts(&self) -> Vec<Post> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut length, mut key, mut line) = (0, None, String::new());
        while reader.read_line(&mut line)? > 2 {
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "idempotency-key" => key = Some(value.trim().to_owned()),
                _ => {}
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body)?;
        let task = body["task"].as_str().unwrap_or_default().to_owned();
        let version = body["version"].as_str().map(str::to_owned);
        self.lock().push(Post { task, n: body["n"].as_u64().unwrap_or_default(), key, version });
        // Between what was done and its answer there is time to die.
        std::thread::sleep(Duration::from_millis(15));
        (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    }
}
