//! `callboard config`: whether what was configured can be used, and all that is wrong with it.
//!
//! There are three kinds of settings: variables of the environment, files of nodes and workflow files. A setting that nobody knows is
//! refused rather than ignored, for a misspelt one that is ignored does its harm in silence.

use std::path::{Path, PathBuf};

use callboard::broker::code;
use callboard::broker::problem::{Problem, Problems, closest};
use callboard::config::{Config as NodeConfig, SETTINGS};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::workflow::file;
use crate::output::{Done, Page, Show, answer, count};

/// Check configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check files and the environment: every mistake, with its place
    Check(Check),
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Files of nodes and of workflows; the environment is always checked
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What may be set in the environment beside the settings of a node.
const VARIABLES: [&str; 6] = [
    "CALLBOARD_CONFIG",
    "CALLBOARD_HTTP_KEY",
    "CALLBOARD_HTTP_KEY_FILE",
    "CALLBOARD_LOG_FORMAT",
    "CALLBOARD_PERSON",
    "CALLBOARD_RECORD",
];
const PREFIX: &str = "CALLBOARD_";

/// Runs `config check`. The environment has been checked before any command.
pub(crate) fn config(Config::Check(of): Config) -> Done {
    let mut problems = Problems::new();
    let mut files = Vec::new();
    for path in &of.files {
        match check(path) {
            Ok(checked) => files.push(checked),
            Err(wrong) => problems.extend(wrong),
        }
    }
    let problems = problems.or(());
    problems?;
    let set = variables().filter(|name| std::env::var_os(name).is_some());
    answer(Report { files, environment: set.collect() })
}

/// What may be set in the environment.
fn variables() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.variable).chain(VARIABLES)
}

/// Checks one file, of whichever kind it is.
fn check(path: &Path) -> Result<Checked, Problems> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    if NodeConfig::is_meant(&text) {
        let config = NodeConfig::from_toml(&file, &text)?;
        config.check_served(&file, &text)?;
        let capabilities = config.serve.len() + config.teams.len() + config.agents.len();
        return Ok(Checked { file, is: Is::Pools(capabilities) });
    }
    let (doc, _) = file::read(path, None)?;
    Ok(Checked { file, is: Is::Tasks(doc.tasks.len()) })
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
    let known: Vec<&str> = variables().collect();
    if !name.starts_with(PREFIX) || known.contains(&name) || name == OF_TESTS {
        return None;
    }
    let problem = Problem::new(code::UNKNOWN_KEY, format!("the environment variable {name} is not a setting"));
    Some(match closest(name, &known) {
        Some(meant) => problem.fix(format!("name it {meant}, or unset {name}")),
        None => problem.fix(format!("unset {name}")),
    })
    .map(|problem| problem.allowed_near(name, &known))
}

#[derive(Serialize)]
struct Checked {
    file: String,
    #[serde(flatten)]
    is: Is,
}

/// What a file is, and how much of it there is.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Is {
    Tasks(usize),
    Pools(usize),
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
            .map(|of| match of.is {
                Is::Tasks(tasks) => format!("{}  ok, a workflow of {}\n", of.file, count(tasks, "task")),
                Is::Pools(pools) => format!("{}  ok, a node that serves {}\n", of.file, count(pools, "pool")),
            })
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

    #[test]
    fn every_variable_that_a_flag_reads_is_known() {
        fn read(command: &clap::Command, into: &mut Vec<String>) {
            into.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())));
            command.get_subcommands().for_each(|command| read(command, into));
        }
        let mut names = Vec::new();
        read(&<crate::args::Cli as clap::CommandFactory>::command(), &mut names);
        assert!(names.iter().any(|name| name == "CALLBOARD_PERSON"), "{names:?}");
        let unknown: Vec<_> = names.iter().filter(|name| unknown(name).is_some()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
