//! Agents with a state that survives crashes and restarts.
//!
//! The state is plain data apart from the agent, because connections and settings can be neither stored nor rolled back.
//! A change counts only when the handler succeeds, and is then stored in one conditional write together with the task
//! and its response. So a task that is run again after a crash in between is answered from the record, and whatever
//! happens to the agent, the last stored state is where it goes on.
//!
//! Of all nodes that serve an agent one has a state awake: the others have it let go first, see `home`.

mod home;
mod patch;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod turns;

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Context, Payload, Result};
pub use home::{AWAKE, Homes, Keeper, Move};
pub use service::{SNAPSHOT_EVERY, StatefulService, stateful};

/// What an agent remembers.
pub trait Stateful: Send + Sync + 'static {
    /// Plain data; begins as its default. Stored as JSON.
    type State: Default + Clone + Serialize + DeserializeOwned + Send + 'static;

    /// Version of `State`, stored with it. Raise it when an old state can no longer be read as it is.
    const STATE_VERSION: u32 = 1;

    /// Makes a state of this version from an older one. As it is, reads the old one as the new type.
    ///
    /// # Errors
    /// Fail when it cannot be done: the request fails with it, and what is stored stays.
    fn migrate(from: u32, old: Value) -> Result<Self::State> {
        let _ = from;
        Ok(serde_json::from_value(old)?)
    }
}

/// Serves a capability over its state, one request at a time per state.
///
/// ```
/// use callboard_agents::{Capability, Context, Result, Stateful, StatefulAgent, stateful};
///
/// const ADD: Capability<u64, u64> = Capability::new("sum.add");
///
/// struct Sum;
///
/// impl Stateful for Sum {
///     type State = u64;
/// }
///
/// impl StatefulAgent<u64, u64> for Sum {
///     async fn handle(&self, _ctx: Context, total: &mut u64, more: u64) -> Result<u64> {
///         *total += more;
///         Ok(*total)
///     }
/// }
///
/// let service = stateful(Sum).on(ADD);
/// ```
///
/// # Guarantees
/// Changes to `state` are kept only when `handle` returns `Ok`; a failure, a panic or a drop leaves the last stored
/// state. A task that is run again after its change was stored gets the stored response and changes nothing. A state is
/// at work on one node at a time; the write of a node that was taken for dead meets a `Conflict`, which is transient.
#[diagnostic::on_unimplemented(message = "`{Self}` does not serve `{Req}` -> `{Res}` over its state")]
pub trait StatefulAgent<Req: Payload, Res: Payload>: Stateful {
    /// Works on one request. The state is this request's alone until it returns.
    ///
    /// # Errors
    /// Anything, through `?`; the changes are then forgotten.
    fn handle(&self, ctx: Context, state: &mut Self::State, request: Req) -> impl Future<Output = Result<Res>> + Send;
}
