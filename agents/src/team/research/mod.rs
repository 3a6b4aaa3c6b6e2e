//! Research: a lead that shares sources out, and two workers that read different kinds of them.

mod lead;
mod merge;
mod reader;
mod reword;
#[cfg(test)]
mod tests;

pub use lead::Lead;
pub(super) use merge::merge;
pub use reader::Reader;
pub(super) use reword::reword;
