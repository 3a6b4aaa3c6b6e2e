//! The command line of a node that is a program of its own: the flags of `callboard node start`, read without a library,
//! so that a program of ten lines needs none.

use std::iter::Peekable;
use std::path::Path;

use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::problem::{Problem, Problems};

use super::node::{Config, SETTINGS, Setting, check_variables};

/// Where the file may be named instead of by `--config`.
pub(crate) const CONFIG_VARIABLE: &str = "CALLBOARD_CONFIG";

/// Reads flags over variables over the file that one of them names. No variable of this process may be misspelt.
///
/// # Errors
/// `Config` with everything that is wrong with flags and variables, or with the file; for `--help` with the flags.
pub(crate) fn read(
    args: impl IntoIterator<Item = String>,
    variables: impl Fn(&str) -> Option<String>,
) -> Result<Config> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    among(names, args, variables).map_err(|wrong| Error::Config(Box::new(wrong)))
}

fn among(
    names: impl IntoIterator<Item = String>,
    args: impl IntoIterator<Item = String>,
    variables: impl Fn(&str) -> Option<String>,
) -> std::result::Result<Config, Problems> {
    let (given, file) = flags(args)?;
    check_variables(names)?;
    let file = file.or_else(|| variables(CONFIG_VARIABLE).filter(|path| !path.is_empty()));
    let config = file.map_or_else(|| Ok(Config::default()), |path| Config::read(Path::new(&path)));
    take(config?.over(variables)?, given)
}

type Given = Vec<(&'static Setting, String)>;

/// What was given, and the file that was named. A flag that is given twice adds to its list.
fn flags(args: impl IntoIterator<Item = String>) -> std::result::Result<(Given, Option<String>), Problems> {
    let (mut given, mut file, mut problems) = (Given::new(), None, Problems::new());
    let mut args = args.into_iter().peekable();
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
        let value = match setting {
            _ if inline.is_some() => inline,
            Some(setting) if setting.is_list() => values(&mut args),
            _ => args.next(),
        };
        let Some(value) = value else {
            problems.push(Problem::new(code::MISSING_ARGUMENT, format!("--{name} needs a value")));
            continue;
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

/// What stands before the next flag, as a list.
fn values(args: &mut Peekable<impl Iterator<Item = String>>) -> Option<String> {
    let values: Vec<String> = std::iter::from_fn(|| args.next_if(|arg| !arg.starts_with('-'))).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn take(mut config: Config, given: Given) -> std::result::Result<Config, Problems> {
    let typed = |flag: &str| given.iter().any(|(setting, _)| setting.flag == flag);
    let mut problems = Problems::new();
    problems.extend(config.clear_place(typed("store"), typed("broker")).err());
    for (setting, value) in given {
        if let Err(problem) = setting.set(&mut config, &value) {
            problems.push(Problem { what: format!("--{}: {}", setting.flag, problem.what), ..problem });
        }
    }
    problems.or(config)
}

impl Config {
    /// Before `--store` or `--broker` says where the node works: forgets where the file and the environment say that it
    /// does. A store that is typed takes the place of a broker, and a broker that of a store.
    ///
    /// # Errors
    /// When both are typed.
    pub fn clear_place(&mut self, store: bool, broker: bool) -> std::result::Result<(), Problem> {
        if store && broker {
            let what = "--store and --broker exclude each other: work is in a store or on a broker";
            return Err(Problem::new(code::NOT_ALLOWED, what).fix("leave out --store, or --broker"));
        }
        if store || broker {
            self.store = None;
            self.broker.servers.clear();
        }
        Ok(())
    }
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

    /// The same over a file, with these variables.
    fn over(file: &str, variables: &[(&str, &str)], line: &str) -> std::result::Result<Config, Problems> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, file).unwrap();
        let line = line.split_whitespace().map(str::to_owned).chain([format!("--config={}", path.display())]);
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        among(variables.iter().map(|(name, _)| (*name).to_owned()), line, variable)
    }

    /// `callboard node start` takes them so, and a program said "there is no option diag.echo".
    #[test]
    fn a_list_goes_on_to_the_next_flag() {
        let config = given("--public executive diag.echo --name a --serve diag.echo=4 research.web").unwrap();
        let public: Vec<_> = config.public.iter().map(|name| name.as_str()).collect();
        assert_eq!((public, config.name.as_deref()), (vec!["executive", "diag.echo"], Some("a")));
        let serve: Vec<_> = config.serve.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(serve, [("diag.echo", 4), ("research.web", 0)]);
        for (line, what) in [
            ("--serve --name a", "--serve needs a value"),
            ("--name a b", "there is no option b"),
            ("--serve=diag.echo executive", "there is no option executive"),
        ] {
            let Err(Error::Config(problems)) = given(line) else { panic!("accepted {line}") };
            let told: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
            assert_eq!(told, [what], "{line}");
        }
    }

    /// For once `--store memory` made a file of that name.
    #[test]
    fn where_a_node_works_is_what_was_typed_last_of_store_and_broker() {
        let (store, broker) = ("store = \"file.db\"\n", "[broker]\naddress = \"nats://file:4222\"\n");
        let exported = [("CALLBOARD_STORE", "exported.db")];
        let place = |file, variables, line| {
            let config = over(file, variables, line).unwrap();
            (config.store.map(|path| path.display().to_string()), config.broker.servers)
        };
        let here = |path: &str| (Some(path.to_owned()), Vec::new());
        assert_eq!(place(store, &[], "--store memory"), (None, Vec::new()));
        assert_eq!(place(store, &exported, "--store memory"), (None, Vec::new()));
        assert_eq!(place(broker, &[], "--store typed.db"), here("typed.db"));
        assert_eq!(place("", &[("CALLBOARD_BROKER", "nats://b")], "--store typed.db"), here("typed.db"));
        assert_eq!(place(store, &exported, "--broker nats://b"), (None, vec!["nats://b".to_owned()]));
        let both = over("", &[], "--store typed.db --broker nats://b").unwrap_err();
        assert!(both.to_string().contains("--store and --broker exclude each other"), "{both}");
    }

    #[test]
    fn a_misspelt_variable_is_no_setting_of_a_program_either() {
        let wrong = over("", &[("CALLBOARD_STROE", "x.db"), ("PATH", "/bin")], "").unwrap_err();
        assert_eq!(wrong.iter().count(), 1, "{wrong}");
        assert!(wrong.to_string().contains("name it CALLBOARD_STORE"), "{wrong}");
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
