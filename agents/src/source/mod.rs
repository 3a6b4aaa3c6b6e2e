//! Documents as sources: what the user named, read into passages that can be quoted.
//!
//! A passage keeps the text of its file as it is, markup and line ends included, because a quotation is only worth
//! something if it can be found again in the file. Whoever shows a passage cleans it; whoever quotes it does not.
//!
//! Everything is read with limits (see [`Limits`]), and what was left out is listed with its reason, never silently.

#[cfg(feature = "pdf")]
mod apart;
mod detect;
mod error;
#[cfg(feature = "web")]
mod fetch;
#[cfg(any(feature = "pdf", feature = "web"))]
mod guard;
#[cfg(feature = "web")]
mod html;
mod limits;
mod lines;
mod load;
mod markdown;
mod parcel;
mod parse;
#[cfg(feature = "pdf")]
mod pdf;
mod sqlite;
mod text;
mod walk;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "pdf")]
pub use apart::{PDF_MEMORY, PDF_TEXT, read_apart};
pub use error::SourceError;
pub use limits::Limits;
pub use load::{Only, is_url, load};
pub(crate) use parcel::{Room, Unpacked, unpack};
pub use parcel::{is_parcel, pack, pack_files};

/// What [`load`] read, and what it left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Loaded {
    /// Documents with at least one passage, in the order of the sources, files of a folder by name.
    pub documents: Vec<Document>,
    /// What was not read, and why.
    pub skipped: Vec<Skipped>,
    /// How many documents were left out because another kind was wanted.
    #[serde(default)]
    pub unwanted: usize,
}

impl Loaded {
    /// How many passages the documents hold together.
    pub fn passages(&self) -> usize {
        self.documents.iter().map(|document| document.passages.len()).sum()
    }
}

/// One file, page or database that was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// The path relative to the folder that was named, with `/` between its parts; the file name of a named file; or the URL.
    pub source: String,
    /// What its content was found to be.
    pub kind: Kind,
    /// Its text in reading order.
    pub passages: Vec<Passage>,
}

/// A paragraph, a list, a code block, or a table row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Passage {
    /// Verbatim, with the line ends of the file.
    pub text: String,
    /// Where its first line is.
    pub locator: Locator,
    /// How it falls into pieces that can be quoted.
    #[serde(default)]
    pub unit: Unit,
    /// What a reader knows when arriving here (headings above it, the head of its table): searched, never quoted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
}

/// What is between the cells of a row: shown as `; `, since the second character is white space that is no line end.
pub const CELL_END: &str = ";\u{2029}";

impl Passage {
    /// Whether a locator, as [`Locator`] prints it, points into this passage. An empty one points into every passage.
    pub fn is_at(&self, locator: &str) -> bool {
        if locator.is_empty() {
            return true;
        }
        match (&self.locator, locator.strip_prefix("line ").map(str::parse::<u32>)) {
            (Locator::Line(first), Some(Ok(line))) => {
                let lines = self.text.lines().count() as u32;
                (*first..first + lines.max(1)).contains(&line)
            }
            (own, _) => own.to_string() == locator,
        }
    }
}

/// What one quotation can be at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A sentence.
    #[default]
    Sentence,
    /// A line, as in code.
    Line,
    /// All of it, as in a row of a text table.
    Whole,
    /// All of it, which is a heading: it names what is below it and hardly ever answers.
    Title,
    /// A cell: the passage is a row of a database, its cells as `column: cell` with [`CELL_END`] between them. A row has no
    /// text of its own, so only a cell can be found again in the file.
    Cell,
}

/// Where in its document a text is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Locator {
    /// A line of a text file or web page, from 1.
    Line(u32),
    /// A page of a PDF, from 1.
    Page(u32),
    /// A row of a database.
    Row {
        /// The table's name.
        table: String,
        /// SQLite's row id, or the row's place from 1 in a table without one.
        row: i64,
    },
}

impl Locator {
    /// The place of what begins after `before`, a part of the text that this locator points at.
    pub fn after(&self, before: &str) -> Locator {
        let down = before.bytes().filter(|byte| *byte == b'\n').count() as u32;
        match self {
            Locator::Line(line) => Locator::Line(line + down),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Locator::Line(line) => write!(f, "line {line}"),
            Locator::Page(page) => write!(f, "p. {page}"),
            Locator::Row { table, row } => write!(f, "{table}:{row}"),
        }
    }
}

/// What the content of a document is; decided by the content, and by the name only where the content does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Plain text, source code included.
    Text,
    /// Markdown.
    Markdown,
    /// Rows of text, comma or tab between the cells.
    Table,
    /// A web page, from a file or a URL.
    Html,
    /// A PDF.
    Pdf,
    /// A SQLite database.
    Sqlite,
}

/// Something that was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// As [`Document::source`].
    pub source: String,
    /// A lowercase phrase, for instance `not text`.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locator_points_into_the_passage_that_has_its_line() {
        let passage =
            |locator| Passage { text: "a\nb".to_owned(), locator, unit: Unit::Sentence, context: String::new() };
        let lines = passage(Locator::Line(3));
        assert!(lines.is_at("line 3") && lines.is_at("line 4") && lines.is_at(""));
        assert!(!lines.is_at("line 5") && !lines.is_at("line 2") && !lines.is_at("p. 3") && !lines.is_at("line x"));
        assert!(passage(Locator::Page(3)).is_at("p. 3"));
        assert!(passage(Locator::Row { table: "t".to_owned(), row: 3 }).is_at("t:3"));
    }
}
