//! `callboard config`: whether what was configured can be used, and all that is wrong with it.
//!
//! There are three kinds of settings: variables of the environment, files of nodes and workflow files. A setting that nobody knows is
//! refused rather than ignored, for a misspelt one that is ignored does its harm in silence.

use std::path::{Path, PathBuf};

use callboard::broker::problem::Problems;
use callboard::config::{Config as NodeConfig, check_variables, variables};
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
    /// Allow capabilities that only a program of your own serves
    #[arg(long)]
    any_capability: bool,
}

/// Runs `config check`. The environment has been checked before any command.
pub(crate) fn config(Config::Check(of): Config) -> Done {
    let mut problems = Problems::new();
    let mut files = Vec::new();
    for path in &of.files {
        match check(path, of.any_capability) {
            Ok(checked) => files.push(checked),
            Err(wrong) => problems.extend(wrong),
        }
    }
    let problems = problems.or(());
    problems?;
    let set = variables().filter(|name| std::env::var_os(name).is_some());
    answer(Report { files, environment: set.collect() })
}

/// Checks one file, of whichever kind it is.
fn check(path: &Path, any_capability: bool) -> Result<Checked, Problems> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    if NodeConfig::is_meant(&text) {
        let config = NodeConfig::from_toml(&file, &text)?;
        match any_capability {
            true => config.check_served_by_program(&file, &text)?,
            false => config.check_served(&file, &text)?,
        }
        let capabilities = config.serve.len() + config.teams.len() + config.agents.len();
        return Ok(Checked { file, is: Is::Pools(capabilities) });
    }
    let (doc, _) = file::read(path, None)?;
    Ok(Checked { file, is: Is::Tasks(doc.tasks.len()) })
}

/// Refuses variables that begin as ours do and that nobody reads.
pub(crate) fn environment() -> Result<(), Problems> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    check_variables(names)
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
    fn every_variable_that_a_flag_reads_is_known() {
        fn read(command: &clap::Command, into: &mut Vec<String>) {
            into.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())));
            command.get_subcommands().for_each(|command| read(command, into));
        }
        let mut names = Vec::new();
        read(&<crate::args::Cli as clap::CommandFactory>::command(), &mut names);
        assert!(names.iter().any(|name| name == "CALLBOARD_PERSON"), "{names:?}");
        check_variables(names).unwrap();
    }
}
