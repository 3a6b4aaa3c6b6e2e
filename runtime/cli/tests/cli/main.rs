//! The command line as its users meet it: exit code, standard output and standard error of real processes.

mod beside;
#[expect(unreachable_pub, reason = "the test kit has it too, and shows it")]
#[path = "../../../../tests/src/bounds.rs"]
mod bounds;
mod configured;
mod crash;
mod errors;
mod hints;
mod inbox;
mod keys;
mod kit;
#[cfg(feature = "pdf")]
mod pdfs;
#[cfg(feature = "genai")]
mod provider;
mod schedule;
mod surroundings;
mod travel;
mod verbs;
