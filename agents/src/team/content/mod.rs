//! Content: a lead, a writer that composes sentences out of claims, and an editor.

mod compose;
mod lead;
mod writer;

pub use lead::Lead;
pub use writer::Writer;
