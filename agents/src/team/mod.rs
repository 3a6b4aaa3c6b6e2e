//! The research team: agents that answer a question from documents with a brief in which every sentence is cited.
//!
//! Ordinary agents over the [extractive engine](crate::extract): they quote and write nothing of their own. The team is
//! a tree of delegations, `executive` over three leads over their workers, each a durable task, so a run that was
//! interrupted goes on with what is missing.
//!
//! ```text
//! executive ─┬─ research.lead ─┬─ research.web        HTML files and http(s) URLs
//!            │                 └─ research.database   text, Markdown, PDF, SQLite
//!            ├─ content.lead ──┬─ content.writer      claims -> sentences with citations
//!            │                 └─ content.editor      order, repetitions, length
//!            └─ qa.lead ───────┬─ qa.fact             each sentence against its source
//!                              └─ qa.style            each sentence for its reader
//! ```
//!
//! Tasks carry the names of sources and quotations with their places, never documents: whoever needs the text opens it
//! in the [`Library`] of its node.

mod blocking;
mod brief;
mod contract;
mod draft;
mod findings;
mod library;
mod problem;
mod prompts;
mod words;

#[cfg(test)]
mod model_tests;

pub mod content;
pub mod executive;
pub mod qa;
pub mod research;

pub use brief::{Brief, Completeness, Engine, Revision, Step};
pub use contract::{CONTENT, DATABASE, EDITOR, EXECUTIVE, FACT, Inquiry, QA, RESEARCH, STYLE, WEB, WRITER};
pub use draft::{Checked, Disagreement, Draft, Dropped, Edit, Flaw, Notes, OneOrMany, Review, Sentence, Styled, What};
pub use findings::{Findings, MAX_SKIPPED, Reading, Remarks, Replan};
pub use library::{KEPT_BYTES, Library, SHELVES, Shelf};
pub use prompts::PROMPTS;

use crate::Service;

/// The services of the team as the tree that a node is to supervise.
#[derive(Clone, Debug)]
pub struct Team {
    /// The agent at the top.
    pub executive: Service,
    /// What it leads.
    pub branches: Vec<Branch>,
}

/// A lead and its workers.
#[derive(Clone, Debug)]
pub struct Branch {
    /// `research`, `content` or `qa`.
    pub name: &'static str,
    /// The lead.
    pub lead: Service,
    /// Its pools.
    pub workers: Vec<Service>,
}

/// The research team over one library. Pools have two workers each.
pub fn research_team(library: &Library) -> Team {
    let branch = |name, lead, workers: Vec<Service>| Branch { name, lead, workers };
    Team {
        executive: executive::Executive::service(),
        branches: vec![
            branch(
                "research",
                research::Lead::service(),
                vec![research::Reader::web(library), research::Reader::database(library)],
            ),
            branch("content", content::Lead::service(), vec![content::Writer::service(), content::Editor::service()]),
            branch("qa", qa::Lead::service(), vec![qa::Fact::service(library), qa::Style::service()]),
        ],
    }
}
