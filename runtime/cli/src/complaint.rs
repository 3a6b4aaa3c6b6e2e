//! What is wrong with what was typed, in the same form as every other problem.

use std::ffi::OsString;

use callboard::broker::code;
use callboard::broker::problem::{Problem, closest};
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args;
use crate::console::retyped_of;

/// What came of arguments that are no command: help that was asked for, or a problem.
pub(crate) enum Parsed {
    /// To be printed as data.
    Help(String),
    /// To be told.
    Problem(Problem),
}

/// Reads an error of the parser.
pub(crate) fn of(error: &clap::Error, typed: &[OsString]) -> Parsed {
    let command = Typed::of(typed);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Parsed::Help(error.render().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Parsed::Problem(command.verb_missing())
        }
        ErrorKind::InvalidSubcommand => {
            Parsed::Problem(command.unknown_verb(&text(error, ContextKind::InvalidSubcommand)))
        }
        ErrorKind::UnknownArgument => Parsed::Problem(command.unknown(&text(error, ContextKind::InvalidArg))),
        ErrorKind::MissingRequiredArgument => Parsed::Problem(command.missing(&list(error, ContextKind::InvalidArg))),
        ErrorKind::InvalidUtf8 => Parsed::Problem(Problem::new(code::BAD_VALUE, "an argument is not valid UTF-8")),
        _ => Parsed::Problem(command.bad_value(error)),
    }
}

/// The command as far as it was understood.
struct Typed<'a> {
    words: &'a [OsString],
    name: String,
    command: Command,
}

impl<'a> Typed<'a> {
    /// Follows the nouns and verbs among the words, passing over options.
    fn of(words: &'a [OsString]) -> Typed<'a> {
        let mut typed = Typed { words, name: "callboard".into(), command: args::description() };
        for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
            if let Some(found) = typed.command.find_subcommand(word).cloned() {
                typed = Typed { words, name: format!("{} {word}", typed.name), command: found };
            }
        }
        typed
    }

    fn verbs(&self) -> Vec<String> {
        self.command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
    }

    fn options(&self) -> Vec<String> {
        let all = self.command.get_opts().chain(self.command.get_arguments().filter(|a| !a.is_positional()));
        let mut names: Vec<String> =
            all.filter_map(|option| option.get_long()).map(|name| format!("--{name}")).collect();
        let everywhere = args::description();
        names.extend(everywhere.get_arguments().filter_map(|a| a.get_long()).map(|name| format!("--{name}")));
        names.push("--help".into());
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    fn verb_missing(&self) -> Problem {
        let problem = Problem::new(code::MISSING_ARGUMENT, format!("`{}` needs a verb", self.name));
        problem.allowed(self.verbs()).fix(format!("{} --help", self.name))
    }

    fn unknown_verb(&self, word: &str) -> Problem {
        let what = format!("`{} {word}` is not a command", self.name);
        let problem = Problem::new(code::UNKNOWN_VERB, what).allowed_near(word, self.verbs());
        match closest(word, self.verbs()) {
            Some(verb) => self.put_right(problem, word, &verb),
            None if self.name == "callboard" && word.ends_with(".toml") => problem.fix(format!("callboard run {word}")),
            None => problem.fix(format!("{} --help", self.name)),
        }
    }

    fn unknown(&self, word: &str) -> Problem {
        if !word.starts_with('-') {
            return match self.command.has_subcommands() {
                true => self.unknown_verb(word),
                false => Problem::new(code::BAD_VALUE, format!("`{}` takes no \"{word}\" here", self.name))
                    .fix(format!("{} --help", self.name)),
            };
        }
        let name = word.split('=').next().unwrap_or(word);
        let problem = Problem::new(code::UNKNOWN_OPTION, format!("`{}` has no option {name}", self.name));
        let problem = problem.allowed_near(name, self.options());
        match closest(name, self.options()) {
            Some(option) => self.put_right(problem, name, &option),
            None => problem.fix(format!("{} --help", self.name)),
        }
    }

    fn missing(&self, names: &[String]) -> Problem {
        let or = if names.iter().any(|name| name == "<WORKFLOW.toml>") && self.name.ends_with(" run") {
            " or --ask"
        } else {
            ""
        };
        let what = format!("`{}` needs {}{or}", self.name, names.join(" and "));
        Problem::new(code::MISSING_ARGUMENT, what).fix(format!("{} --help", self.name))
    }

    /// The same line with one word as it was most likely meant.
    fn put_right(&self, problem: Problem, wrong: &str, right: &str) -> Problem {
        problem.fix(retyped_of(self.words, wrong, right).unwrap_or_else(|| format!("{right} instead of {wrong}")))
    }

    /// A value of the wrong form, or options that do not go together.
    fn bad_value(&self, error: &clap::Error) -> Problem {
        let (option, value) = (text(error, ContextKind::InvalidArg), text(error, ContextKind::InvalidValue));
        let allowed = list(error, ContextKind::ValidValue);
        let what = match error.kind() {
            ErrorKind::ArgumentConflict => {
                let other = list(error, ContextKind::PriorArg).join(", ");
                match other.is_empty() || other == option {
                    true => format!("{option} is given twice"),
                    false => format!("{option} cannot be used together with {other}"),
                }
            }
            _ if value.is_empty() => format!("{option} needs a value"),
            _ => match std::error::Error::source(error) {
                Some(why) => format!("{option} cannot be \"{value}\": {why}"),
                None => format!("{option} cannot be \"{value}\""),
            },
        };
        let problem = Problem::new(code::BAD_VALUE, what);
        match closest(&value, &allowed).filter(|_| !value.is_empty()) {
            Some(nearest) => self.put_right(problem, &value, &nearest),
            None => problem.fix(format!("{} --help", self.name)),
        }
        .allowed_near(&value, allowed)
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    list(error, kind).into_iter().next().unwrap_or_default()
}

fn list(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(ContextValue::Strings(many)) => many.clone(),
        _ => Vec::new(),
    }
}
