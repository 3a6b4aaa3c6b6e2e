//! What a node is a part of: its store alone, or a broker that it joins, is seen, steered and prompted on, and leaves.

use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::problem::{Problem, Problems};
use callboard_broker::subject::CapabilityName;
use callboard_broker::{Broker, memory, sqlite};

use crate::settings::node::Config;

#[cfg(feature = "nats")]
mod answers;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
mod prompts;
#[cfg(feature = "nats")]
mod questions;

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

/// Checks that what is to be prompted from outside is served, and that there is an outside.
///
/// # Errors
/// `Config`.
pub(super) fn check_public(config: &Config, served: &[CapabilityName]) -> Result<()> {
    let mut problems = Problems::new();
    if !config.public.is_empty() && config.broker.servers.is_empty() {
        let what = "`public` needs a broker: nobody reaches an embedded node from outside";
        problems.push(Problem::new(code::NOT_ALLOWED, what).fix("broker.address = \"nats://127.0.0.1:4222\""));
    }
    for name in config.public.iter().filter(|name| !served.contains(name)) {
        let what = format!("`public` names {name}, which this node does not serve");
        let served = served.iter().map(ToString::to_string);
        problems.push(Problem::new(code::UNKNOWN_CAPABILITY, what).allowed_near(name.as_str(), served));
    }
    problems.or(()).map_err(|wrong| Error::Config(Box::new(wrong)))
}

#[cfg(feature = "nats")]
async fn on_server(name: &NodeName, config: &Config) -> Result<Joined> {
    Ok(Joined::Wing(Box::new(nats::Place::join(name, config).await?)))
}

#[cfg(not(feature = "nats"))]
async fn on_server(_: &NodeName, config: &Config) -> Result<Joined> {
    let what = format!("{}: this build has no feature `nats`", config.broker.servers.join(","));
    Err(Error::Config(Box::new(Problem::new(code::UNREACHABLE, what).into())))
}

#[cfg(not(feature = "nats"))]
pub(super) async fn show(_: &super::Node, _: &Config) -> Result<()> {
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

    /// The frames that its lanes have taken, and those that were missing when a later one came; none without lanes.
    #[cfg(feature = "otel")]
    pub(super) fn lanes(&self) -> Option<(u64, u64)> {
        match self {
            Self::Alone(_) => None,
            #[cfg(feature = "nats")]
            Self::Wing(place) => {
                let counts = place.wing.messages.lanes();
                Some((counts.frames.1, counts.gaps))
            }
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
            Self::Wing(place) => place.goodbye().await,
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
