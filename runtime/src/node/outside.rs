//! What a node is a part of: its store alone, or a broker that it joins, is seen and steered on, and leaves.

use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::{Broker, memory, sqlite};

use crate::settings::node::Config;

#[cfg(feature = "nats")]
mod nats;

#[cfg(feature = "nats")]
pub use nats::broker_options;
#[cfg(feature = "nats")]
pub(super) use nats::show;

/// The broker under a node, and its place among other nodes.
pub(super) enum Joined {
    /// In this process, or in a file.
    Alone(Broker),
    /// On a server.
    #[cfg(feature = "nats")]
    Wing(Box<nats::Place>),
}

/// Opens what the node is configured to stand on.
///
/// # Errors
/// As [`NodeBuilder::start`](super::NodeBuilder::start).
pub(super) async fn join(
    name: &NodeName,
    config: &Config,
    given: Option<Broker>,
    door: &sqlite::Verbs,
) -> Result<Joined> {
    if let Some(broker) = given {
        return Ok(Joined::Alone(broker));
    }
    if !config.broker.servers.is_empty() {
        return on_server(name, config).await;
    }
    Ok(Joined::Alone(match &config.store {
        Some(path) => sqlite::open(path, sqlite::Options { verbs: door.clone(), ..Default::default() })?,
        None => memory::open(memory::Options::default()),
    }))
}

#[cfg(feature = "nats")]
async fn on_server(name: &NodeName, config: &Config) -> Result<Joined> {
    Ok(Joined::Wing(Box::new(nats::Place::join(name, config).await?)))
}

#[cfg(not(feature = "nats"))]
async fn on_server(_: &NodeName, config: &Config) -> Result<Joined> {
    let what = format!("{}: this build has no feature `nats`", config.broker.servers.join(","));
    let problem = callboard_broker::problem::Problem::new(callboard_broker::code::UNREACHABLE, what);
    Err(callboard_broker::error::Error::Config(Box::new(problem.into())))
}

#[cfg(not(feature = "nats"))]
pub(super) async fn show(_: &super::Node) -> Result<()> {
    Ok(())
}

impl Joined {
    pub(super) fn broker(&self) -> Broker {
        match self {
            Self::Alone(broker) => broker.clone(),
            #[cfg(feature = "nats")]
            Self::Wing(place) => place.wing.broker.clone(),
        }
    }

    /// Resolves when another process has taken over the node's name.
    pub(super) async fn replaced(&self) {
        match self {
            Self::Alone(_) => std::future::pending().await,
            #[cfg(feature = "nats")]
            Self::Wing(place) => place.wing.messages.replaced().await,
        }
    }

    /// Resolves when the broker does not take this node any more, with the reason.
    pub(super) async fn refused(&self) -> Error {
        match self {
            Self::Alone(_) => std::future::pending().await,
            #[cfg(feature = "nats")]
            Self::Wing(place) => place.wing.link.over().await,
        }
    }

    /// Tells others that this node takes nothing new.
    pub(super) async fn goodbye(&self) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "nats")]
            Self::Wing(place) => place.wing.messages.goodbye().await,
        }
    }

    /// Leaves, once nothing runs any more.
    pub(super) async fn leave(&self) {
        match self {
            Self::Alone(_) => {}
            #[cfg(feature = "nats")]
            Self::Wing(place) => place.leave().await,
        }
    }
}
