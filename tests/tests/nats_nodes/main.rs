//! Nodes on a real server: what they keep for each other, how they are steered, and whole processes.

mod blobs;
mod breaker;
mod budgets;
mod loops;
mod process;
mod refused;
mod steer;
mod travel;
mod two;
