//! The command line of a node that is a program of its own: the flags of `callboard node start`, read without a library,
//! so that a program of ten lines needs none.

use std::path::Path;

use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::problem::{Problem, Problems};

use super::node::{Config, SETTINGS, Setting};

/// Where the file may be named instead of by `--config`.
pub(crate) const CONFIG_VARIABLE: &str = "CALLBOARD_CONFIG";

/// Reads flags over variables over the file that one of them names.
///
/// # Errors
/// `Config` with everything that is wrong with flags and variables, or with the file; for `--help` with the flags.
pub(crate) fn read(
    args: impl IntoIterator<Item = String>,
    variables: impl Fn(&str) -> Option<String>,
) -> Result<Config> {
    let (given, file) = flags(args).map_err(|wrong| Error::Config(Box::new(wrong)))?;
    let file = file.or_else(|| variables(CONFIG_VARIABLE).filter(|path| !path.is_empty()));
    let config = file.map_or_else(|| Ok(Config::default()), |path| Config::read(Path::new(&path)));
    let config = config.and_then(|config| config.over(variables)).and_then(|config| take(config, given));
    config.map_err(|wrong| Error::Config(Box::new(wrong)))
}

type Given = Vec<(&'static Setting, String)>;

/// What was given, and the file that was named. A flag that is given twice adds to its list.
fn flags(args: impl IntoIterator<Item = String>) -> std::result::Result<(Given, Option<String>), Problems> {
    let (mut given, mut file, mut problems) = (Given::new(), None, Problems::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let word = arg.strip_prefix("--").unwrap_or_default();
        let (name, inline) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value.to_owned())));
        if matches!(arg.as_str(), "--help" | "-h") {
            return Err(help().into());
        }
        let setting = Setting::of_flag(name);
        if setting.is_none() && name != "config" {
            problems.push(unknown(&arg, name));
            continue;
        }
        let Some(value) = inline.or_else(|| args.next()) else {
            problems.push(Problem::new(code::MISSING_ARGUMENT, format!("--{name} needs a value")));
            break;
        };
        match setting {
            None => file = Some(value),
            Some(setting) => match given.iter_mut().find(|(known, _)| known.key == setting.key) {
                Some((_, before)) => *before = format!("{before},{value}"),
                None => given.push((setting, value)),
            },
        }
    }
    problems.or((given, file))
}

fn take(mut config: Config, given: Given) -> std::result::Result<Config, Problems> {
    let mut problems = Problems::new();
    for (setting, value) in given {
        if let Err(problem) = setting.set(&mut config, &value) {
            problems.push(Problem { what: format!("--{}: {}", setting.flag, problem.what), ..problem });
        }
    }
    problems.or(config)
}

fn unknown(arg: &str, name: &str) -> Problem {
    let flags = SETTINGS.iter().map(|setting| setting.flag).chain(["config"]);
    Problem::new(code::UNKNOWN_OPTION, format!("there is no option {arg}")).allowed_near(name, flags)
}

fn help() -> Problem {
    let flags = SETTINGS.iter().map(|setting| format!("--{} {}", setting.flag, setting.takes.to_uppercase()));
    let flags = ["--config FILE".to_owned()].into_iter().chain(flags);
    Problem::new(code::UNKNOWN_OPTION, "these are the options of a node").allowed(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Result<Config> {
        read(line.split_whitespace().map(str::to_owned), |_| None)
    }

    #[test]
    fn flags_stand_over_variables_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, "name = \"file\"\nstore = \"file\"\nteams = [\"research\"]\n[limits]\nqueue = 7\n")
            .unwrap();
        let variables = |name: &str| match name {
            CONFIG_VARIABLE => Some(path.display().to_string()),
            "CALLBOARD_NAME" => Some("variable".into()),
            "CALLBOARD_STORE" => Some("variable".into()),
            _ => None,
        };
        let line = ["--name=flag", "--serve", "diag.echo=4", "--serve", "research.web"].map(str::to_owned);
        let config = read(line, variables).unwrap();
        assert_eq!(config.name.as_deref(), Some("flag"));
        assert_eq!(config.store.as_deref(), Some(Path::new("variable")));
        assert_eq!((config.teams.len(), config.limits.queue), (1, Some(7)));
        let serve: Vec<_> = config.serve.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(serve, [("diag.echo", 4), ("research.web", 0)]);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let Err(Error::Config(problems)) = given("--nmae a --broker http://x --serve Echo=4 --drain soon") else {
            panic!("accepted")
        };
        let told: Vec<String> = problems.iter().map(|problem| problem.what.clone()).collect();
        assert!(told[0].contains("--nmae"), "{told:?}");
        let Err(Error::Config(problems)) = given("--broker http://x --serve Echo=4 --drain soon") else {
            panic!("accepted")
        };
        assert_eq!(problems.iter().count(), 3, "{problems}");
        assert!(given("--name").is_err());
        assert!(given("--help").unwrap_err().to_string().contains("--broker"));
    }
}
