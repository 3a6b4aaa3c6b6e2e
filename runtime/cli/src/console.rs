//! What every command works with: the printer, and where the store is.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use callboard::broker::problem::Problem;
use callboard::config::Config;

use crate::args::Global;
use crate::nodes::plain;
use crate::output::Printer;

/// Where tasks, state and events are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this process, and gone with it.
    Memory,
    /// In a file that the person named.
    Named(PathBuf),
    /// In the file that is used when nothing is said.
    Usual(PathBuf),
    /// On a broker.
    Broker(Remote),
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Its addresses, with commas between.
    pub(crate) address: String,
    /// The credentials file, when one was named.
    pub(crate) creds: Option<PathBuf>,
}

impl Place {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        match self {
            Place::Memory | Place::Broker(_) => None,
            Place::Named(path) | Place::Usual(path) => Some(path),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Memory => f.write_str("memory"),
            Place::Named(path) | Place::Usual(path) => write!(f, "{}", path.display()),
            Place::Broker(remote) => f.write_str(&plain(&remote.address)),
        }
    }
}

/// The printer and the place of the store.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    pub(crate) out: Printer,
    pub(crate) place: Place,
    /// What is worked on here is configured with this: its models, tools, agents and bounds.
    pub(crate) config: Config,
    /// The options that gave it that, to be typed again by whoever goes on.
    pub(crate) here: String,
}

impl Console {
    /// A console for these arguments.
    pub(crate) fn new(global: &Global) -> Console {
        let typed = Typed::here();
        let store = global.store.as_ref().filter(|named| !named.is_empty());
        // What was typed stands over what a variable says, also where the two are not of one kind.
        let broker = global.broker.clone().filter(|address| !address.is_empty() && (typed.broker || !typed.store));
        let place = match store {
            _ if broker.is_some() => {
                Place::Broker(Remote { address: broker.clone().unwrap_or_default(), creds: global.creds.clone() })
            }
            Some(named) if named == "memory" => Place::Memory,
            Some(named) => Place::Named(PathBuf::from(named)),
            None => usual().map_or(Place::Memory, Place::Usual),
        };
        let repeated = match store {
            _ if broker.is_some() => repeated(global),
            Some(named) if typed.store => format!("--store {} ", quoted(named)),
            _ => String::new(),
        };
        // What is wrong with a variable is told before any command.
        let Config { models, limits, .. } = Config::default().over_environment().unwrap_or_default();
        let config = Config { models, limits, ..Config::default() };
        Console { out: Printer::new(global.json, global.quiet, repeated), place, config, here: String::new() }
    }

    /// A command as a person can type it here.
    pub(crate) fn command(&self, verb: &str) -> String {
        self.out.command(verb)
    }

    /// How to go on with a run, with all that it takes here.
    pub(crate) fn resume(&self, run: &str) -> String {
        self.command(&format!("workflow resume {run}{}", self.here))
    }

