//! Nodes as processes, to be killed, frozen, drained and cut off, and the broker that they work for.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use callboard_broker::clock::{Clock, Millis};
use callboard_tests::nats::{Proxy, Server};
use callboard_tests::process::{Child, ledger};
use tempfile::TempDir;
use tokio::time::sleep;

use super::verdict::{Execution, Fault, What};

/// What they serve. One has slots enough for a whole batch.
pub(crate) const WORK: &str = "work.sleep";
pub(crate) const SLOTS: usize = 8;
/// Their names.
const NAMES: [&str; 3] = ["alder", "birch", "cedar"];
/// The one whose connection can be cut.
pub(crate) const BEHIND_PROXY: usize = 2;

pub(crate) struct Fleet {
    pub(crate) server: Server,
    proxy: Proxy,
    nodes: Vec<Node>,
    folder: TempDir,
    clock: Clock,
    pub(crate) faults: Vec<Fault>,
}

struct Node {
    name: &'static str,
    broker: String,
    incarnation: u32,
    child: Option<Child>,
    /// The fault under which it suffers, and when that is over.
    suffers: Option<(usize, Millis)>,
}

impl Fleet {
    pub(crate) fn start() -> Self {
        let server = Server::start();
        let proxy = Proxy::to(&server.address());
        let broker = |name| if name == NAMES[BEHIND_PROXY] { proxy.url() } else { server.url() };
        let node = |name| Node { name, broker: broker(name), incarnation: 0, child: None, suffers: None };
        let nodes = NAMES.into_iter().map(node).collect();
        let folder = tempfile::tempdir().expect("a folder for ledgers");
        let mut fleet = Self { server, proxy, nodes, folder, clock: Clock::system(), faults: Vec::new() };
        (0..NAMES.len()).for_each(|n| fleet.begin(n));
        fleet
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    fn ledger(&self, name: &str, incarnation: u32) -> PathBuf {
        self.folder.path().join(format!("{name}.{incarnation}"))
    }

    /// Starts an incarnation of a node and waits until it serves.
    fn begin(&mut self, n: usize) {
        let (name, incarnation) = (self.nodes[n].name, self.nodes[n].incarnation + 1);
        let mut program = Command::new(env!("CARGO_BIN_EXE_nats_node"));
        program.args(["--broker", &self.nodes[n].broker, "--name", name, "--serve", &format!("{WORK}={SLOTS}")]);
        program.arg("--ledger").arg(self.ledger(name, incarnation));
        let mut child = Child::start(&mut program);
        if !child.says("ready") {
            panic!("{name} does not start: {:?}", child.end());
        }
        (self.nodes[n].incarnation, self.nodes[n].child) = (incarnation, Some(child));
    }

    /// Nodes that nothing was done to, or nothing any more.
    pub(crate) fn well(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].suffers.is_none()).collect()
    }

    fn hit(&mut self, what: What, n: Option<usize>, lasts: Millis) {
        let at = self.now();
        let node = n.map_or("", |n| self.nodes[n].name).to_owned();
        self.faults.push(Fault { what, node, at, until: at + lasts });
        if let Some(n) = n {
            self.nodes[n].suffers = Some((self.faults.len() - 1, at + lasts));
        }
    }

    /// Kills a node, which is started again after a while.
    pub(crate) fn kill(&mut self, n: usize, lasts: Millis) {
        self.hit(What::Kill, Some(n), lasts);
        if let Some(mut child) = self.nodes[n].child.take() {
            child.kill();
        }
    }

    /// Stops the clock of a node for a while.
    pub(crate) fn freeze(&mut self, n: usize, lasts: Millis) {
        self.hit(What::Freeze, Some(n), lasts);
        self.nodes[n].child.iter().for_each(Child::freeze);
    }

    /// Asks a node to stop; it is started again when it has.
    pub(crate) fn drain(&mut self, n: usize) {
        self.hit(What::Drain, Some(n), 0);
        self.nodes[n].child.iter().for_each(Child::terminate);
    }

    /// Holds back what that node says and hears for a while; or, without a time, closes its connection.
    pub(crate) fn cut(&mut self, lasts: Option<Millis>) {
        let n = BEHIND_PROXY;
        match lasts {
            Some(lasts) => {
                self.hit(What::Cut, Some(n), lasts);
                self.proxy.cut();
            }
            None => {
                self.hit(What::Disconnect, Some(n), 0);
                self.proxy.disconnect();
            }
        }
    }

    /// Kills the broker and starts it again.
    pub(crate) async fn restart_broker(&mut self, lasts: Millis) {
        self.hit(What::Broker, None, lasts);
        self.server.kill();
        sleep(Duration::from_millis(lasts)).await;
        self.server.restart();
        let now = self.now();
        if let Some(fault) = self.faults.last_mut() {
            fault.until = now;
        }
    }

    /// Undoes what is over by now.
    pub(crate) fn tend(&mut self) {
        for n in 0..self.nodes.len() {
            let Some((fault, until)) = self.nodes[n].suffers else { continue };
            let drained = |node: &mut Node| node.child.as_mut().is_none_or(|child| child.ends_within(Duration::ZERO));
            match self.faults[fault].what {
                _ if self.now() < until => continue,
                What::Kill => self.begin(n),
                What::Freeze => self.nodes[n].child.iter().for_each(Child::thaw),
                What::Drain if drained(&mut self.nodes[n]) => {
                    let ended = self.nodes[n].child.take().map(Child::end);
                    assert!(ended.as_ref().is_some_and(|ended| ended.code == Some(0)), "it drains: {ended:?}");
                    self.begin(n);
                }
                What::Drain => continue,
                What::Cut => self.proxy.heal(),
                What::Disconnect | What::Broker => {}
            }
            self.faults[fault].until = self.now();
            self.nodes[n].suffers = None;
        }
    }

    /// Undoes everything, as soon as it is over.
    pub(crate) async fn recover(&mut self) {
        while self.well().len() < self.nodes.len() {
            sleep(Duration::from_millis(20)).await;
            self.tend();
        }
    }

    /// What was executed so far, by all incarnations.
    pub(crate) fn executions(&self) -> Vec<Execution> {
        let mut found = Vec::new();
        for Node { name, incarnation, .. } in &self.nodes {
            for incarnation in 1..=*incarnation {
                let lines = ledger::read(&self.ledger(name, incarnation));
                found.extend(lines.into_iter().map(|line| Execution { node: (*name).to_owned(), line }));
            }
        }
        found
    }
}
