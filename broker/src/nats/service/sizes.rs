//! How many workers pools are to have, kept where every node sees it and finds it again after a restart.
//!
//! One entry a capability, `pool.<capability>`, and one for a node that is to differ, `pool.<capability>.<node>`; the body
//! is a number, so that `nats kv put cb_shared pool.diag-echo 8` scales a pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::Subscriber;
use tokio::sync::broadcast;

use crate::error::{Error, Result};
use crate::id::NodeName;
use crate::nats::js::receive;
use crate::nats::link::{Link, Notice};
use crate::nats::names;
use crate::subject::CapabilityName;

/// Workers of a capability: on one node, or on each.
pub type Size = (CapabilityName, Option<NodeName>);

/// The sizes that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes(BTreeMap<(String, Option<String>), usize>);

impl Sizes {
    /// How many workers a node is to have for a capability; none: as many as it was configured with.
    pub fn of(&self, capability: &CapabilityName, node: &NodeName) -> Option<usize> {
        let at = |node: Option<&NodeName>| self.0.get(&(capability.to_string(), node.map(ToString::to_string)));
        at(Some(node)).or_else(|| at(None)).copied()
    }
}

/// Asks for a size: of one node, or of each that serves the capability.
///
/// # Errors
/// `Unavailable`; `Denied`.
pub async fn resize(link: &Link, (capability, node): &Size, workers: usize) -> Result<()> {
    let subject = names::pool(capability, node.as_ref());
    let stored = link.store(&subject, async_nats::HeaderMap::new(), workers.to_string().into()).await;
    stored.map(drop).map_err(|refusal| refusal.into_error(&subject))
}

/// The sizes that were asked for so far.
///
/// # Errors
/// `Unavailable`; `Denied`.
async fn read(link: &Link) -> Result<Sizes> {
    let mut sizes = Sizes::default();
    for raw in link.entries(names::SHARED, &names::pools()).await? {
        let mut tokens = raw.subject.split('.').skip(3);
        let capability = tokens.next().and_then(|token| CapabilityName::from_token(token).ok());
        let workers = std::str::from_utf8(&raw.body).ok().and_then(|text| text.trim().parse::<usize>().ok());
        // A deleted entry, or one that somebody wrote by hand and that is no number, asks for nothing.
        if let (Some(capability), Some(workers)) = (capability, workers) {
            sizes.0.insert((capability.to_string(), tokens.next().map(str::to_owned)), workers.max(1));
        }
    }
    Ok(sizes)
}

/// The sizes now, and what tells when to look again.
///
/// # Errors
/// `Unavailable`; `Denied`.
pub async fn sizes(link: &Arc<Link>) -> Result<(Sizes, Changes)> {
    let closed = |e: &dyn std::fmt::Display| Error::unavailable(format!("{}: {e}", link.address));
    let heard = link.client.subscribe(names::pools()).await.map_err(|e| closed(&e))?;
    link.client.flush().await.map_err(|e| closed(&e))?;
    let changes = Changes { link: link.clone(), heard, notices: link.notices() };
    Ok((read(link).await?, changes))
}

/// Hears when sizes change.
#[derive(Debug)]
pub struct Changes {
    link: Arc<Link>,
    heard: Subscriber,
    notices: broadcast::Receiver<Notice>,
}

impl Changes {
    /// The sizes after the next change, or after a broken connection over which one may have been missed; none when the
    /// connection is closed.
    pub async fn next(&mut self) -> Option<Sizes> {
        loop {
            tokio::select! {
                changed = receive(&mut self.heard) => drop(changed?),
                notice = self.notices.recv() => match notice {
                    Ok(Notice::Connected) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
            match read(&self.link).await {
                Ok(sizes) => return Some(sizes),
                Err(error) => tracing::warn!(%error, "the sizes of pools cannot be read"),
            }
        }
    }
}
