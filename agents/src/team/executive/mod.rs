//! The executive: plans the research, has it written up and checked, and changes the plan when a result asks for it.

mod agent;
mod brief;
mod plan;
#[cfg(test)]
mod tests;

pub use agent::{Executive, MAX_REVISIONS, REVISED};
