//! The rooms over one connection.

use std::sync::{Arc, Weak};

use tokio::sync::broadcast;

use super::blobs::BlobRoom;
use super::clocks;
use super::dead::{DeadKeeper, DeadRoom};
use super::events::EventRoom;
use super::link::{Link, Notice};
use super::messages::NatsMessages;
use super::options::{Missing, Options};
use super::peers;
use super::provision::{self, Durability, Layout};
use super::requests;
use super::seen::Seen;
use super::state::StateRoom;
use super::tasks::TaskRoom;
use crate::Broker;
use crate::error::Result;
use crate::id::{NodeName, TaskId};

/// A broker on NATS, with what only this wing has.
#[derive(Clone)]
pub struct Wing {
    /// The four contracts.
    pub broker: Broker,
    /// The connection.
    pub link: Arc<Link>,
    /// Its messages: who is there, and leaving.
    pub messages: Arc<NatsMessages>,
    /// How durable the broker was when this process joined it.
    pub durability: Durability,
    tasks: Arc<TaskRoom>,
}

/// Joins a broker.
///
/// # Errors
/// As [`Link::connect`], [`Link::heard`] and [`provision::provision`]; `Unavailable`, with the command that helps, when the
/// streams are not there and this process is not to make them, or may not; `Config` when the broker is not proved to be
/// of the profile that was asked for.
pub async fn connect(options: Options) -> Result<Wing> {
    let link = Arc::new(Link::connect(&options).await?);
    link.heard(find_streams(&link, &options)).await?;
    let durability = provision::durability(&link).await?;
    provision::demand(options.profile, &durability, &link.address)?;
    tracing::info!(profile = %durability.profile, why = durability.why.as_deref(), "joined the broker");
    tokio::spawn(clocks::watch(Arc::downgrade(&link)));
    if options.works {
        tokio::spawn(renew(Arc::downgrade(&link), options.layout.clone(), link.notices()));
    }
    let seen = Arc::new(Seen::default());
    let keeper = DeadKeeper::new(link.clone());
    let tasks = Arc::new(TaskRoom::open(link.clone(), options.works, keeper.clone(), seen.clone()));
    let dead = Arc::new(DeadRoom::new(keeper.clone(), tasks.clone()));
    if options.works {
        requests::answer(&link, &tasks, &dead).await?;
        // An incarnation of this name that came before is gone, or is to go.
        tasks.take_over(&options.node, |boot| boot != link.boot).await?;
    }
    let messages = NatsMessages::join(link.clone(), keeper, options.works).await?;
    if options.works {
        peers::start(link.clone(), &tasks, &messages).await?;
    }
    let broker = Broker {
        messages: messages.clone(),
        tasks: tasks.clone(),
        states: Arc::new(StateRoom::new(link.clone(), seen.clone())),
        events: Arc::new(EventRoom::new(link.clone(), seen)),
        dead,
        blobs: Some(Arc::new(BlobRoom::new(link.clone()))),
        clock: options.clock.clone(),
        about: format!("nats {} ({})", link.address, durability.profile).into(),
    };
    Ok(Wing { broker, link, messages, durability, tasks })
}

/// Sees that the streams are there, and makes those that are not, where it is to.
async fn find_streams(link: &Link, options: &Options) -> Result<()> {
    if options.works {
        // A server that was restarted has lost it, and a node may make it.
        provision::renew_memory(link, &options.layout).await?;
    }
    match options.missing {
        Missing::Provision => provision::complete(link, &options.layout).await,
        Missing::Refuse => match provision::missing(link, &options.layout).await?.as_slice() {
            [] => Ok(()),
            missing => Err(provision::absent(link, missing, "callboard provision makes them")),
        },
    }
}

/// Makes the streams again that a restart of the server took away.
async fn renew(link: Weak<Link>, layout: Layout, mut notices: broadcast::Receiver<Notice>) {
    loop {
        match notices.recv().await {
            Ok(Notice::Connected) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Ok(_) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        }
        let Some(link) = link.upgrade() else { return };
        if let Err(error) = provision::renew_memory(&link, &layout).await {
            tracing::warn!(%error, "the streams in the server's memory could not be made again");
        }
    }
}

/// Joins a broker, for its contracts alone.
///
/// # Errors
/// As [`connect`].
pub async fn open(options: Options) -> Result<Broker> {
    Ok(connect(options).await?.broker)
}

impl Wing {
    /// Gives back what a node held that is gone, except what its incarnation `alive` holds. Returns the tasks that this
    /// call gave back; of several callers one does it.
    ///
    /// # Errors
    /// `Unavailable`; what was given back until then is.
    pub async fn take_over(&self, node: &NodeName, alive: Option<u32>) -> Result<Vec<TaskId>> {
        self.tasks.take_over(node, |boot| Some(boot) != alive).await
    }
}
