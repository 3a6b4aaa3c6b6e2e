//! Calls as values: options first, then `.await`.
//!
//! A call does nothing until it is awaited, and dropping it takes it back. So `tokio::try_join!`, `select!` and
//! `timeout` take our calls as they are, and a handler that is dropped leaves nothing behind that nobody waits for.
//!
//! Each is made `over` a [`Host`](crate::host::Host); a [`Context`](crate::Context) is one way to reach a host and a
//! node's client side is another.

mod ask;
mod delegation;
pub mod fallback;
mod hedge;
mod live;
mod reply;
mod run;
mod tell;
#[cfg(test)]
mod tests;

pub use ask::Ask;
pub use delegation::Delegation;
pub use hedge::MAX_HEDGE;
pub(crate) use live::Began;
pub use reply::Reply;
pub use run::{Follow, Run};
pub use tell::Tell;
