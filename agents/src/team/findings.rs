//! What research brings back.

use std::collections::BTreeMap;

use crate::extract::Claim;
use crate::llm::ModelUse;
use crate::payload;
use crate::source::Skipped;

/// What each member has to say about its own work, in a few words, by capability.
pub type Remarks = BTreeMap<String, String>;

/// The most skipped sources that travel; of the others only their number does, because run logs stay small.
pub const MAX_SKIPPED: usize = 20;

/// What sources say to one question.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Findings {
    /// As it was researched.
    pub question: String,
    /// Quotations, best first.
    pub claims: Vec<Claim>,
    /// The share (0 to 1) of the question's terms in the best paragraph quoted, each weighted by how much it tells.
    pub coverage: f32,
    /// The question's terms that are not covered.
    pub not_found: Vec<String>,
    /// What was read for it.
    pub reading: Reading,
    /// Whether another plan would do better.
    #[serde(flatten)]
    pub replan: Replan,
    /// What could not be done; the findings are made of the rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What models were used for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelUse>,
    /// Who did what.
    pub remarks: Remarks,
}

/// What was read, and what was not.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Reading {
    /// Files, pages and databases with text in them.
    pub documents: usize,
    /// Their paragraphs, list items and rows.
    pub passages: usize,
    /// Readable documents left to the other researcher: pages to `research.web`, everything else to `research.database`.
    pub left: usize,
    /// What was not read and why, the first [`MAX_SKIPPED`] of them.
    pub skipped: Vec<Skipped>,
    /// How many were skipped beyond those.
    pub skipped_more: usize,
}

/// A result's wish for another plan.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Replan {
    /// Whether the plan should change.
    pub requires_replanning: bool,
    /// Why.
    pub reason: String,
    /// Questions to research instead; empty: the executive finds another wording.
    pub instead: Vec<String>,
}

impl Replan {
    /// A wish with its reason.
    pub fn because(reason: impl Into<String>, instead: Vec<String>) -> Self {
        Self { requires_replanning: true, reason: reason.into(), instead }
    }
}

impl Reading {
    /// Adds what was skipped, once each, within [`MAX_SKIPPED`].
    pub fn skip(&mut self, skipped: impl IntoIterator<Item = Skipped>) {
        for one in skipped {
            if self.skipped.contains(&one) {
                continue;
            }
            if self.skipped.len() < MAX_SKIPPED {
                self.skipped.push(one);
            } else {
                self.skipped_more += 1;
            }
        }
    }

    /// Adds what another researcher read of the same sources.
    pub fn add(&mut self, other: Reading) {
        self.documents += other.documents;
        self.passages += other.passages;
        self.skipped_more = self.skipped_more.max(other.skipped_more);
        self.skip(other.skipped);
    }
}
