//! A question to the research team.

use std::path::{Path, absolute};

use callboard::agents::source::{is_url, pack};
use callboard::broker::budget::Budget;
use callboard::broker::code;
use callboard::broker::payload::Payload;
use callboard::broker::problem::{Problem, Problems, closest};
use callboard::team::{EXECUTIVE, Inquiry};

use super::Job;
use crate::console::{Console, retyped};
use crate::failure::Failure;
use crate::paths::nearby;
use crate::services;
use crate::store::Store;

/// The question as a task. Only that each source is there is seen here; what is in it, whoever reads it sees.
///
/// Paths become absolute, because the run may be gone on with from another folder.
pub(super) fn job(question: &str, sources: &[String]) -> Result<Job, Failure> {
    if question.trim().is_empty() {
        let problem = Problem::new(code::BAD_VALUE, "the question is empty");
        return Err(problem.fix("--ask \"WHAT DO YOU WANT TO KNOW\"").into());
    }
    let (mut found, mut problems) = (Vec::new(), Problems::new());
    for source in sources {
        match place(source) {
            Ok(place) => found.push(place),
            Err(problem) => problems.push(problem),
        }
    }
    let sources = problems.or(found)?;
    let question = question.trim().to_owned();
    let input = Payload::of(Inquiry { question, sources });
    Ok(Job { capability: EXECUTIVE.id(), input, budget: Budget::default() })
}

fn place(source: &str) -> Result<String, Problem> {
    if source.starts_with("http://") || source.starts_with("https://") {
        return Ok(source.to_owned());
    }
    let path = Path::new(source);
    if let Some((scheme, _)) = source.split_once("://").filter(|_| !path.exists()) {
        let problem = Problem::new(code::UNSUPPORTED, format!("{source} cannot be read: an address is http or https"));
        return Err(problem.allowed(["http://", "https://"]).fix(source.replacen(scheme, "https", 1)));
    }
    if !path.exists() {
        let near = nearby(path, |_| true);
        let problem = Problem::new(code::NO_SOURCE, format!("there is no file or folder {source}"));
        let problem = match closest(source, &near) {
            Some(meant) => problem.fix(retyped(source, &meant).unwrap_or_else(|| format!("--sources {meant}"))),
            None => problem,
        };
        return Err(problem.allowed(near));
    }
    if std::fs::read_dir(path).is_ok_and(|mut files| files.next().is_none()) {
        let problem = Problem::new(code::EMPTY_SOURCES, format!("the folder {source} is empty"));
        return Err(problem.fix("name a folder with documents: --sources docs/"));
    }
    Ok(absolute(path).map_or_else(|_| source.to_owned(), |path| path.display().to_string()))
}

/// The same job for nodes that do not see our files: each path is sent, and named by what it holds.
///
/// # Errors
/// What cannot be read, and what the broker says.
pub(super) async fn sent(job: Job, store: &Store, console: &Console) -> Result<Job, Failure> {
    let blobs = store.broker.blobs.as_ref().filter(|_| store.nodes().is_some());
    let Some(blobs) = blobs.filter(|_| job.capability == EXECUTIVE.id()) else { return Ok(job) };
    let mut inquiry: Inquiry = job.input.read()?;
    let limits = services::limits(console)?.of_sources();
    for source in inquiry.sources.iter_mut().filter(|source| !is_url(source)) {
        console.out.note(&console.out.page.field("sends", 7, source));
        *source = pack(source, &limits, blobs).await?;
    }
    Ok(Job { input: Payload::of(inquiry), ..job })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_at_once_and_all_together() {
        let sources = ["nowhere.txt", "ftp://host/x", "https://example.com/page"].map(str::to_owned);
        let failure = job("what?", &sources).unwrap_err();
        let codes: Vec<_> = failure.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [code::NO_SOURCE, code::UNSUPPORTED]);
        assert!(job(" ", &sources).is_err());
    }
}
