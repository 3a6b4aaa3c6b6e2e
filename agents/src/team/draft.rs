//! A text on its way from claims to a brief.

use super::{Engine, Findings, Remarks, Replan};
use crate::extract::Claim;
use crate::llm::ModelUse;
use crate::payload;

/// What a text is to be made of.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// What the text is to answer. Default: the questions of the findings.
    #[serde(default)]
    pub question: String,
    /// What was found, by question.
    pub notes: OneOrMany,
}

/// Findings to one question, or to several.
#[payload]
#[derive(Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum OneOrMany {
    /// To several.
    Many(Vec<Findings>),
    /// To one.
    One(Box<Findings>),
}

impl From<OneOrMany> for Vec<Findings> {
    fn from(notes: OneOrMany) -> Self {
        match notes {
            OneOrMany::Many(many) => many,
            OneOrMany::One(one) => vec![*one],
        }
    }
}

/// Sentences with the claims that they cite.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Draft {
    /// What it answers.
    pub question: String,
    /// In reading order.
    pub sentences: Vec<Sentence>,
    /// What the sentences cite: claim `n` is at place `n - 1`. Best first, the questions taking turns.
    pub claims: Vec<Claim>,
    /// What was written beyond what is taken of an answer, until the fact checker lists it with what it drops itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
    /// What could not be done to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What wrote it.
    pub engine: Engine,
    /// What models were used for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelUse>,
    /// Who did what.
    pub remarks: Remarks,
}

/// One sentence of a draft.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// Without its citations.
    pub text: String,
    /// Numbers of claims, from 1.
    pub cites: Vec<usize>,
    /// The question it answers, counted from 0.
    #[serde(default)]
    pub answers: usize,
}

/// A draft to be edited.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The draft.
    pub draft: Draft,
    /// What a reader stumbled over; empty for the first edit.
    #[serde(default)]
    pub flaws: Vec<Flaw>,
}

/// Something a reader stumbles over.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Flaw {
    /// The sentence, from 1.
    pub sentence: usize,
    /// What is wrong with it.
    pub what: What,
}

/// What may be wrong with a sentence.
#[payload]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It says what a sentence before it says.
    Repeats,
    /// It begins with a pronoun for something that is not in the text.
    Dangles,
    /// It is too long to be read in one go.
    Long,
    /// It is no sentence: a heading, a fragment, a line of code.
    Fragment,
}

/// A draft to be checked, and the sources that it must hold against.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// The draft.
    pub draft: Draft,
    /// As the [`Inquiry`](super::Inquiry) named them.
    pub sources: Vec<String>,
}

/// A draft that was checked.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Checked {
    /// What is left of it.
    pub draft: Draft,
    /// Claims that their sources do not bear out.
    pub dropped: Vec<Dropped>,
    /// Claims that contradict each other.
    pub disagreements: Vec<Disagreement>,
    /// Whether another plan would do better.
    #[serde(flatten)]
    pub replan: Replan,
}

/// A claim that was thrown out.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// The claim.
    #[serde(flatten)]
    pub claim: Claim,
    /// Why, in words.
    pub why: String,
}

/// Sources that do not say the same.
#[payload]
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    /// Numbers of two claims, from 1.
    pub claims: [usize; 2],
    /// What they differ in, such as `1843 or 1844`.
    pub about: String,
}

/// What a reader says to a draft.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Styled {
    /// Empty when it can go out.
    pub flaws: Vec<Flaw>,
    /// What models were used for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelUse>,
    /// In a few words.
    pub remark: String,
}
