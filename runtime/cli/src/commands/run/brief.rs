//! A brief as it is printed.

use callboard::broker::task::{Outcome, Status};
use callboard::broker::tasks::TaskView;
use callboard::exit::Exit;
use callboard::llm::ModelUse;
use callboard::team::{self, Completeness, Engine, Reading};
use serde::Serialize;

use crate::failure::Failure;
use crate::figures::{self, Metrics, TaskFigures};
use crate::follow::Notes;
use crate::output::{Page, Show, count};

/// From this coverage on a question counts as answered.
use callboard::agents::extract::COVERED;

/// What a run of a question gave. Its fields are those that `--json` promises.
#[derive(Serialize)]
pub(super) struct Brief {
    run: String,
    status: String,
    engine: Engine,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<ModelUse>,
    brief: String,
    claims: Vec<Claim>,
    coverage: f32,
    not_found: Vec<String>,
    dropped: Vec<Dropped>,
    tasks: Vec<TaskFigures>,
    metrics: Metrics,
    #[serde(skip)]
    made: team::Brief,
    #[serde(skip)]
    strict: bool,
    #[serde(skip)]
    failure: Option<Failure>,
}

/// A sentence with where it is from.
#[derive(Serialize)]
struct Claim {
    text: String,
    source: String,
    locator: String,
    quote: String,
}

/// A sentence that its source does not bear out.
#[derive(Serialize)]
struct Dropped {
    #[serde(flatten)]
    claim: Claim,
    why: String,
}

impl From<&callboard::agents::extract::Claim> for Claim {
    fn from(claim: &callboard::agents::extract::Claim) -> Claim {
        let (text, source) = (claim.text.clone(), claim.source.clone());
        Claim { text, source, locator: claim.locator.clone(), quote: claim.quote.clone() }
    }
}

impl Brief {
    pub(super) fn of(outcome: &Outcome, tasks: &[TaskView], strict: bool, failure: Option<Failure>) -> Brief {
        let made: team::Brief = outcome.output.read().unwrap_or_default();
        let dropped = |one: &team::Dropped| Dropped { claim: (&one.claim).into(), why: one.why.clone() };
        Brief {
            run: outcome.run.to_string(),
            status: match (outcome.status, made.status) {
                (Status::Completed, Completeness::Degraded) => "degraded".to_owned(),
                (status, _) => status.to_string(),
            },
            engine: made.engine,
            models: made.models.clone(),
            brief: made.brief.clone(),
            claims: made.claims.iter().map(Claim::from).collect(),
            coverage: made.coverage,
            not_found: made.not_found.clone(),
            dropped: made.dropped.iter().map(dropped).collect(),
            tasks: figures::tasks(tasks),
            metrics: figures::metrics(tasks),
            made,
            strict,
            failure,
        }
    }

    /// What each member of the team says of its work.
    pub(super) fn notes(&self) -> &Notes {
        &self.made.remarks
    }

    /// What was read, in one line.
    pub(super) fn read(&self) -> String {
        let Reading { documents, passages, skipped, skipped_more, .. } = &self.made.reading;
        let mut line = format!("{}, {}", count(*documents, "document"), count(*passages, "passage"));
        if let Some(first) = skipped.first() {
            let (all, why) = (skipped.len() + skipped_more, &first.why);
            line += &format!("; skipped {all} ({}: {why}{})", first.source, if all > 1 { ", ..." } else { "" });
        }
        line
    }

    fn sources(&self, page: Page) -> String {
        let place = |claim: &Claim| match claim.locator.strip_prefix("line ") {
            Some(line) => format!("{}:{line}", claim.source),
            None => format!("{} {}", claim.source, claim.locator),
        };
        let cited = self.claims.iter().zip(1..).filter(|(_, n)| self.cites(*n));
        let entries = cited.map(|(claim, n)| format!("[{n}] {}", place(claim)));
        let mut lines: Vec<String> = Vec::new();
        for entry in entries {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 3 + entry.chars().count() <= page.columns => {
                    *line += &format!("   {entry}")
                }
                _ => lines.push(entry),
            }
        }
        lines.iter().map(|line| page.fit(line, page.columns) + "\n").collect()
    }

    /// Whether the text, or what is said below it, refers to the claim of this number.
    fn cites(&self, n: usize) -> bool {
        self.brief.contains(&format!("[{n}]")) || self.made.disagreements.iter().any(|one| one.claims.contains(&n))
    }

    /// What is louder than the answer is pretty: what was not found, what had to go, what contradicts.
    fn remarks(&self) -> Vec<(&'static str, String)> {
        let mut remarks = Vec::new();
        if !self.not_found.is_empty() {
            remarks.push(("not found", format!("no quote covers: {}", self.not_found.join(", "))));
        }
        for dropped in self.dropped.iter().take(3) {
            remarks.push(("dropped", format!("\"{}\": {}", dropped.claim.text, dropped.why)));
        }
        if self.dropped.len() > 3 {
            remarks.push(("dropped", format!("{} more", self.dropped.len() - 3)));
        }
        for one in &self.made.disagreements {
            remarks.push(("disagree", format!("[{}] and [{}]: {}", one.claims[0], one.claims[1], one.about)));
        }
        remarks.extend(self.made.problems.iter().map(|problem| ("degraded", problem.clone())));
        let unused = (1..=self.claims.len()).filter(|n| !self.cites(*n)).count();
        if unused > 0 {
            remarks.push((
                "quoted",
                format!("{} more that the text does not use; --json has them", count(unused, "sentence")),
            ));
        }
        let covered = if self.coverage < COVERED { ": the sources do not cover it" } else { "" };
        let engine = match self.engine {
            Engine::Extractive => "extractive engine, every sentence a quote",
            Engine::Model => "written by a model, every sentence checked against its source",
        };
        remarks.push(("coverage", format!("{:.2} of the question{covered}; {engine}", self.coverage)));
        remarks.extend(self.models.iter().map(|used| ("model", line(used))));
        remarks.push(("figures", self.metrics.line()));
        remarks
    }
}

/// `openai/gpt-5 as content.writer: 2 calls, 812 tokens in, 96 out, cost 0.001975`.
fn line(used: &ModelUse) -> String {
    let ModelUse { role, model, calls, input_tokens, output_tokens, cost_micros, cached } = used;
    let known = match cached {
        0 => String::new(),
        n => format!(" ({n} from the cache)"),
    };
    let calls = format!("{}{known}", count(*calls as usize, "call"));
    let cost = match cost_micros {
        0 => String::new(),
        micros => format!(", cost {}.{:06}", micros / 1_000_000, micros % 1_000_000),
    };
    format!("{model} as {role}: {calls}, {input_tokens} tokens in, {output_tokens} out{cost}")
}

impl Show for Brief {
    fn text(&self, page: Page) -> String {
        if self.failure.is_some() {
            return String::new();
        }
        let paragraphs = self.brief.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
        let mut text: String = paragraphs.map(|paragraph| page.wrap(paragraph, 0) + "\n\n").collect();
        text += &self.sources(page);
        text.extend(self.remarks().iter().map(|(name, remark)| page.field(name, 11, remark)));
        text
    }

    fn exit(&self) -> Exit {
        if self.strict && self.status != "completed" { Exit::Degraded } else { Exit::Ok }
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.clone()
    }
}
