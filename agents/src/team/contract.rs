//! What the team's members ask of each other: one constant for each capability, and what it is asked.

use super::{Brief, Checked, Draft, Edit, Findings, Notes, Review, Styled};
use crate::{Capability, payload};

/// A question, and where to look for its answer.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Inquiry {
    /// One question or several, in words.
    #[schemars(extend("x-prompt" = true))]
    pub question: String,
    /// Folders, files, SQLite databases and http(s) URLs, as the node that reads them names them. Default: its current
    /// folder. Over a server only public URLs and parcels, which clients [send](crate::source::pack).
    #[serde(default = "here")]
    #[schemars(extend("x-attachments" = true))]
    pub sources: Vec<String>,
}

fn here() -> Vec<String> {
    vec![".".to_owned()]
}

/// The whole job: a cited brief.
pub const EXECUTIVE: Capability<Inquiry, Brief> = Capability::new("executive")
    .about("Answers a question from sources with a cited brief: plans, delegates, replans.");

/// One question, researched in all sources.
pub const RESEARCH: Capability<Inquiry, Findings> =
    Capability::new("research.lead").about("Researches one question: shares the sources out and merges what is found.");

/// One question, researched in web pages.
pub const WEB: Capability<Inquiry, Findings> =
    Capability::new("research.web").about("Quotes what HTML files and http(s) URLs say to a question.");

/// One question, researched in everything else.
pub const DATABASE: Capability<Inquiry, Findings> =
    Capability::new("research.database").about("Quotes what text, Markdown, PDF and SQLite files say to a question.");

/// From findings to an edited text.
pub const CONTENT: Capability<Notes, Draft> =
    Capability::new("content.lead").about("Has findings written up and edited.");

/// From findings to sentences that cite them.
pub const WRITER: Capability<Notes, Draft> =
    Capability::new("content.writer").about("Composes sentences with citations out of findings.");

/// A draft in better order.
pub const EDITOR: Capability<Edit, Draft> =
    Capability::new("content.editor").about("Orders sentences, cuts repetitions, trims around quotations.");

/// A draft that holds against its sources.
pub const QA: Capability<Review, Checked> =
    Capability::new("qa.lead").about("Has a draft checked for facts and style, and sent back when it must be.");

/// Each sentence against its source.
pub const FACT: Capability<Review, Checked> =
    Capability::new("qa.fact").about("Drops each sentence that its cited source does not cover, and says so.");

/// Each sentence for its reader.
pub const STYLE: Capability<Draft, Styled> =
    Capability::new("qa.style").about("Remarks on readability, length, repetitions and dangling pronouns.");
