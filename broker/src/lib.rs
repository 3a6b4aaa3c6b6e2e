//! What Callboard's agents say to each other, and how it gets there.
//!
//! Four contracts carry everything: [`messages`], [`tasks`], [state](mod@state) and [`events`], joined in one [`Broker`].
//! Sibling *wings* keep them, each with the same four rooms: [`memory`] (gone at exit), [`sqlite`] (one file) and, behind
//! the feature `nats`, one on a NATS server.
//! Nothing above this crate knows which wing it is on, and one contract suite runs over all.
//!
//! | module | what it holds |
//! |---|---|
//! | [`id`], [`subject`] | names and their grammar |
//! | [`clock`], [`payload`], [`error`], [`problem`], [`code`] | time, bodies, failures, and how they are told |
//! | [`trace`] | the trace that something belongs to, carried and not looked into |
//! | [`budget`], [`lineage`] | what a task may use, and whom it came through |
//! | [`task`], [`event`], [`dead_letter`] | the documents |
//! | [`queue`], [`facts`], [`request`] | what the wings decide, say and correlate alike |
//! | [`suspect`] | which task it was that took its process down |
//! | [`tasks`], [`messages`], [`mod@state`], [`events`] | the contracts |
//! | [`blobs`] | large bodies, where nodes have no file system in common |
//! | [`values`] | large values, cut into pieces that are stored once |
//! | [`memory`], [`sqlite`] | the wings |
//! | [`faulty`] | any wing behind a bad line, for tests |

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub mod blobs;
pub mod budget;
pub mod clock;
pub mod code;
#[cfg(feature = "nats")]
mod codec;
pub mod dead_letter;
pub mod error;
pub mod event;
pub mod events;
pub mod facts;
pub mod faulty;
pub mod id;
pub mod lineage;
pub mod memory;
pub mod messages;
#[cfg(feature = "nats")]
pub mod nats;
pub mod payload;
pub mod problem;
pub mod profile;
pub mod queue;
pub mod request;
pub mod sqlite;
pub mod state;
pub mod subject;
pub mod suspect;
pub mod task;
pub mod tasks;
mod told;
pub mod trace;
pub mod values;

/// A future behind a pointer: the contracts are trait objects, and one allocation a call is far below what a store or a
/// network costs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The four contracts and the dead letters of one wing. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    /// Requests, notifications, broadcasts.
    pub messages: Arc<dyn messages::Messages>,
    /// Durable work.
    pub tasks: Arc<dyn tasks::Tasks>,
    /// Versioned shared entries.
    pub states: Arc<dyn state::States>,
    /// Facts that happened.
    pub events: Arc<dyn events::Events>,
    /// What came to nothing.
    pub dead: Arc<dyn dead_letter::DeadLetters>,
    /// Large bodies, on a wing whose nodes have no file system in common; none on the embedded ones.
    pub blobs: Option<Arc<dyn blobs::Blobs>>,
    /// The wing's clock.
    pub clock: clock::Clock,
    /// What the wing is, for people: `memory`, `sqlite /path (durable)`.
    pub about: Arc<str>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broker({})", self.about)
    }
}
