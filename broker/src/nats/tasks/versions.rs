//! Tasks that no claimer here may take, because another version began them.
//!
//! Such a message is given back without a claim, so it costs no attempt and leaves no record. It comes again after a
//! while, soon when a node is there that serves the version, and ever later when none is; the first time that nobody is
//! found it is written down, and when the wait is over the task ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::prepare::Unfit;
use super::room::{Room, text};
use crate::clock::millis;
use crate::error::Result;
use crate::nats::link::fresh_boot;
use crate::nats::messages::{NodeState, Presence};
use crate::nats::names;
use crate::nats::record::{UNSERVED, Unserved};
use crate::queue::Spent;
use crate::subject::CapabilityName;
use crate::task::Serving;

/// How long a message is put aside for a node that serves its version, after its first delivery; doubled with each, up to
/// [`SOON_MOST`].
const SOON: Duration = Duration::from_millis(25);
const SOON_MOST: u32 = 5;
/// The same when there is no such node.
const LATER: Duration = Duration::from_millis(500);
const LATER_MOST: u32 = 5;
/// For how long what was read of who serves what is good.
const FRESH: Duration = Duration::from_millis(500);

/// What nodes that are there say that they serve.
type Served = Vec<(CapabilityName, Serving)>;

/// What was read last of who serves which version.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<Option<(Instant, Arc<Served>)>>);

/// As much of what a node says as is needed here.
#[derive(Deserialize)]
struct Says {
    boot: u32,
    #[serde(default)]
    versions: BTreeMap<CapabilityName, Vec<Serving>>,
}

impl Room {
    /// Gives a message back, for somebody who may take it; or ends its task, when nobody has served it for `wait`.
    pub(super) async fn leave_to_its_version(&self, unfit: Unfit, wait: Duration) -> Result<()> {
        let Unfit { task, version, story, pulled } = unfit;
        let now = self.now();
        let served = self.served_versions().await?;
        let is_served = served.iter().any(|(name, serving)| *name == task.capability && serving.takes(&version));
        if !is_served {
            match story.unserved {
                None => {
                    let (writer, by) = (self.mark(), self.link.node.clone());
                    let document = Unserved { writer: writer.clone(), at: now, version, by };
                    self.append_record(&task.id, UNSERVED, story.last, text(&document)?, &writer).await?;
                    tracing::info!(task = %task.id, version = %document.version, "nobody serves the version that began it");
                }
                Some(since) if since.saturating_add(millis(wait)) <= now => {
                    let spent = Some(Spent::Unserved(version));
                    if self.end_unclaimed(&task, &story, spent, pulled.seq).await? {
                        return Ok(());
                    }
                }
                Some(_) => {}
            }
        }
        let (first, most) = if is_served { (SOON, SOON_MOST) } else { (LATER, LATER_MOST) };
        let after = first * (1 << pulled.deliveries.saturating_sub(1).min(most));
        // Of several who give it back none is to be first each time.
        let after = after.mul_f64(0.5 + f64::from(fresh_boot()) / f64::from(u32::MAX)).min(wait);
        self.come_back(&task, &pulled.ack, now + millis(after), now).await;
        Ok(())
    }

    async fn served_versions(&self) -> Result<Arc<Served>> {
        let kept = self.versions.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, served)) = kept.filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(served);
        }
        let nodes = self.link.entries(names::NODES, &names::presence("*")).await?;
        let said = self.link.entries(names::SHARED, &names::served("*")).await?;
        let up = nodes.iter().filter_map(|raw| serde_json::from_slice::<Presence>(&raw.body).ok());
        let up: Vec<Presence> = up.filter(|node| node.state == NodeState::Up).collect();
        let mut served = Served::new();
        for raw in said {
            let name = raw.subject.rsplit('.').next().unwrap_or_default();
            let Ok(says) = serde_json::from_slice::<Says>(&raw.body) else { continue };
            if up.iter().any(|node| node.node.as_str() == name && node.boot == says.boot) {
                served.extend(
                    says.versions
                        .into_iter()
                        .flat_map(|(name, all)| all.into_iter().map(move |one| (name.clone(), one))),
                );
            }
        }
        let served = Arc::new(served);
        *self.versions.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), served.clone()));
        Ok(served)
    }
}
