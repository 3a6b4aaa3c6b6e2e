//! Content: a lead, a writer that composes sentences out of claims, and an editor.

mod compose;
mod edit;
mod editor;
mod lead;
mod rewrite;
mod write;
mod writer;

pub(super) use compose::quote_instead;
pub(super) use edit::repeats;
pub use editor::Editor;
pub use lead::Lead;
pub use writer::Writer;
