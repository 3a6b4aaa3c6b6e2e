//! Agents that do exactly what they are told, for operators and tests.
//!
//! | capability | does |
//! |---|---|
//! | `diag.echo` | returns its text, late, never or badly, as told |
//! | `diag.relay` | hands its input on along a path of capabilities |
//! | `diag.effect` | posts to a URL, as effects (feature `web`) |
//!
//! `diag.effect` posts wherever its input says, also to private addresses: a node serves it only when it is told to.

use callboard_agents::Service;

mod echo;
#[cfg(feature = "web")]
mod effect;
mod relay;

pub use echo::{ECHO, Echo, Echoed, echo};
#[cfg(feature = "web")]
pub use effect::{EFFECT, MAX_TIMES, Posted, Posts, effect};
pub use relay::{Mode, RELAY, Relay, relay};

/// All that are here.
pub fn all() -> Vec<Service> {
    vec![
        echo(),
        #[cfg(feature = "web")]
        effect(),
        relay(),
    ]
}
