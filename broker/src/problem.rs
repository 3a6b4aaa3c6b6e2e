//! What a person is told when something cannot go on: what it was, where, what would be allowed, and how to fix it.
//!
//! Every operator-facing error of every crate ends up as a [`Problem`], so all of them read alike and none can show a
//! debug struct or a backtrace: even `Debug` prints the sentence. A problem names a code with a page (see
//! [`code`](crate::code)) and fits 8 lines of 80 columns whatever is put into it. Readers of files collect
//! [`Problems`], because a person wants to hear about all mistakes of a file at once.
//!
//! ```
//! use callboard_broker::{code, problem::{Place, Problem}};
//!
//! let file = "strategy = \"one-for-one\"";
//! let problem = Problem::new(code::NOT_ALLOWED, "\"one-for-one\" is not a strategy")
//!     .at(Place::of("node.toml", file, 11..24))
//!     .allowed_near("one-for-one", ["one_for_all", "rest_for_one", "one_for_one"])
//!     .fix("strategy = \"one_for_one\"");
//! assert_eq!(problem.to_string(), r#"error[CB0102]: "one-for-one" is not a strategy
//!   --> node.toml:1:12
//!   1 | strategy = "one-for-one"
//!     |            ^^^^^^^^^^^^^ one_for_one, one_for_all or rest_for_one
//!   fix: strategy = "one_for_one"
//!   more: callboard explain CB0102"#);
//! ```

use std::fmt;
use std::ops::Range;

use serde::Serialize;

mod nearest;
mod render;
#[cfg(test)]
mod tests;

pub use nearest::{closest, nearest};

/// One thing that is wrong, told so that a person can put it right.
///
/// `Display` is the text for a terminal, `Serialize` the object for `--json`; fields that are empty are left out there.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// One of [`code`](crate::code)'s constants, such as `CB0102`.
    pub code: &'static str,
    /// One sentence in lower case without a full stop that names the thing.
    pub what: String,
    /// Where in a file, when it is about a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Box<Place>>,
    /// A fact that helps to judge it: `tried 3 times in 1.2 s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The values that would have been right, or the names that do exist, nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// What to type or to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Problem {
    /// A problem with a code of [`code`](crate::code) and one sentence; the rest is added to it.
    pub fn new(code: &'static str, what: impl Into<String>) -> Self {
        Problem { code, what: what.into(), at: None, note: None, allowed: Vec::new(), fix: None }
    }

    /// Where it is.
    pub fn at(self, place: Place) -> Self {
        Problem { at: Some(Box::new(place)), ..self }
    }

    /// A fact that helps to judge it.
    pub fn note(self, note: impl Into<String>) -> Self {
        Problem { note: Some(note.into()), ..self }
    }

    /// What would be right, in the order given.
    pub fn allowed<S: Into<String>>(self, values: impl IntoIterator<Item = S>) -> Self {
        Problem { allowed: values.into_iter().map(Into::into).collect(), ..self }
    }

    /// What would be right, nearest to `wanted` first.
    pub fn allowed_near<S: AsRef<str>>(self, wanted: &str, values: impl IntoIterator<Item = S>) -> Self {
        Problem { allowed: nearest(wanted, values), ..self }
    }

    /// What to do about it: a command, or a line to write.
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Problem { fix: Some(fix.into()), ..self }
    }

    /// The text for a terminal of that many columns. `Display` uses 80, the width for which 8 lines are promised.
    pub fn render(&self, columns: usize) -> String {
        render::lines(self, columns).join("\n")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(render::COLUMNS))
    }
}

/// The same text as `Display`: a problem that escapes through `main` or an `unwrap` still reads as a sentence.
impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problem {}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The path as the person gave it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line itself; empty when there is none to show.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// How many characters are meant, from `column` on; at least 1.
    pub width: usize,
}

impl Place {
    /// The place of a byte range of `source`. A range over several lines means what it covers of the first; one that
    /// lies outside or splits a character is moved to the nearest place that exists.
    pub fn of(file: &str, source: &str, span: Range<usize>) -> Self {
        let start = boundary(source, span.start);
        let end = boundary(source, span.end).max(start);
        let head = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let tail = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let text = source[head..tail].trim_end_matches('\r');
        Place {
            file: file.to_owned(),
            line: source[..head].matches('\n').count() + 1,
            column: source[head..start].chars().count() + 1,
            text: text.to_owned(),
            width: source[start..end.min(tail)].trim_end().chars().count().max(1),
        }
    }
}

/// The nearest beginning of a character at or before a byte.
fn boundary(source: &str, byte: usize) -> usize {
    (0..=byte.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0)
}

/// All that is wrong with one thing, in the order of the places. Never shown empty: see [`Problems::or`].
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

/// How many problems the text shows; the JSON has all.
const SHOWN: usize = 10;

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their places.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// The value when nothing is wrong, otherwise the problems in the order of their places.
    ///
    /// # Errors
    /// These problems, when there is any.
    pub fn or<T>(mut self, value: T) -> Result<T, Problems> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|p| p.at.as_ref().map(|at| (at.file.clone(), at.line, at.column)));
        Err(self)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.iter().take(SHOWN).map(Problem::to_string).collect();
        f.write_str(&shown.join("\n\n"))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Problems {}
