//! The plan: one line for each question asked, and the research done for each line. Pure.

use crate::team::research::{merge, reword};
use crate::team::{Findings, Replan, Revision, Step};
use crate::{Error, Result};

/// How often a plan may change.
pub const MAX_REVISIONS: u32 = 3;

/// Questions, and what was tried to answer them.
#[derive(Debug)]
pub(super) struct Plan {
    lines: Vec<Line>,
    steps: Vec<Step>,
    /// The line that each step is for.
    line_of: Vec<usize>,
    pub(super) revisions: u32,
    pub(super) problems: Vec<String>,
    /// Wishes for another plan that were not yet granted, with the line they are for.
    wishes: Vec<(usize, Replan)>,
}

#[derive(Debug)]
struct Line {
    question: String,
    found: Option<Findings>,
}

impl Plan {
    /// One piece of research for each question.
    pub(super) fn new(questions: Vec<String>) -> Self {
        let lines = questions.into_iter().map(|question| Line { question, found: None }).collect();
        let mut plan = Self { lines, steps: vec![], line_of: vec![], revisions: 0, problems: vec![], wishes: vec![] };
        for line in 0..plan.lines.len() {
            plan.add(line, plan.lines[line].question.clone());
        }
        plan
    }

    fn add(&mut self, line: usize, question: String) {
        let key = format!("research-{}", self.steps.len() + 1);
        self.steps.push(Step { key, question, revision: self.revisions, coverage: None });
        self.line_of.push(line);
    }

    /// The research of the newest version of the plan, by place in [`steps`](Self::steps).
    pub(super) fn newest(&self) -> impl Iterator<Item = (usize, &Step)> {
        self.steps.iter().enumerate().filter(|(_, step)| step.revision == self.revisions)
    }

    /// All research, in the order in which it was planned.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Takes what a step brought.
    pub(super) fn take(&mut self, step: usize, result: Result<Findings, Error>) {
        let line = self.line_of[step];
        let found = match result {
            Ok(found) => found,
            Err(error) => return self.problems.push(format!("{}: {error}", self.steps[step].question)),
        };
        self.steps[step].coverage = Some(found.coverage);
        self.problems.extend(found.problems.iter().cloned());
        if found.replan.requires_replanning {
            self.wishes.push((line, found.replan.clone()));
        }
        let line = &mut self.lines[line];
        line.found = Some(match line.found.take() {
            Some(before) => merge(before, found),
            None => found,
        });
    }

    /// A result that is about all lines asks for another plan.
    pub(super) fn wish(&mut self, replan: &Replan) {
        if replan.requires_replanning {
            self.wishes.extend((0..self.lines.len()).map(|line| (line, replan.clone())));
        }
    }

    /// Changes the plan as results have asked, unless it was changed [`MAX_REVISIONS`] times or nothing is left to try.
    pub(super) fn revise(&mut self) -> Option<Revision> {
        let wishes = std::mem::take(&mut self.wishes);
        if self.revisions == MAX_REVISIONS {
            return None;
        }
        let mut reasons: Vec<String> = Vec::new();
        let planned = self.steps.len();
        self.revisions += 1;
        for (line, wish) in wishes {
            let fresh: Vec<String> =
                self.instead(line, &wish).into_iter().filter(|question| !self.tried(question)).collect();
            if !fresh.is_empty() && !reasons.contains(&wish.reason) {
                reasons.push(wish.reason);
            }
            fresh.into_iter().for_each(|question| self.add(line, question));
        }
        if self.steps.len() == planned {
            self.revisions -= 1;
            return None;
        }
        Some(Revision { revision: self.revisions, reason: reasons.join("; "), tasks: self.steps[planned..].to_vec() })
    }

    fn instead(&self, line: usize, wish: &Replan) -> Vec<String> {
        if !wish.instead.is_empty() {
            return wish.instead.clone();
        }
        let missing = self.lines[line].found.as_ref().map_or(&[][..], |found| &found.not_found);
        vec![reword(&self.lines[line].question, missing)]
    }

    fn tried(&self, question: &str) -> bool {
        question.is_empty() || self.steps.iter().any(|step| step.question == question)
    }

    /// What was found for each line that was researched with success.
    pub(super) fn found(&self) -> Vec<Findings> {
        self.lines.iter().filter_map(|line| line.found.clone()).collect()
    }

    /// How many questions there are.
    pub(super) fn questions(&self) -> usize {
        self.lines.len()
    }
}
