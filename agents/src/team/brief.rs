//! What the team hands over.

use super::{Disagreement, Dropped, Reading, Remarks};
use crate::extract::Claim;
use crate::llm::ModelUse;
use crate::payload;

/// A cited brief, and how it came about.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Brief {
    /// The run that made it.
    pub run: String,
    /// Whether all of the team's work was done.
    pub status: Completeness,
    /// What wrote it.
    pub engine: Engine,
    /// As it was asked.
    pub question: String,
    /// The text: one paragraph for each question, each sentence followed by the numbers of its claims, `[1]`.
    #[schemars(extend("x-answer" = true))]
    pub brief: String,
    /// What the text cites: claim `n` is at place `n - 1`. Best first.
    pub claims: Vec<Claim>,
    /// The share (0 to 1) of the question's terms in the best paragraph quoted; the mean over several questions.
    pub coverage: f32,
    /// Terms that are not covered.
    pub not_found: Vec<String>,
    /// Claims that the fact checker threw out.
    pub dropped: Vec<Dropped>,
    /// Claims whose sources contradict each other.
    pub disagreements: Vec<Disagreement>,
    /// What was read, and what was skipped.
    pub reading: Reading,
    /// The research that was planned, in order, and what became of it.
    pub plan: Vec<Step>,
    /// How often the plan was changed.
    pub revisions: u32,
    /// What could not be done; empty unless degraded.
    pub problems: Vec<String>,
    /// What models were used, by role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelUse>,
    /// What each member says of its work, by capability.
    pub remarks: Remarks,
}

/// Whether all of the team's work was done.
#[payload]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// All of it.
    #[default]
    Completed,
    /// Some of it failed; the brief is made of the rest.
    Degraded,
}

/// What wrote a brief.
#[payload]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// It quotes documents and writes nothing of its own.
    #[default]
    Extractive,
    /// A language model; what it said that no source covers was dropped.
    Model,
}

/// One piece of research in a plan.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The key of its task among the executive's.
    pub key: String,
    /// What is researched.
    pub question: String,
    /// 0 for the first plan, and one more for each revision.
    pub revision: u32,
    /// The coverage that it reached; none when it failed.
    #[serde(default)]
    pub coverage: Option<f32>,
}

/// A plan that was changed: the fact `plan.revised`.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The how manieth, from 1.
    pub revision: u32,
    /// Why.
    pub reason: String,
    /// The research that was added.
    pub tasks: Vec<Step>,
}