    /// What could be done next, at most three things, for somebody who watches; otherwise nothing.
    pub(crate) fn next(&self, steps: &[(&str, String)]) -> String {
        if steps.is_empty() || !self.out.has_company() {
            return String::new();
        }
        let wide = steps.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        let line = |(what, command): &(&str, String)| format!("{what:wide$}  {command}");
        format!("\n{}", steps.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// Which places were typed, and are not only said by a variable.
struct Typed {
    store: bool,
    broker: bool,
}

impl Typed {
    fn here() -> Typed {
        let words: Vec<OsString> = env::args_os().collect();
        Typed { store: option(&words, "--store").is_some(), broker: option(&words, "--broker").is_some() }
    }
}

/// Refuses two places at once.
///
/// # Errors
/// When a store and a broker were both typed.
pub(crate) fn one_place() -> Result<(), Problem> {
    let typed = Typed::here();
    Config::default().clear_place(typed.store, typed.broker)
}

/// The value of an option as it was typed, if it was: not one of a variable.
pub(crate) fn option(words: &[OsString], name: &str) -> Option<OsString> {
    let mut words = words.iter();
    let value = words.find_map(|word| match word.to_str()?.strip_prefix(name)? {
        "" => Some(None),
        rest => rest.strip_prefix('=').map(|value| Some(OsString::from(value))),
    })?;
    value.or_else(|| words.next().cloned()).filter(|value| !value.is_empty())
}

/// The options for the broker that no variable says.
fn repeated(global: &Global) -> String {
    let said = |name, value: &OsStr| env::var_os(name).is_some_and(|set| set == value);
    let broker = global.broker.as_ref().map(OsString::from).filter(|broker| !said("CALLBOARD_BROKER", broker));
    let creds = global.creds.as_ref().map(|path| path.clone().into_os_string());
    let creds = creds.filter(|creds| !said("CALLBOARD_CREDS", creds));
    let option = |name: &str, value: Option<OsString>| value.map(|value| format!("--{name} {} ", quoted(&value)));
    [option("broker", broker), option("creds", creds)].into_iter().flatten().collect()
}

/// `main.db` in the user's data directory; none when there is no home.
fn usual() -> Option<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local").join("share")))?;
    Some(data.join("callboard").join("main.db"))
}

/// What was typed with one word put right, as a command to copy; none when that is too long to be shown whole.
pub(crate) fn retyped(wrong: &str, right: &str) -> Option<String> {
    retyped_of(&env::args_os().collect::<Vec<_>>(), wrong, right)
}

/// The longest command that an error shows whole.
const SHOWN: usize = 130;

/// The first word that is `wrong`, or ends in `=wrong`, becomes `right`.
pub(crate) fn retyped_of(typed: &[OsString], wrong: &str, right: &str) -> Option<String> {
    let mut words: Vec<String> = typed.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let place = words
        .iter()
        .position(|word| word == wrong || word.split_once('=').is_some_and(|(a, b)| a == wrong || b == wrong))?;
    let word = &mut words[place];
    *word = match word.split_once('=') {
        Some((name, value)) if name == wrong => format!("{right}={value}"),
        Some((name, value)) if value == wrong => format!("{name}={right}"),
        _ => right.to_owned(),
    };
    let words: Vec<String> = words.iter().map(|word| quoted(OsStr::new(word))).collect();
    let command = format!("callboard {}", words.join(" "));
    (command.chars().count() <= SHOWN).then_some(command)
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(safe) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_found_among_the_words() {
        let of = |line: &str| option(&line.split(' ').map(OsString::from).collect::<Vec<_>>(), "--store");
        assert_eq!(of("cb node start --store a.db").as_deref(), Some("a.db".as_ref()));
        assert_eq!(of("cb --store=b.db node start").as_deref(), Some("b.db".as_ref()));
        assert_eq!(
            (of("cb node start --stores c.db"), of("cb node start --store="), of("cb --store")),
            (None, None, None)
        );
    }

    #[test]
    fn what_was_typed_is_shown_with_the_wrong_word_put_right() {
        let typed = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
        let right = |words: &str, wrong: &str, right: &str| retyped_of(&typed(words), wrong, right);
        assert_eq!(right("cb task lss --limit 5", "lss", "ls").as_deref(), Some("callboard task ls --limit 5"));
        assert_eq!(right("cb task ls --limti=5", "--limti", "--limit").as_deref(), Some("callboard task ls --limit=5"));
        assert_eq!(
            right("cb task ls --status=faild", "faild", "failed").as_deref(),
            Some("callboard task ls --status=failed")
        );
        assert_eq!(right("cb task ls", "lss", "ls"), None);
    }

    #[test]
    fn a_word_is_quoted_when_a_shell_would_change_it() {
        assert_eq!(quoted(OsStr::new("/tmp/a-b.db")), "/tmp/a-b.db");
        assert_eq!(quoted(OsStr::new("my store's")), r"'my store'\''s'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }
}
