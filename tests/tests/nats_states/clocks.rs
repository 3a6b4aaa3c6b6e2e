//! A process whose clock is wrong is told so.

use std::io;
use std::sync::{Arc, Mutex};

use callboard_broker::clock::Clock;
use callboard_broker::nats::{APART, Options, connect};
use callboard_tests::contract::bench::node;
use callboard_tests::nats::Server;

use super::connect as link_to;

const HOUR: u64 = 3_600_000;

fn off_by(ms: u64) -> Clock {
    Clock::from_fn(move || Clock::system().now() + ms)
}

#[tokio::test]
async fn how_far_a_clock_is_ahead_of_the_servers_is_known() {
    let server = Server::start();
    for off in [0, HOUR] {
        let ahead = link_to(&server, off_by(off)).await.ahead().await.unwrap().expect("an answer that came soon");
        assert!(ahead.abs_diff(off.cast_signed()) < 1_000, "{ahead} ms, and not {off}");
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a process logs that joins with a clock that is so wrong.
async fn logged(server: &Server, off: u64) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let options = Options { servers: vec![server.url()], works: false, clock: off_by(off), ..Options::new(node("n")) };
    let wing = connect(options).await.unwrap();
    // It asks once as soon as it has joined. What is asked behind that is answered later.
    for _ in 0..20 {
        wing.link.ahead().await.unwrap();
    }
    lines.text()
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_logged_and_one_that_is_right_is_not() {
    let server = Server::start();
    let wrong = logged(&server, HOUR).await;
    assert!(wrong.contains(" WARN ") && wrong.contains("ahead_ms=3"), "{wrong}");
    let right = logged(&server, u64::try_from(APART.as_millis()).unwrap() / 2).await;
    assert!(!right.contains("ahead_ms"), "{right}");
}
