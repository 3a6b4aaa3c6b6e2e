use callboard::broker::clock::Clock;
use callboard::broker::{Broker, memory, sqlite};
use callboard::{Node, NodeBuilder};

pub(crate) use crate::common::*;

/// Runs each of these tests once over each embedded wing; on a NATS server `nats_runtime` of the package `callboard-tests`
/// runs them too. Those behind `embedded` need a paused clock, or stores that are more than one.
macro_rules! on_every_wing {
    ($($test:ident),* $(,)?; embedded: $($embedded:ident),* $(,)?) => {
        on_every_wing! { $($test,)* $($embedded,)* }
    };
    ($($test:ident),* $(,)?) => {
        mod on_memory {
            $(#[tokio::test(start_paused = true)] async fn $test() { super::$test(&crate::kit::Wing::memory()).await; })*
        }
        mod on_sqlite {
            $(#[tokio::test(start_paused = true)] async fn $test() { super::$test(&crate::kit::Wing::sqlite()).await; })*
        }
    };
}

/// Whether what people answer is held against a schema.
pub(crate) const CHECKS_SCHEMAS: bool = cfg!(feature = "schema");

/// A kind of store, and where its files are if it has any.
pub(crate) struct Wing(Option<tempfile::TempDir>);

impl Wing {
    /// One of each kind.
    pub(crate) fn all() -> Vec<Self> {
        vec![Self::memory(), Self::sqlite()]
    }

    pub(crate) fn memory() -> Self {
        Self(None)
    }

    pub(crate) fn sqlite() -> Self {
        Self(Some(tempfile::tempdir().unwrap()))
    }

    /// An empty store, or what was left behind in the store of this name.
    pub(crate) fn open(&self, name: &str) -> Broker {
        let clock = Clock::following_tokio();
        match &self.0 {
            None => memory::open(memory::Options { clock, ..memory::Options::default() }),
            Some(dir) => {
                sqlite::open(dir.path().join(name), sqlite::Options { clock, ..sqlite::Options::default() }).unwrap()
            }
        }
    }

    pub(crate) fn broker(&self) -> Broker {
        self.open("store")
    }

    /// A node over an empty store, in real time.
    pub(crate) fn live(&self) -> NodeBuilder {
        let broker = match &self.0 {
            None => memory::open(memory::Options::default()),
            Some(dir) => sqlite::open(dir.path().join("live"), sqlite::Options::default()).unwrap(),
        };
        Node::over(broker).name("n")
    }

    /// A node over an empty store.
    pub(crate) fn node(&self) -> NodeBuilder {
        Node::over(self.broker()).name("n")
    }
}
