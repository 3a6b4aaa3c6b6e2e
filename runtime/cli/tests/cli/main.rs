//! The command line as its users meet it: exit code, standard output and standard error of real processes.

mod beside;
mod crash;
mod errors;
mod hints;
mod inbox;
mod keys;
mod kit;
#[cfg(feature = "genai")]
mod provider;
mod schedule;
mod surroundings;
mod travel;
mod verbs;
