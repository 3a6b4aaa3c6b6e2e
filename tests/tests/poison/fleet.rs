//! Nodes as processes that are started again when they die.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use callboard_broker::Broker;
use callboard_broker::id::TaskId;
use callboard_broker::task::Outcome;
use callboard_broker::tasks::Until;
use callboard_tests::process::Child;
use tokio::time::{Instant, sleep};

/// Slots of each node.
pub(crate) const SLOTS: usize = 4;
/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked whether a node has died.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Fleet {
    place: String,
    nodes: BTreeMap<&'static str, Child>,
    /// How often one died.
    pub(crate) deaths: usize,
}

impl Fleet {
    pub(crate) fn start(place: &str, names: &[&'static str]) -> Self {
        let nodes = names.iter().map(|name| (*name, begin(place, name))).collect();
        let mut fleet = Self { place: place.to_owned(), nodes, deaths: 0 };
        fleet.nodes.values_mut().for_each(|node| assert!(node.says("ready"), "a node does not start"));
        fleet
    }

    /// Starts those again that have died.
    fn tend(&mut self) {
        for (name, node) in &mut self.nodes {
            if node.ends_within(Duration::ZERO) {
                self.deaths += 1;
                let ended = std::mem::replace(node, begin(&self.place, name)).end();
                assert_eq!(ended.signal, Some(ABORTED), "{name} died of something else: {ended:?}");
            }
        }
    }

    /// The outcomes of all these tasks, once they are there.
    pub(crate) async fn until_all_end(&mut self, broker: &Broker, tasks: &[TaskId]) -> Vec<Outcome> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.tend();
            let ended = broker.tasks.wait(tasks.to_vec(), Until::All, LOOK).await.unwrap_or_default();
            if ended.len() == tasks.len() {
                return ended;
            }
            assert!(Instant::now() < until, "{} of {} tasks have ended", ended.len(), tasks.len());
            sleep(LOOK).await;
        }
    }
}

/// SIGABRT.
const ABORTED: i32 = 6;

fn begin(place: &str, name: &str) -> Child {
    Child::start(Command::new(env!("CARGO_BIN_EXE_poison_node")).args([place, name, &SLOTS.to_string()]))
}
