//! The extractive engine: it answers questions by quoting documents, and writes nothing of its own.
//!
//! Everything here is a plain function over text that is already in memory, so that agents, tests and tools can use it
//! alike. The unit of everything is the [`Claim`]: a sentence together with the place where it can be found again.
//!
//! ```
//! use callboard_agents::extract::{Index, Options};
//! use callboard_agents::source::{Document, Kind, Locator, Passage, Unit};
//!
//! let passage = Passage {
//!     text: "The engine was built in 1843. It never ran.".to_owned(),
//!     locator: Locator::Line(1),
//!     unit: Unit::Sentence,
//!     context: String::new(),
//! };
//! let document = Document { source: "engine.txt".to_owned(), kind: Kind::Text, passages: vec![passage] };
//! let answer = Index::new(vec![document]).answer("When was the engine built?", &Options::default());
//! assert_eq!(answer.claims[0].quote, "The engine was built in 1843.");
//! assert_eq!(answer.coverage, 1.0);
//! ```

mod answer;
mod clean;
mod coverage;
mod expects;
pub mod fact;
mod index;
mod question;
mod quote;
mod rank;
mod sentence;
#[cfg(test)]
mod tests;
mod token;

pub use answer::{Answer, Claim, Options};
pub use clean::clean;
pub use coverage::COVERED;
pub use index::Index;
pub use question::split;
pub use quote::QUOTE_CHARS;
pub(crate) use quote::collapse;
pub(crate) use sentence::is_item;
