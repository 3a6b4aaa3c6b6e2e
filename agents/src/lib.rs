//! What an agent is, what it may use, and the ready-made ones.

pub mod extract;
pub mod source;
