//! A line between a client and a server that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes that are on their way at once, in each direction of a connection.
const CHUNK: usize = 16 * 1024;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

#[derive(Clone, Debug, Default)]
struct Line {
    /// By [`Direction`].
    ways: [Way; 2],
    /// Counted up to break what is connected.
    breaks: u64,
    refusing: bool,
    /// What holds its way back when it comes by.
    stop: Option<(Direction, Arc<[u8]>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Way {
    held: bool,
    delay: Duration,
}

impl Line {
    fn way(&self, direction: Direction) -> Way {
        self.ways[direction as usize]
    }

    fn stops(&self, direction: Direction, bytes: &[u8]) -> bool {
        let stop = self.stop.as_ref().filter(|(way, _)| *way == direction);
        stop.is_some_and(|(_, text)| bytes.windows(text.len()).any(|part| *part == **text))
    }
}

/// Hands connections on to a server. While it is cut, nothing gets through and nobody is told, as when a cable is out;
/// what was sent meanwhile arrives when it heals. It runs on threads and a clock of its own, so a test may pause its own.
pub struct Proxy {
    address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Starts one in front of `127.0.0.1:PORT` or any other address.
    ///
    /// # Panics
    /// When no port is free.
    pub fn to(server: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("it is bound");
        let line = Arc::new(watch::Sender::new(Line::default()));
        let (server, ours) = (server.to_owned(), Arc::clone(&line));
        runtime.spawn(async move { accept(listener, server, ours).await });
        Self { address, line, runtime: Some(runtime) }
    }

    /// Where clients connect: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Holds back everything, in both directions.
    pub fn cut(&self) {
        self.cut_one_way(Direction::Up);
        self.cut_one_way(Direction::Down);
    }

    /// Holds back one direction only.
    pub fn cut_one_way(&self, direction: Direction) {
        self.line.send_modify(|line| line.ways[direction as usize].held = true);
    }

    /// Holds back one direction from the moment in which this text is sent, with all that was sent along with it;
    /// until it heals.
    pub fn stop_at(&self, direction: Direction, text: &str) {
        self.line.send_modify(|line| line.stop = Some((direction, text.as_bytes().into())));
    }

    /// Resolves once that text has come by.
    pub async fn stopped(&self) {
        let mut line = self.line.subscribe();
        drop(line.wait_for(|line| line.stop.is_none()).await);
    }

    /// Lets everything through again, without delay, and takes new connections.
    pub fn heal(&self) {
        self.line.send_modify(|line| *line = Line { breaks: line.breaks, ..Line::default() });
    }

    /// Delivers what goes in this direction so much later. Order is kept, and throughput falls to 16 KiB a delay.
    pub fn delay(&self, direction: Direction, by: Duration) {
        self.line.send_modify(|line| line.ways[direction as usize].delay = by);
    }

    /// Closes what is connected; new connections are taken.
    pub fn disconnect(&self) {
        self.line.send_modify(|line| line.breaks += 1);
    }

    /// Closes what is connected and whatever connects from now on, until it heals.
    pub fn refuse(&self) {
        self.line.send_modify(|line| (line.breaks, line.refusing) = (line.breaks + 1, true));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which an asynchronous test may not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: std::net::TcpListener, server: String, line: Arc<watch::Sender<Line>>) {
    let listener = TcpListener::from_std(listener).expect("a socket that does not block");
    while let Ok((client, _)) = listener.accept().await {
        if line.borrow().refusing {
            continue;
        }
        let (server, line) = (server.clone(), Arc::clone(&line));
        tokio::spawn(async move {
            let breaks = line.borrow().breaks;
            let Ok(upstream) = TcpStream::connect(&server).await else { return };
            // Small frames must not wait for company, or the proxy would be slower than the cable it stands for.
            let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), upstream.into_split());
            let mut watched = line.subscribe();
            tokio::select! {
                () = carry(from_client, to_server, &line, Direction::Up) => {}
                () = carry(from_server, to_client, &line, Direction::Down) => {}
                _ = watched.wait_for(|line| line.breaks != breaks) => {}
            }
        });
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    control: &watch::Sender<Line>,
    direction: Direction,
) {
    let mut line = control.subscribe();
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let read = Instant::now();
        control.send_if_modified(|line| {
            let stops = line.stops(direction, &chunk[..length]);
            if stops {
                line.ways[direction as usize].held = true;
                line.stop = None;
            }
            stops
        });
        let Ok(now) = line.wait_for(|line| !line.way(direction).held).await.map(|line| line.way(direction)) else {
            return;
        };
        tokio::time::sleep_until(read + now.delay).await;
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
