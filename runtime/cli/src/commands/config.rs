//! `callboard config`: whether what was configured can be used, and all that is wrong with it.
//!
//! There are two kinds of settings: variables of the environment and workflow files. A setting that nobody knows is
//! refused rather than ignored, for a misspelt one that is ignored does its harm in silence.

use std::path::PathBuf;

use callboard::broker::code;
use callboard::broker::problem::{Problem, Problems, closest};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::workflow::file;
use crate::output::{Done, Page, Show, answer, count};

/// Check configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check workflow files and the environment: every mistake, with its place
    Check(Check),
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Workflow files; the environment is always checked
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What may be set in the environment, and what it is for.
const VARIABLES: [(&str, &str); 2] = [("CALLBOARD_STORE", "as --store"), ("CALLBOARD_LOG_FORMAT", "as --log-format")];
const PREFIX: &str = "CALLBOARD_";

/// Runs `config check`. The environment has been checked before any command.
pub(crate) fn config(Config::Check(of): Config) -> Done {
    let mut problems = Problems::new();
    let mut files = Vec::new();
    for path in &of.files {
        match file::read(path, None) {
            Ok((doc, _)) => files.push(Checked { file: path.display().to_string(), tasks: doc.tasks.len() }),
            Err(wrong) => problems.extend(wrong),
        }
    }
    let problems = problems.or(());
    problems?;
    let set = VARIABLES.iter().filter(|(name, _)| std::env::var_os(name).is_some()).map(|(name, _)| *name);
    answer(Report { files, environment: set.collect() })
}

/// Refuses variables that begin as ours do and that nobody reads.
pub(crate) fn environment() -> Result<(), Problems> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut problems = Problems::new();
    problems.extend(names.filter_map(|name| unknown(&name)));
    problems.or(())
}

/// Where this repository's own tests find a data set; of no meaning here, and no mistake either.
const OF_TESTS: &str = "CALLBOARD_XQUAD";

fn unknown(name: &str) -> Option<Problem> {
    let known = VARIABLES.map(|(name, _)| name);
    if !name.starts_with(PREFIX) || known.contains(&name) || name == OF_TESTS {
        return None;
    }
    let problem = Problem::new(code::UNKNOWN_KEY, format!("the environment variable {name} is not a setting"));
    Some(match closest(name, known) {
        Some(meant) => problem.fix(format!("name it {meant}, or unset {name}")),
        None => problem.fix(format!("unset {name}")),
    })
    .map(|problem| problem.allowed_near(name, known))
}

#[derive(Serialize)]
struct Checked {
    file: String,
    tasks: usize,
}

#[derive(Serialize)]
struct Report {
    files: Vec<Checked>,
    environment: Vec<&'static str>,
}

impl Show for Report {
    fn text(&self, _: Page) -> String {
        let mut text: String = self
            .files
            .iter()
            .map(|of| format!("{}  ok, a workflow of {}\n", of.file, count(of.tasks, "task")))
            .collect();
        text += &match self.environment.as_slice() {
            [] => "environment  ok, nothing is set\n".to_owned(),
            set => format!("environment  ok, {} set\n", set.join(" and ")),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_refused_with_the_one_that_was_meant() {
        let problem = unknown("CALLBOARD_STROE").unwrap();
        assert_eq!(problem.fix.as_deref(), Some("name it CALLBOARD_STORE, or unset CALLBOARD_STROE"));
        assert!(unknown("CALLBOARD_STORE").is_none());
        assert!(unknown("PATH").is_none());
    }
}
