//! The test kit: what the test targets of this package, and no product code, share.
//!
//! [`mod@contract`] is the suite that every wing of the broker has to pass; [`sqlite`] is a wing whose process may die in
//! the middle of a check, and what is asked of its store then; [`script`] is what such a wing is interrupted in;
//! [`random`] makes a test's choices, and repeats them from a seed; [`bounds`] says when something took too long;
//! [`programs`] are the binaries of the workspace, [`nats`] is a real nats-server, [`llm`] are servers of language models,
//! [`python`] and [`javascript`] what other languages are tried with, [`shown`] compares what pages show with what those
//! print, and [`sim`] is a whole cluster in virtual time, made of a seed.

pub mod bounds;
#[allow(missing_docs, reason = "the name of a check is the sentence that it checks")]
pub mod contract;
#[cfg(unix)]
pub mod javascript;
#[cfg(unix)]
pub mod llm;
#[cfg(unix)]
pub mod nats;
#[cfg(unix)]
pub mod process;
pub mod programs;
#[cfg(unix)]
pub mod python;
pub mod random;
pub mod script;
pub mod shown;
pub mod sim;
pub mod sqlite;
