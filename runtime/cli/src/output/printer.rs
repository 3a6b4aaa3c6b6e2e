//! The only code that writes to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use callboard::broker::problem::Problem;
use callboard::exit::Exit;
use serde_json::json;

use super::page::Page;
use super::{Answer, Reply, Show};
use crate::failure::Failure;

/// Decides what is printed, where, and in which form.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    /// The form of the page.
    pub(crate) page: Page,
    json: bool,
    quiet: bool,
    program: String,
    /// The options that a command has to repeat to go on with the same store.
    repeated: String,
}

impl Printer {
    /// A printer for this process's standard streams.
    pub(crate) fn new(json: bool, quiet: bool, repeated: String) -> Self {
        Printer { page: Page::from_environment(), json, quiet, program: program(), repeated }
    }

    /// A command as a person can type it here: with the program's name and the store that this one uses.
    pub(crate) fn command(&self, verb: &str) -> String {
        let alone = ["-", "explain", "completions"].iter().any(|word| verb.starts_with(word));
        let alone = alone || verb.ends_with("--help") || verb.contains("--store") || verb.contains("--broker");
        let repeated = if alone { "" } else { self.repeated.as_str() };
        format!("{} {repeated}{verb}", self.program)
    }

    /// Prints an answer, what stands in the way of a success, and what is said after it.
    pub(crate) fn reply(&self, reply: &Reply) -> Exit {
        let exit = self.answer(&*reply.answer);
        if !reply.after.is_empty() {
            self.note(&reply.after);
        }
        exit
    }

    fn answer(&self, answer: &dyn Answer) -> Exit {
        let text = match self.json {
            true => match answer.json() {
                Ok(json) => json + "\n",
                Err(error) => return self.failure(&internal(&error)),
            },
            false => answer.text(self.page),
        };
        if let Err(failure) = out(&text) {
            return self.failure(&failure);
        }
        match answer.failure() {
            Some(failure) => self.failure(&failure),
            None => answer.exit(),
        }
    }

    /// Prints one of many answers of a command that goes on: a line, or a few.
    ///
    /// # Errors
    /// When it cannot be written; silent when its reader has gone.
    pub(crate) fn item(&self, item: &impl Show) -> Result<(), Failure> {
        match self.json {
            true => out(&(serde_json::to_string(item).map_err(|error| internal(&error))? + "\n")),
            false => out(&Show::text(item, self.page)),
        }
    }

    /// Prints text that is the same for people and programs: a page, a completion script.
    pub(crate) fn raw(&self, text: &str) -> Exit {
        out(text).map_or_else(|failure| self.failure(&failure), |()| Exit::Ok)
    }

    /// Says something beside the data; not when quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            err(&format!("{}\n", text.trim_end_matches('\n')));
        }
    }

    /// Whether somebody watches who may want to know what to do next.
    pub(crate) fn has_company(&self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// Writes text as it is beside the data, for progress that moves the cursor.
    pub(crate) fn progress(&self, text: &str) {
        if !self.quiet {
            err(text);
        }
    }

    /// Tells why it could not go on.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        let problems: Vec<Problem> = failure.problems.iter().map(|problem| self.here(problem)).collect();
        if !problems.is_empty() {
            match self.json {
                true => err(&format!("{}\n", json!({ "errors": problems }))),
                false => err(&format!("{}\n", self.told(&problems))),
            }
        }
        failure.exit
    }

    /// A problem as it is told here: a fix that is a command can be typed, and nothing speaks in numbers of the system.
    fn here(&self, problem: &Problem) -> Problem {
        let mut problem = problem.clone();
        problem.what = without_numbers(&problem.what);
        problem.note = problem.note.as_deref().map(without_numbers);
        let verb = problem.fix.as_deref().and_then(|fix| fix.strip_prefix(NAME)?.strip_prefix(' '));
        match verb.map(|verb| self.command(verb)) {
            Some(command) => problem.fix(command),
            None => problem,
        }
    }

    /// At most ten problems as text.
    fn told(&self, problems: &[Problem]) -> String {
        const SHOWN: usize = 10;
        let columns = self.page.columns.min(80);
        let mut blocks: Vec<String> = problems.iter().take(SHOWN).map(|problem| problem.render(columns)).collect();
        if let Some(more) = problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            blocks.push(format!("and {more} more"));
        }
        blocks.join("\n\n").replace("  more: callboard ", &format!("  more: {} ", self.program))
    }
}

const NAME: &str = "callboard";

/// The name that a command to copy begins with. Cargo tells what it runs that it does.
fn program() -> String {
    let cargo = std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == env!("CARGO_PKG_NAME"));
    if cargo { format!("cargo {NAME}") } else { NAME.to_owned() }
}

/// The text without ` (os error 2)`, which says nothing that the words before it do not.
fn without_numbers(text: &str) -> String {
    match text.split_once(" (os error ") {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}{}", rest.strip_prefix(')').unwrap_or(rest))
        }
        None => text.to_owned(),
    }
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Problem::new(callboard::broker::code::INTERNAL, format!("the answer is no JSON: {error}")).into()
}

fn out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}

/// Nothing can be told to whoever does not listen to standard error.
fn err(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_are_told_in_words() {
        assert_eq!(without_numbers("no such file (os error 2): x"), "no such file: x");
        assert_eq!(without_numbers("nothing to do with it"), "nothing to do with it");
    }

    #[test]
    fn a_command_to_copy_goes_on_with_the_same_store() {
        let page = Page { columns: 80, ascii: true };
        let (program, repeated) = ("cargo callboard".into(), "--store x.db ".into());
        let printer = Printer { page, json: false, quiet: false, program, repeated };
        assert_eq!(printer.command("task ls"), "cargo callboard --store x.db task ls");
        assert_eq!(printer.command("explain tree"), "cargo callboard explain tree");
        let problem = Problem::new("CB0405", "no").fix("callboard task ls");
        assert_eq!(printer.here(&problem).fix.as_deref(), Some("cargo callboard --store x.db task ls"));
        let text = printer.told(&[problem]);
        assert!(text.ends_with("  more: cargo callboard explain CB0405"), "{text}");
    }
}
