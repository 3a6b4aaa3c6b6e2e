//! Two processes that are nodes on one server, and a client of them.

use std::process::Command;
use std::time::Duration;

use callboard::Node;
use callboard_tests::nats::Server;
use callboard_tests::process::Child;
use tempfile::TempDir;

pub(crate) struct Two {
    pub(crate) client: Node,
    _nodes: [Child; 2],
    folder: TempDir,
    _server: Server,
}

impl Two {
    /// Starts them with these routes of `loop_node`.
    pub(crate) async fn start(one: &[String], two: &[String]) -> Self {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        let node = |name: &str, routes: &[String]| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_loop_node"));
            program.arg(server.url()).arg(name).arg(folder.path().join(name)).args(routes);
            let mut child = Child::start(&mut program);
            assert!(child.says("ready"), "{name} does not serve");
            child
        };
        let nodes = [node("one", one), node("two", two)];
        let client = Node::on(server.url()).name("client").start().await.unwrap();
        Self { client, _nodes: nodes, folder, _server: server }
    }

    /// How long refusals took, sorted.
    pub(crate) fn refusals(&self) -> Vec<Duration> {
        let of = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        let lines = of("one") + &of("two");
        let mut took: Vec<_> = lines.lines().map(|us| Duration::from_micros(us.parse().unwrap())).collect();
        took.sort_unstable();
        took
    }
}

/// `CALLBOARD_ROUNDS` makes more of it than what always runs.
pub(crate) fn rounds(always: usize) -> usize {
    std::env::var("CALLBOARD_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(always)
}

/// What was measured: the least, the median, 95 of 100 and the most.
pub(crate) fn shown(sorted: &[Duration]) -> String {
    let at = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    format!("{} times: {:?} .. {:?} .. {:?} .. {:?}", sorted.len(), at(0), at(50), at(95), at(100))
}
