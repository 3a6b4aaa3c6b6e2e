//! `docs/reference/cli.md`: written from what may be typed, and compared with it, so that it cannot be out of date.

use std::fmt::Write;

use clap::{Arg, Command};

use crate::args;

const HEAD: &str = "\
# Reference: the command line

Every command with its arguments and options. Written by the program itself: a
test compares this page with what may be typed, and writes it anew with
`UPDATE=1 cargo test -p callboard-cli reference`.

How the commands behave is in [the command line](../topics/commands.md).
";

fn page() -> String {
    let mut command = args::description();
    command.build();
    let mut text = HEAD.to_owned();
    section(&mut text, &command, "callboard", true);
    text
}

/// One command, then those below it.
fn section(text: &mut String, command: &Command, name: &str, is_root: bool) {
    let verbs: Vec<&Command> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    if verbs.is_empty() || is_root {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let title = if is_root { "Everywhere".to_owned() } else { format!("`{name}`") };
        let _ = write!(text, "\n## {title}\n\n{}.\n", about.trim_end_matches('.'));
        let own = |arg: &&Arg| !arg.is_hide_set() && arg.is_global_set() == is_root && arg.get_id() != "help";
        let rows: Vec<String> = command.get_arguments().filter(own).map(row).collect();
        if !rows.is_empty() {
            let _ = write!(text, "\n| what | meaning |\n|---|---|\n{}", rows.concat());
        }
    }
    for verb in verbs {
        section(text, verb, &format!("{name} {}", verb.get_name()), false);
    }
}

/// `| -i, --input <KEY=VALUE> | An input of the workflow |`
fn row(arg: &Arg) -> String {
    let names = [arg.get_short().map(|c| format!("-{c}")), arg.get_long().map(|name| format!("--{name}"))];
    let mut what = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if arg.get_action().takes_values() {
        let value =
            arg.get_value_names().map(|names| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "));
        let value = format!("<{}>", value.unwrap_or_default());
        what = if what.is_empty() { value } else { format!("{what} {value}") };
    }
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let words: Vec<String> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !words.is_empty() && arg.get_action().takes_values() {
        let _ = write!(meaning, " ({})", words.join(", "));
    }
    let default = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ");
    if !default.is_empty() {
        let _ = write!(meaning, ". Default `{default}`");
    }
    if let Some(name) = arg.get_env() {
        let _ = write!(meaning, ". Or `{}`", name.to_string_lossy());
    }
    format!("| `{}` | {} |\n", what.replace('|', "\\|"), meaning.replace('|', "\\|"))
}

#[test]
fn the_page_is_as_the_program_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, page()).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == page(), "docs/reference/cli.md is out of date: UPDATE=1 cargo test -p callboard-cli reference");
}
