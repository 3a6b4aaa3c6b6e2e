//! What Callboard's agents say to each other, and how it gets there.

pub mod code;
pub mod problem;
