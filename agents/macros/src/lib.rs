//! `#[payload]`: derives what a type needs to travel between agents.
