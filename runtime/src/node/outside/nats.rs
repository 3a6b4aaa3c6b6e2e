//! A node's place on a NATS server.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::nats::outside::Outside;
use callboard_broker::nats::service::{Control, Desk, Sizes, sizes};
use callboard_broker::nats::{Credentials, Missing, Options, Tls, Wing, connect};
use callboard_broker::problem::Problem;
use callboard_broker::subject::CapabilityName;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Joined, answers, prompts};
use crate::Node;
use crate::node::Inner;
use crate::settings::node::{Address, Config};

/// The connection, and what others reach this node by.
pub(in crate::node) struct Place {
    pub(super) wing: Wing,
    reached: Mutex<Option<(Control, [JoinHandle<()>; 2])>>,
    door: OnceLock<Outside>,
}

impl Place {
    pub(super) async fn join(name: &NodeName, config: &Config) -> Result<Self> {
        let wing = connect(broker_options(name.clone(), &config.broker)?).await?;
        Ok(Self { wing, reached: Mutex::default(), door: OnceLock::new() })
    }

    /// Tells the other nodes, and takes no more prompts.
    pub(super) async fn goodbye(&self) {
        if let Some(door) = self.door.get() {
            door.close();
        }
        self.wing.messages.goodbye().await;
    }

    pub(super) async fn leave(&self) {
        if let Some(door) = self.door.get() {
            door.leave().await;
        }
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((control, following)) = reached {
            following.iter().for_each(JoinHandle::abort);
            drop(control);
        }
        self.wing.messages.leave().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((_, following)) = self.reached.get_mut().unwrap_or_else(PoisonError::into_inner) {
            following.iter().for_each(JoinHandle::abort);
        }
    }
}

/// How a process of this name joins the broker that was configured.
///
/// # Errors
/// `Config` for credentials that cannot be read.
pub fn broker_options(node: NodeName, broker: &Address) -> Result<Options> {
    let credentials = match broker {
        Address { creds: Some(file), .. } => {
            readable(file)?;
            Credentials::File(file.clone())
        }
        Address { nkey: Some(file), .. } => Credentials::Nkey(readable(file)?.trim().to_owned()),
        Address { token: Some(token), .. } => Credentials::Token(token.clone()),
        Address { user: Some(user), password, .. } => {
            Credentials::Password { user: user.clone(), password: password.clone().unwrap_or_default() }
        }
        _ => Credentials::None,
    };
    for file in broker.ca.iter().chain(&broker.cert).chain(&broker.key) {
        readable(file)?;
    }
    let identity = broker.cert.clone().zip(broker.key.clone());
    let missing = if broker.provision == Some(false) { Missing::Refuse } else { Missing::Provision };
    Ok(Options {
        servers: broker.servers.clone(),
        credentials,
        tls: Tls { required: broker.tls, ca: broker.ca.clone(), identity },
        missing,
        profile: broker.profile.unwrap_or_default(),
        ..Options::new(node)
    })
}

fn readable(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|e| {
        let what = format!("{} cannot be read: {}", file.display(), e.kind());
        Error::Config(Box::new(Problem::new(code::FILE, what).into()))
    })
}

/// Lets a node that has started be seen, steered and prompted, and gives its pools the sizes that were asked for.
pub(in crate::node) async fn show(node: &Node, config: &Config) -> Result<()> {
    let Joined::Wing(place) = &node.inner.joined else { return Ok(()) };
    let link = place.wing.link.clone();
    let (now, mut changes) = sizes(&link).await?;
    resize(node, &now).await;
    let inner = Arc::downgrade(&node.inner);
    let figures = {
        let inner = inner.clone();
        move || figures(&inner)
    };
    let desk = Desk { verbs: node.verbs(), answer: node.answerer(), figures: Arc::new(figures) };
    let control = Control::start(link.clone(), desk).await?;
    let following = tokio::spawn(async move {
        while let Some(sizes) = changes.next().await {
            let Some(inner) = inner.upgrade() else { return };
            resize(&Node { inner }, &sizes).await;
        }
    });
    let answers = tokio::spawn(answers::serve(&node.inner.hub, &link).await?);
    let following = [following, answers];
    *place.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some((control, following));
    if let Some(door) = prompts::open(&node.inner.hub, &link, config).await? {
        // A node is shown once.
        let _ = place.door.set(door);
    }
    Ok(())
}

/// Gives pools their sizes. One that nobody asked for is as it was configured.
async fn resize(node: &Node, sizes: &Sizes) {
    for opened in &node.inner.pools.0 {
        let doors = &opened.pool.doors;
        // All doors lead to the same workers. Sizes do not say which is newest, so the largest is the one that every node
        // finds, also after a restart.
        let asked = doors.iter().filter_map(|door| sizes.of(&door.capability, &node.inner.hub.name)).max();
        let workers = asked.unwrap_or(opened.pool.options.workers);
        let Some(door) = doors.first().filter(|_| workers != opened.pool.workers()) else { continue };
        if let Err(error) = node.scale_named(door.capability.as_str(), workers).await {
            tracing::warn!(capability = %door.capability, workers, %error, "a pool was not resized");
        }
    }
}

/// What is served, each with the figures of its pool.
fn figures(inner: &Weak<Inner>) -> Vec<(CapabilityName, Value)> {
    let Some(inner) = inner.upgrade() else { return Vec::new() };
    let pools = inner.pools.0.iter().map(|opened| (&opened.pool.doors, opened.pool.figures()));
    pools
        .flat_map(|(doors, figures)| doors.iter().map(move |door| (door.capability.clone(), figures.clone())))
        .collect()
}
