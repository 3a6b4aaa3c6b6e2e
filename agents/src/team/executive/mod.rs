//! The executive: plans the research, has it written up and checked, and changes the plan when a result asks for it.

mod agent;
mod brief;
mod plan;
mod planned;
#[cfg(test)]
mod tests;

pub use agent::{Executive, MAX_REVISIONS, REVISED};
pub use planned::MAX_QUESTIONS;
pub(super) use planned::{Questions, usable};
