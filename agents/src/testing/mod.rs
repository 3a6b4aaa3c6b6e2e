//! The world of an agent under test: no actor, no server, no clock.
//!
//! Everything outside the agent is scripted, and what is not scripted is an error that names what was missing. Steps,
//! children and state are kept by the world and not by the context, so calling `handle` again is the second attempt.
//!
//! ```
//! use callboard_agents::testing::World;
//! use callboard_agents::{Agent, Capability, Context, Result};
//!
//! const COUNT: Capability<String, u32> = Capability::new("text.count");
//!
//! struct Doubler;
//!
//! impl Agent<String, u32> for Doubler {
//!     async fn handle(&self, ctx: Context, text: String) -> Result<u32> {
//!         Ok(2 * ctx.ask(COUNT, text).await?)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let world = World::new().answers(COUNT, |text| Ok(text.len() as u32));
//! assert_eq!(Doubler.handle(world.context(), "four".into()).await?, 8);
//! assert_eq!(world.asked(COUNT), ["four"]);
//! # Ok(())
//! # }
//! ```

mod cassette;
mod host;
mod journal;
mod model;
mod script;
#[cfg(test)]
mod tests;
mod world;

pub use cassette::Cassette;
pub use model::Script;
pub use world::World;
