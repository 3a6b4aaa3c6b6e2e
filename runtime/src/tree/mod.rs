//! The supervision tree: who starts, restarts and stops whom, in OTP's words.
//!
//! A supervisor holds children and no user code. When a child ends it decides by the child's [`Restart`], its own
//! [`Strategy`] and [`Intensity`]; when it may not restart any more it stops its children and ends too, which its own
//! supervisor treats as the exit of a child, up to the root, whose end [`Tree::ended`] turns into an exit code.
//!
//! The decision that shaped it: a supervisor never waits. What takes time (a start, a stop, a backoff) runs beside it
//! and reports back, so the whole of supervision is a state machine without I/O (`plan`, `decide`) that is tested as
//! such, and a child that hangs holds up nobody else. The actors are ractor's, which gives mailboxes, links and kill;
//! its names and groups are global to the process and not used, so any number of trees live side by side.
//!
//! # Guarantees
//! - Children start in order; one is started when the one before it has started. They stop in reverse order, each
//!   within its own [`Shutdown`], then they are killed; what is not gone `kill_wait` later is reported as a zombie.
//! - A first start that fails is the failure of the whole supervisor, as in OTP: a tree runs completely or not at all.
//!   Later failed starts count as restarts.
//! - The first restart comes at once, further ones after a growing random wait ([`Backoff`]).
//! - Two children of a group that fall together cause one restart of the group.
//! - A snapshot ([`Tree::info`]) waits for nobody.
//!
//! # Example
//! ```
//! use callboard::tree::{ChildSpec, Intensity, Restart, SupervisorSpec, Tree};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pump = ChildSpec::task("pump", |mut ctx| async move {
//!     // Start: connect, load. A failure here is a failed start.
//!     Ok(async move {
//!         // Run, until there is nothing left to do or the tree stops.
//!         ctx.stopping().await;
//!         Ok(())
//!     })
//! });
//! let spec = SupervisorSpec::new("node", [pump.restart(Restart::Transient)])?
//!     .intensity(Intensity::new(3, Duration::from_secs(60))?);
//! let tree = Tree::builder(spec).start().await?;
//! assert_eq!(tree.info().root.children()[0].id(), "pump");
//! assert_eq!(tree.stop().await.exit_code(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # A child that is an actor
//! Inside this crate a child may be any ractor actor: `ChildSpec::actor(id, start)`, where `start` runs at each start
//! and seats one actor. `task` is such a child, and the shortest complete example.
//! - What must succeed before others rely on it goes into `start` or `pre_start`; both run beside the supervisor.
//! - To end normally it stops itself (`myself.stop(None)`); to end abnormally it returns an error, best an
//!   [`ExitReason`]. A panic on the actor's own loop is seen too.
//! - When its supervisor stops it, `stop` is called on it: the handler at work ends, what is queued is dropped,
//!   `post_stop` runs, and all of that has the child's shutdown time. There it cancels and awaits its tasks. After a kill
//!   nothing of it runs, so its tasks belong in a `JoinSet` in its `State`, which takes them along.
//! - Each of its tasks keeps a `ctx.hold()` for as long as it runs; without it a task that cannot be ended goes unseen.
//! - What must survive it (queue, address, counters) belongs to the closure that captured it, not to the actor.
//! - `ctx.publish(stats)` shows its figures in the tree.

mod child;
mod decide;
mod event;
mod exit;
mod log;
mod node;
mod ops;
mod plan;
mod policy;
mod root;
mod spec;
mod supervisor;
mod task;
mod view;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use child::StartCtx;
pub use event::{Happening, TreeEvent, TreeEvents};
pub use exit::{Exceeded, ExitReason, Fault, MAX_REASON};
pub use policy::{Backoff, Intensity};
pub use root::{Tree, TreeBuilder, TreeError};
pub use spec::{ChildSpec, Kind, MAX_ID, Restart, Shutdown, SpecError, Strategy, SupervisorSpec};
pub use task::TaskCtx;
pub use view::{ChildInfo, ChildState, ChildStats, SupervisorInfo, TreeInfo};

/// Locks here guard plain values that are replaced as a whole, so one whose holder panicked is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
