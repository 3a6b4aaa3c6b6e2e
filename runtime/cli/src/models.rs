//! What the work of this process is configured with: what is typed, over the environment, over a file.

use std::env;
use std::path::PathBuf;

use callboard::broker::budget::Budget;
use callboard::broker::code;
use callboard::broker::problem::{Problem, Problems};
use callboard::config::{Config, Setting};
use callboard::llm::ModelConfig;
use clap::Args;

use crate::console::{Console, Place, quoted};
use crate::failure::Failure;
use crate::store::Store;

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Models {
    /// Write with this model; several with commas stand in for one another. Default: CALLBOARD_MODEL, or `extractive`,
    /// which quotes
    #[arg(long, value_name = "PROVIDER/NAME")]
    model: Option<String>,
    /// The address of its server, with the version: http://127.0.0.1:8080/v1. Default: CALLBOARD_MODEL_URL, or the
    /// provider's
    #[arg(long, value_name = "URL")]
    model_url: Option<String>,
    /// A file that holds its key. Default: CALLBOARD_MODEL_KEY_FILE, or the provider's variable, such as OPENAI_API_KEY
    #[arg(long, value_name = "FILE")]
    model_key_file: Option<String>,
}

impl Models {
    /// What was typed, flag by flag.
    pub(crate) fn typed(&self) -> Vec<(&'static str, String)> {
        let flags = [("model", &self.model), ("model-url", &self.model_url), ("model-key-file", &self.model_key_file)];
        flags.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))).collect()
    }

    /// A configuration with what was typed over its models.
    ///
    /// # Errors
    /// What cannot be used.
    pub(crate) fn over_config(&self, mut config: Config) -> Result<Config, Problems> {
        let mut problems = Problems::new();
        for (flag, value) in self.typed() {
            problems.extend(set(&mut config, flag, &value));
        }
        problems.or(config)
    }
}

/// What the work of this process is configured with.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Here {
    /// A node.toml with the models, prices, tools, agents and bounds of what is worked on here; variables and options
    /// stand over it
    #[arg(long, env = CONFIG, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    models: Models,
}

/// The variable that names a file of configuration.
const CONFIG: &str = "CALLBOARD_CONFIG";

impl Here {
    /// The console with what was typed over its configuration.
    ///
    /// # Errors
    /// What cannot be used; anything at all on a broker, whose nodes have a configuration of their own.
    pub(crate) fn over(&self, console: &Console) -> Result<Console, Failure> {
        let typed = self.models.typed();
        if let Place::Broker(_) = console.place {
            let start = "callboard node start --model PROVIDER/NAME";
            self.refuse("the nodes of a broker have their own", start)?;
            return Ok(console.clone());
        }
        let mut config = match &self.config {
            Some(path) => of_work(Config::read(path)?.over_environment()?),
            None => console.config.clone(),
        };
        let mut problems = Problems::new();
        for (flag, value) in &typed {
            problems.extend(set(&mut config, flag, value));
        }
        Ok(problems.or(Console { config, here: self.repeated(), ..console.clone() })?)
    }

    /// Refuses what was typed where another process owns the store and does the work.
    ///
    /// # Errors
    /// As for [`refuse`](Self::refuse).
    pub(crate) fn refuse_beside(&self, store: &Store, console: &Console) -> Result<(), Failure> {
        let Some(owner) = store.owner() else { return Ok(()) };
        let why = format!("process {owner} owns {} and works on it with its own", console.place);
        self.refuse(&why, "leave it out, wait until that process has ended, or use another store: --store PATH")
    }

    /// The options that were typed, each with a blank before it.
    fn repeated(&self) -> String {
        let config = self.typed_config().map(|path| ("config", path.display().to_string()));
        let option = |(flag, value): (&str, String)| format!(" --{flag} {}", quoted(value.as_ref()));
        config.into_iter().chain(self.models.typed()).map(option).collect()
    }

    /// The file, unless only the variable says it.
    fn typed_config(&self) -> Option<&PathBuf> {
        self.config.as_ref().filter(|path| env::var_os(CONFIG).is_none_or(|set| set != path.as_os_str()))
    }

    /// Refuses what was typed, where others work with what they have. A variable is for every command and refuses none.
    ///
    /// # Errors
    /// For each option that was typed.
    pub(crate) fn refuse(&self, why: &str, fix: &str) -> Result<(), Failure> {
        let config = self.typed_config().map(|_| "config");
        let mut problems = Problems::new();
        for flag in self.models.typed().into_iter().map(|(flag, _)| flag).chain(config) {
            let of = if flag == "config" { "configuration" } else { "models" };
            let what = format!("--{flag} is for a run of this process: {why} {of}");
            problems.push(Problem::new(code::NOT_ALLOWED, what).fix(fix));
        }
        Ok(problems.or(())?)
    }
}

/// Sets what a flag says; what is wrong with that.
fn set(config: &mut Config, flag: &str, value: &str) -> Option<Problem> {
    let problem = Setting::of_flag(flag)?.set(config, value).err()?;
    Some(Problem { what: format!("--{flag}: {}", problem.what), ..problem })
}

/// What of a node's configuration is about its work; where it works and whom it serves is said by options.
fn of_work(config: Config) -> Config {
    let Config { limits, models, tools, agents, mcp, budget, bulkhead, .. } = config;
    Config { limits, models, tools, agents, mcp, budget, bulkhead, ..Config::default() }
}

/// Refuses a cost that no model's calls would ever reach, because the model has no price: that of a run's own `budget`, or
/// the one that is configured here.
///
/// # Errors
/// For each model without one.
pub(crate) fn priced(budget: &Budget, console: &Console) -> Result<(), Failure> {
    let models = &console.config.models;
    let bounds = budget.cost_micros.is_some() || console.config.budget.cost.is_some();
    if !bounds || matches!(console.place, Place::Broker(_)) {
        return Ok(());
    }
    let mut problems = Problems::new();
    for name in models.names().into_iter().filter(|name| !models.prices.contains_key(name)) {
        let what = format!("the budget's cost does not bound {name}, which has no price");
        let problem = Problem::new(code::NOT_ALLOWED, what)
            .note("a price is what a million tokens cost; one of your own that costs nothing has { input = 0, output = 0 }")
            .fix(format!("--config node.toml, and in it: [models.prices] \"{name}\" = {{ input = IN, output = OUT }}"));
        problems.push(problem);
    }
    Ok(problems.or(())?)
}

/// What writes here, in a line.
pub(crate) fn engine(models: &ModelConfig, store: &Store) -> String {
    match store.owner() {
        _ if store.nodes().is_some() => "that of the nodes".to_owned(),
        Some(owner) => format!("that of process {owner}, which owns the store"),
        _ if !models.has_any() => "extractive: it quotes your documents and writes nothing of its own".to_owned(),
        _ => {
            let names: Vec<String> = models.names().into_iter().map(ToString::to_string).collect();
            format!("{}: each sentence is checked, and dropped when no source covers it", names.join(", "))
        }
    }
}
