//! A door over HTTP: any client of an OpenAI-compatible model uses a team, or any public capability, as a model, and any
//! client of the Agent2Agent protocol as an agent.
//!
//! | file | holds |
//! |---|---|
//! | `listen` | connections, as many as there may be, for as long as the door is open |
//! | `unread` | until when an answer waits for its reader |
//! | `route` | from a request to who answers it |
//! | `gate` | who may come in |
//! | `refusal` | why not, as an answer |
//! | `stream` | a run as an answer that is told while it goes on |
//! | `openai` | `/v1/models`, `/v1/chat/completions` |
//! | `a2a` | agent cards, and messages of other agents at `/a2a` |
//!
//! The server is hyper, which is under the client of model providers in any case; a router on top of it would route seven
//! paths.
//!
//! # Guarantees
//! An answered request is one run, which `task ls` shows like any other. No more than [`Options::at_once`] are worked on
//! together, none for longer than [`Options::limit`], no more than [`Options::body`] bytes are read of one, and no
//! answer waits for its reader longer than [`Options::unread`]. Who asks a model and closes the connection has taken the
//! request back: its run is cancelled. Beyond this machine nobody comes in without a key.

mod a2a;
mod gate;
mod listen;
mod openai;
mod refusal;
mod route;
mod stream;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callboard_agents::llm::Secret;
use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::problem::Problem;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::door::Desk;
use route::Room;

/// Requests that are worked on together: 64.
pub const AT_ONCE: usize = 64;
/// Connections: 512. More wait until one is closed.
pub const CONNECTIONS: usize = 512;
/// The longest body of a request: 4 MiB.
pub const BODY: usize = 4 << 20;
/// How long one request may take: 9 min, because clients of models give up after 10.
pub const LIMIT: Duration = Duration::from_secs(9 * 60);
/// How often a listener is told that the work goes on: 15 s.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long an answer waits for its reader to take more of it: 30 s.
pub const UNREAD: Duration = Duration::from_secs(30);
/// How long requests that are worked on may take when the door is left: 10 s.
pub const FAREWELL: Duration = Duration::from_secs(10);
/// The shortest key, in characters.
pub const MIN_KEY: usize = 16;
/// How long the last words may take after that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How the door is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Of which a client has to know one. Without any, only programs of this machine are listened to.
    pub keys: Vec<Secret>,
    /// Requests that are worked on together; one more is refused with 429. Default [`AT_ONCE`].
    pub at_once: usize,
    /// Connections. Default [`CONNECTIONS`].
    pub connections: usize,
    /// The longest body of a request, in bytes. Default [`BODY`].
    pub body: usize,
    /// How long one request may take. Default [`LIMIT`].
    pub limit: Duration,
    /// How often a listener is told that the work goes on. Default [`KEEP_ALIVE`].
    pub keep_alive: Duration,
    /// How long nobody may read what is answered before the connection is closed. Default [`UNREAD`].
    pub unread: Duration,
    /// How long requests that are worked on may take when the door is left. Default [`FAREWELL`].
    pub farewell: Duration,
}

impl Options {
    /// With all defaults, and without a key.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            keys: Vec::new(),
            at_once: AT_ONCE,
            connections: CONNECTIONS,
            body: BODY,
            limit: LIMIT,
            keep_alive: KEEP_ALIVE,
            unread: UNREAD,
            farewell: FAREWELL,
        }
    }

    fn check(&self) -> Result<()> {
        let problem = if self.keys.is_empty() && !self.listen.ip().is_loopback() {
            let what = format!("{} can be reached from other machines, and there is no key", self.listen);
            Problem::new(code::OPEN_DOOR, what).fix("--http-key-file FILE, or --http 127.0.0.1:8080")
        } else if self.keys.iter().any(|key| key.expose().chars().count() < MIN_KEY) {
            let what = format!("a key of this door is shorter than {MIN_KEY} characters");
            Problem::new(code::OPEN_DOOR, what).fix("openssl rand -hex 32 > key")
        } else {
            return Ok(());
        };
        Err(Error::Config(Box::new(problem.into())))
    }
}

/// An open door. Shut at once when it is dropped; [`leave`](Server::leave) says goodbye.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    room: Arc<Room>,
    closing: watch::Sender<bool>,
    listening: Mutex<JoinHandle<()>>,
}

impl Server {
    /// Opens it: from when this has resolved, requests are taken.
    ///
    /// # Errors
    /// `Config` for an address that cannot be listened on, for one that other machines reach while there is no key
    /// (CB0821), and for a key that is too short.
    pub async fn open(desk: Desk, options: Options) -> Result<Self> {
        options.check()?;
        let unusable = |e: std::io::Error| {
            let what = format!("{} cannot be listened on: {}", options.listen, e.kind());
            Error::Config(Box::new(Problem::new(code::LISTEN, what).fix("--http 127.0.0.1:0 takes a free port").into()))
        };
        let listener = TcpListener::bind(options.listen).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let (closing, closes) = watch::channel(false);
        let room = Arc::new(Room::new(desk, options));
        let listening = Mutex::new(tokio::spawn(listen::listen(listener, room.clone(), closes)));
        Ok(Self { address, room, closing, listening })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests; those that are worked on go on.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Takes no more requests, waits for those that are worked on, at most [`Options::farewell`], and tells the callers of
    /// the others that their runs go on without them.
    ///
    /// # Cancellation
    /// What is worked on goes on, and it can be left again.
    pub async fn leave(&self) {
        self.close();
        let mut listening = self.listening.lock().await;
        if listening.is_finished() {
            return;
        }
        if timeout(self.room.options.farewell, &mut *listening).await.is_err() {
            self.room.leave();
            if timeout(LAST_WORDS, &mut *listening).await.is_err() {
                listening.abort();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.listening.get_mut().abort();
    }
}
