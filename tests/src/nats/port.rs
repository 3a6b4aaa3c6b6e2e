//! A port that belongs to one test.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what systems hand out to outgoing connections: there, a client that calls a dead server again and again will
/// one day be given the server's port as its own, connect to itself and keep the server from coming back.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A free port, kept from all other tests of this machine by a lock on a file for as long as the value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Finds one.
    ///
    /// # Panics
    /// When none is free.
    pub fn reserve() -> Self {
        static TRIED: AtomicU16 = AtomicU16::new(0);
        let start = (std::process::id().wrapping_mul(37) % u32::from(COUNT)) as u16;
        let next = || FIRST + (start + TRIED.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let found = (0..COUNT).find_map(|_| Self::lock(next()));
        found.unwrap_or_else(|| panic!("no port is free from {FIRST} to {}", FIRST + COUNT))
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn lock(number: u16) -> Option<Self> {
        let folder = std::env::temp_dir().join("callboard-test-ports");
        std::fs::create_dir_all(&folder).expect("a folder for locks");
        let file = OpenOptions::new().create(true).append(true).open(folder.join(number.to_string())).ok()?;
        file.try_lock().ok()?;
        TcpListener::bind(("127.0.0.1", number)).ok()?;
        Some(Self { number, _lock: file })
    }
}
