use callboard::broker::Broker;
use callboard::broker::id::NodeName;
use callboard::broker::nats::{self, Options};
use callboard::{Node, NodeBuilder};
use callboard_tests::nats::Server;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

pub(crate) use crate::common::*;

/// Runs each of these tests once over a server; those that need a paused clock, or several stores, are left out.
macro_rules! on_every_wing {
    ($($test:ident),* $(,)?; embedded: $($embedded:ident),* $(,)?) => {
        on_every_wing! { $($test,)* }
    };
    ($($test:ident),* $(,)?) => {
        mod on_nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $test() {
                super::$test(&crate::kit::Wing::nats()).await;
            })*
        }
    };
}

/// What people answer is held against a schema.
pub(crate) const CHECKS_SCHEMAS: bool = true;

/// A server of its own.
pub(crate) struct Wing(Server);

impl Wing {
    pub(crate) fn all() -> Vec<Self> {
        vec![Self::nats()]
    }

    pub(crate) fn nats() -> Self {
        Self(Server::start())
    }

    /// A connection to the server, which has one store whatever its name.
    pub(crate) fn open(&self, _name: &str) -> Broker {
        let options = Options { servers: vec![self.0.url()], ..Options::new(NodeName::parse("n").expect("a name")) };
        block_in_place(|| Handle::current().block_on(nats::open(options))).expect("it is connected")
    }

    pub(crate) fn broker(&self) -> Broker {
        self.open("store")
    }

    /// A node, in real time as all of them are.
    pub(crate) fn live(&self) -> NodeBuilder {
        self.node()
    }

    pub(crate) fn node(&self) -> NodeBuilder {
        Node::over(self.broker()).name("n")
    }
}
