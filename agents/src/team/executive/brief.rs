//! Puts the brief together out of the plan and the checked draft. Pure.

use super::plan::Plan;
use crate::extract::COVERED;
use crate::team::prompts::note;
use crate::team::words::plural;
use crate::team::{Brief, Checked, Completeness, Draft, EXECUTIVE, Findings, Inquiry, Reading, Remarks};

/// What a brief says when no source says anything.
const NOTHING: &str = "The sources say nothing about this.";

/// What stands before quotations that cover less than half of the question.
const LITTLE: &str = "The sources cover less than half of the question. Nearest to it:";

pub(super) fn brief(run: &str, inquiry: &Inquiry, plan: &Plan, checked: Checked) -> Brief {
    let found = plan.found();
    let draft = checked.draft;
    let coverage = mean(found.iter().map(|findings| findings.coverage));
    let problems = union([&plan.problems, &draft.problems].into_iter());
    let mut remarks: Remarks = found.iter().flat_map(|findings| findings.remarks.clone()).collect();
    remarks.extend(draft.remarks.clone());
    remarks.insert(EXECUTIVE.name().to_owned(), summary(plan));
    let mut models = draft.models.clone();
    found.iter().flat_map(|findings| &findings.models).for_each(|used| note(&mut models, used.clone()));
    Brief {
        run: run.to_owned(),
        status: if problems.is_empty() { Completeness::Completed } else { Completeness::Degraded },
        question: inquiry.question.clone(),
        brief: text(&draft, &found),
        engine: draft.engine,
        claims: draft.claims,
        models,
        coverage,
        not_found: union(found.iter().map(|findings| &findings.not_found)),
        dropped: checked.dropped,
        disagreements: checked.disagreements,
        reading: read(&found),
        plan: plan.steps().to_vec(),
        revisions: plan.revisions,
        problems,
        remarks,
    }
}

/// A paragraph for each question, in the order in which they were asked.
fn text(draft: &Draft, found: &[Findings]) -> String {
    let paragraph = |(answers, findings): (usize, &Findings)| {
        let sentences: Vec<String> =
            draft.sentences.iter().filter(|sentence| sentence.answers == answers).map(cited).collect();
        match (sentences.is_empty(), findings.coverage < COVERED) {
            (true, _) => NOTHING.to_owned(),
            (false, true) => format!("{LITTLE} {}", sentences.join(" ")),
            (false, false) => sentences.join(" "),
        }
    };
    found.iter().enumerate().map(paragraph).collect::<Vec<_>>().join("\n\n")
}

fn cited(sentence: &crate::team::Sentence) -> String {
    let numbers: String = sentence.cites.iter().map(|number| format!("[{number}]")).collect();
    format!("{} {numbers}", sentence.text)
}

fn summary(plan: &Plan) -> String {
    let questions = plural(plan.questions(), "question");
    match plan.revisions {
        0 => format!("{questions}, 3 leads, no replan"),
        1 => format!("{questions}, 3 leads, replanned once"),
        n => format!("{questions}, 3 leads, replanned {n} times"),
    }
}

fn mean(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let n = values.len();
    if n == 0 { 0.0 } else { values.sum::<f32>() / n as f32 }
}

fn union<'a>(lists: impl Iterator<Item = &'a Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for term in lists.flatten() {
        if !all.contains(term) {
            all.push(term.clone());
        }
    }
    all
}

/// All questions are researched in the same sources, so one reading stands for all; the fullest, as one may have failed
/// in part.
fn read(found: &[Findings]) -> Reading {
    found.iter().map(|findings| &findings.reading).max_by_key(|reading| reading.documents).cloned().unwrap_or_default()
}
