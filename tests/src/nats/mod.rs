//! A real nats-server as a value: it starts on a free port, keeps its own store, and is gone when the value is.
//!
//! What a server does when it is killed, frozen or cut off cannot be learnt from a stand-in, so there is none: without
//! the program a test fails, it is never left out. Everything here blocks for the few milliseconds that a start takes
//! and needs no runtime, so that plain tests and asynchronous ones use the same value. Nothing waits by the clock: a
//! start is over when the server says in its log that it is ready.
//!
//! ```no_run
//! let server = callboard_tests::nats::Server::start();
//! server.kill();
//! server.restart(); // the same port, the same store
//! ```

mod binary;
mod cluster;
mod config;
mod log;
mod port;
mod process;
mod proxy;
pub mod recorded;
#[cfg(test)]
mod tests;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

pub use binary::binary;
pub use cluster::Cluster;
pub use config::Config;
pub use port::Port;
pub use proxy::{Direction, Proxy};
pub use wire::{Message, Refused, Wire};

use process::{Process, Trouble};

/// How often another port is tried when somebody outside of the tests has taken the one that was free.
const PORTS: usize = 16;

/// A nats-server with JetStream, on its own port and its own store. Killed when it is dropped, and also when the test
/// process is killed itself.
pub struct Server {
    config: Config,
    port: Port,
    folder: TempDir,
    running: Mutex<Option<Process>>,
}

impl Server {
    /// Starts one without any further configuration.
    ///
    /// # Panics
    /// As [`Server::with`].
    pub fn start() -> Self {
        Self::with(Config::default())
    }

    /// Starts one with this configuration. Port, address and store are ours, whatever the configuration says.
    ///
    /// # Panics
    /// When there is no nats-server and none can be installed, and when it does not start; with what it said.
    pub fn with(config: Config) -> Self {
        let folder = tempfile::Builder::new().prefix("callboard-nats-").tempdir().expect("a folder for the store");
        config.write(folder.path());
        for _ in 0..PORTS {
            let port = Port::reserve();
            match Process::start(&config, folder.path(), port.number()) {
                Ok(process) => return Self { config, port, folder, running: Mutex::new(Some(process)) },
                Err(Trouble::PortTaken) => {}
                Err(Trouble::Failed(why)) => panic!("{why}"),
            }
        }
        panic!("{PORTS} ports were taken between looking and listening");
    }

    /// Where clients connect, without credentials: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// The same with a name and a password.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("nats://{user}:{password}@{}", self.address())
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The port, the same after a restart. Nobody else gets it while this value lives, also while the server is down.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The folder that it stores its streams in, the same after a restart.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A folder that lives as long as the server, for what a test wants to keep beside it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pid(&self) -> u32 {
        self.running().as_ref().expect("the server runs").pid()
    }

    /// Ends it as a power cut of the process would: it can write nothing more. No matter if it is down already.
    pub fn kill(&self) {
        if let Some(process) = self.running().take() {
            process.kill();
        }
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// When it has not stopped after 30 s.
    pub fn terminate(&self) {
        if let Some(process) = self.running().take() {
            process.terminate();
        }
    }

    /// Starts it again on the same port and store; one that still runs is killed first. Returns when it is ready.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.kill();
        match Process::start(&self.config, self.folder.path(), self.port()) {
            Ok(process) => *self.running() = Some(process),
            Err(Trouble::PortTaken) => panic!("somebody took port {} while the server was down", self.port()),
            Err(Trouble::Failed(why)) => panic!("{why}"),
        }
    }

    /// Lets it read another configuration, without a restart.
    ///
    /// # Panics
    /// When it is not running.
    pub fn reload(&self, config: &Config) {
        config.write(self.folder.path());
        process::signal(self.pid(), "HUP");
    }

    /// Stops its clock: connections stay open and nothing answers.
    ///
    /// # Panics
    /// When it is not running.
    pub fn freeze(&self) {
        let pid = self.pid();
        process::signal(pid, "STOP");
        // The signal is under way when it is sent: a thread on the other core may still serve somebody.
        while !process::is_stopped(pid) {
            std::thread::yield_now();
        }
    }

    /// Lets a frozen one go on.
    ///
    /// # Panics
    /// When it is not running.
    pub fn thaw(&self) {
        process::signal(self.pid(), "CONT");
    }

    /// What it has logged since its last start, at most the newest 2,000 lines; nothing when it is down.
    pub fn log(&self) -> Vec<String> {
        self.running().as_ref().map(|process| process.log().lines()).unwrap_or_default()
    }

    /// Waits until its log has a line with this text, which is returned.
    ///
    /// # Panics
    /// When that has not happened after 30 s, or it ends before.
    pub fn says(&self, text: &str) -> String {
        let log = self.running().as_ref().expect("the server runs").log();
        log.wait_for(text).unwrap_or_else(|why| panic!("the server never said {text:?}: {why}"))
    }

    /// A connection that speaks the bare protocol.
    ///
    /// # Panics
    /// When it is refused.
    pub fn wire(&self) -> Wire {
        Wire::connect(&self.url()).expect("a connection")
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        // A test that panicked elsewhere must still be able to kill its server.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
