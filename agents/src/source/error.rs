//! Why the sources that the user named give nothing to work with.

use std::fmt;

/// A refusal that names the source and what would be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// No source was named.
    NoneNamed,
    /// Nothing exists at this path.
    Missing {
        /// As the user wrote it.
        path: String,
        /// The existing name next to it in spelling, where there is one.
        nearest: Option<String>,
    },
    /// The path exists and the system does not let us read it.
    Unreadable {
        /// As the user wrote it.
        path: String,
        /// The system's words.
        why: String,
    },
    /// A path, where the files of whoever named it cannot be seen.
    Elsewhere {
        /// As the user wrote it.
        path: String,
    },
    /// A URL that could not be fetched.
    Fetch {
        /// As the user wrote it.
        url: String,
        /// The HTTP status, where there was an answer.
        status: Option<u16>,
        /// What went wrong.
        why: String,
    },
    /// The sources hold no file at all, or none with text in it.
    Nothing {
        /// As the user wrote them, with a comma between.
        sources: String,
        /// How many files were looked at and skipped.
        skipped: usize,
        /// Why the first of them was skipped.
        first: Option<String>,
    },
}

impl SourceError {
    /// The same about a source that goes by another name.
    pub(crate) fn about(self, name: &str) -> Self {
        let name = name.to_owned();
        match self {
            SourceError::Missing { .. } => SourceError::Missing { path: name, nearest: None },
            SourceError::Unreadable { why, .. } => SourceError::Unreadable { path: name, why },
            SourceError::Nothing { skipped, first, .. } => SourceError::Nothing { sources: name, skipped, first },
            other => other,
        }
    }

    /// What can be named as a source.
    pub const ALLOWED: &'static str =
        "a folder, a text, Markdown, CSV, HTML or PDF file, a SQLite database, or an http(s) URL";
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::NoneNamed => write!(f, "no source named")?,
            SourceError::Missing { path, nearest } => {
                write!(f, "no such file or folder: {path}")?;
                if let Some(nearest) = nearest {
                    write!(f, " (nearest: {nearest})")?;
                }
            }
            SourceError::Unreadable { path, why } => write!(f, "cannot read {path}: {why}")?,
            SourceError::Elsewhere { path } => {
                return write!(f, "a node does not open paths of its clients: {path}");
            }
            SourceError::Fetch { url, why, .. } => return write!(f, "cannot fetch {url}: {why}"),
            SourceError::Nothing { sources, skipped: 0, .. } => write!(f, "no files in {sources}")?,
            SourceError::Nothing { sources, skipped, first } => {
                write!(f, "no readable text in {sources}: {skipped} skipped")?;
                if let Some(first) = first {
                    write!(f, ", the first as {first}")?;
                }
            }
        }
        write!(f, "; a source is {}", SourceError::ALLOWED)
    }
}

impl std::error::Error for SourceError {}
