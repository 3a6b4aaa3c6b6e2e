//! What a node is configured with: `node.toml`, the environment, and the command line, each over the one before.
//!
//! All three speak of the same settings, listed once in [`SETTINGS`]: a key of the file, a variable and a flag that mean
//! the same, and one reading of their text. A setting that nobody knows is refused, wherever it stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use callboard_agents::llm::ModelConfig;
use callboard_agents::source;
use callboard_agents::tool::{AgentConfig, ToolConfig};
use callboard_broker::code;
use callboard_broker::id::NodeName;
use callboard_broker::problem::{Problem, Problems};
use callboard_broker::profile::Profile;
use callboard_broker::subject::CapabilityName;

use super::budget::BudgetDoc;
use super::{Source, Table};
use crate::mcp_servers::McpConfig;
use crate::period::Period;

mod agents;
mod cache;
mod fields;
mod limits;
mod mcp;
mod models;
mod served;
#[cfg(test)]
mod tests;
mod tools;
mod variables;

pub use variables::{check_variables, variables};

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 20;
/// The most workers of a capability on one node.
pub(crate) const MAX_WORKERS: u64 = 10_000;
/// The most prompts that a node can be told to work on together.
const MAX_PROMPTS: u64 = 10_000;
/// The longest name of an owner.
const MAX_OWNER: usize = 63;
/// Teams that a node can be told to run.
pub const TEAMS: [&str; 1] = ["research"];

/// What a node is configured with. What is not set has the default that its field names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The node's name. Default: the host's.
    pub name: Option<String>,
    /// The broker. Without an address the node is embedded.
    pub broker: Address,
    /// The SQLite file of an embedded node. Default: memory.
    pub store: Option<PathBuf>,
    /// Capabilities to serve, each with its workers; 0: as many as the agent itself declares.
    pub serve: BTreeMap<CapabilityName, usize>,
    /// Teams to run whole: `research`.
    pub teams: Vec<String>,
    /// Capabilities that clients of the Synadia Agent Protocol may prompt. Needs a broker.
    pub public: Vec<CapabilityName>,
    /// Under whose name they are offered there. Default `local`.
    pub owner: Option<String>,
    /// Bounds.
    pub limits: Limits,
    /// Language models. Default: none.
    pub models: ModelConfig,
    /// Tools, by name or family.
    pub tools: BTreeMap<String, ToolConfig>,
    /// Agents that are a prompt, a model and tools, by the capability that they serve.
    pub agents: BTreeMap<CapabilityName, AgentConfig>,
    /// MCP servers, by name.
    pub mcp: BTreeMap<String, McpConfig>,
    /// What a run that is submitted through this node may use, unless it says so itself.
    pub budget: BudgetDoc,
    /// Asks for one capability that the agents of this node have under way at a time, where it is not
    /// `limits.bulkhead`.
    pub bulkhead: BTreeMap<CapabilityName, usize>,
}

/// Where the broker is, and who this node is to it.
#[derive(Clone, Default, PartialEq)]
pub struct Address {
    /// Addresses of servers of one cluster, `nats://host:port` or `tls://host:port`.
    pub servers: Vec<String>,
    /// A credentials file: a JWT and its seed.
    pub creds: Option<PathBuf>,
    /// A file with the seed of an NKEY.
    pub nkey: Option<PathBuf>,
    /// A token.
    pub token: Option<String>,
    /// A user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Whether a connection without TLS is refused. Default: only for `tls://` addresses.
    pub tls: bool,
    /// Certificates of authorities that are trusted beside the system's, as a PEM file.
    pub ca: Option<PathBuf>,
    /// This node's own certificate, as a PEM file.
    pub cert: Option<PathBuf>,
    /// The key of that certificate, as a PEM file.
    pub key: Option<PathBuf>,
    /// Whether missing streams are made at the start, as far as this node may. Default: true.
    pub provision: Option<bool>,
    /// The least that must be proved of how durable the broker is; otherwise the node does not start. Default:
    /// `crash-safe`, for which nothing is to be proved.
    pub profile: Option<Profile>,
}

/// Bounds of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// How long a drain may take before the rest is handed back. Default: each agent's own shutdown time.
    pub drain: Option<Period>,
    /// Messages that wait and run together for each agent. Default 1,024.
    pub queue: Option<usize>,
    /// Restarts of the node's parts within a minute before it gives up. Default 3.
    pub restarts: Option<u32>,
    /// Files that a team reads for one run. Default 10,000.
    pub files: Option<usize>,
    /// Bytes of one file that a team reads. Default 16 MiB.
    pub file_bytes: Option<u64>,
    /// Prompts from outside that are worked on together. Default 64.
    pub prompts: Option<usize>,
    /// How long one of them may take. Default 9 min.
    pub prompt_time: Option<Period>,
    /// Asks for each capability that the node's agents have under way at a time. Default 10.
    pub bulkhead: Option<usize>,
}

impl Limits {
    /// Within which a team reads documents, and a client sends them.
    pub fn of_sources(&self) -> source::Limits {
        let usual = source::Limits::default();
        source::Limits {
            files: self.files.unwrap_or(usual.files),
            file_bytes: self.file_bytes.unwrap_or(usual.file_bytes),
            ..usual
        }
    }
}

/// Passwords and tokens are not for logs.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("servers", &self.servers).field("creds", &self.creds).finish_non_exhaustive()
    }
}

/// One setting under its three names.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key in the file, with its table.
    pub key: &'static str,
    /// Its variable in the environment.
    pub variable: &'static str,
    /// Its flag, without dashes.
    pub flag: &'static str,
    /// What it takes.
    pub takes: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

macro_rules! settings {
    ($($key:literal $variable:literal $flag:literal $takes:literal $set:expr;)*) => {
        &[$(Setting { key: $key, variable: $variable, flag: $flag, takes: $takes, set: $set }),*]
    };
}

/// Every setting, in the order of the reference.
pub const SETTINGS: &[Setting] = settings! {
    "name" "CALLBOARD_NAME" "name" "a name" |c, t| put(&mut c.name, node_name(t));
    "broker.address" "CALLBOARD_BROKER" "broker" "addresses" |c, t| list(&mut c.broker.servers, t, address);
    "broker.creds" "CALLBOARD_CREDS" "creds" "a file" |c, t| put(&mut c.broker.creds, file(t));
    "broker.nkey" "CALLBOARD_NKEY" "nkey" "a file" |c, t| put(&mut c.broker.nkey, file(t));
    "broker.token" "CALLBOARD_TOKEN" "token" "a token" |c, t| put(&mut c.broker.token, text(t));
    "broker.user" "CALLBOARD_USER" "user" "a user" |c, t| put(&mut c.broker.user, text(t));
    "broker.password" "CALLBOARD_PASSWORD" "password" "a password" |c, t| put(&mut c.broker.password, text(t));
    "broker.tls" "CALLBOARD_TLS" "tls" "true or false" |c, t| flag(t).map(|on| c.broker.tls = on);
    "broker.ca" "CALLBOARD_CA" "ca" "a file" |c, t| put(&mut c.broker.ca, file(t));
    "broker.cert" "CALLBOARD_CERT" "cert" "a file" |c, t| put(&mut c.broker.cert, file(t));
    "broker.key" "CALLBOARD_KEY" "key" "a file" |c, t| put(&mut c.broker.key, file(t));
    "broker.provision" "CALLBOARD_PROVISION" "provision" "true or false" |c, t| put(&mut c.broker.provision, flag(t));
    "broker.profile" "CALLBOARD_PROFILE" "profile" "crash-safe, durable or replicated" |c, t| put(&mut c.broker.profile, profile(t));
    "store" "CALLBOARD_STORE" "store" "a file" |c, t| put(&mut c.store, file(t));
    "serve" "CALLBOARD_SERVE" "serve" "capabilities with their workers" |c, t| serve(c, t);
    "teams" "CALLBOARD_TEAMS" "team" "teams" |c, t| list(&mut c.teams, t, team);
    "public" "CALLBOARD_PUBLIC" "public" "capabilities" |c, t| list(&mut c.public, t, capability);
    "owner" "CALLBOARD_OWNER" "owner" "a name" |c, t| put(&mut c.owner, owner(t));
    "limits.drain" "CALLBOARD_DRAIN" "drain" "a duration" |c, t| put(&mut c.limits.drain, period(t));
    "limits.queue" "CALLBOARD_QUEUE" "queue" "a number" |c, t| put(&mut c.limits.queue, number(t, 1, 1_000_000));
    "limits.restarts" "CALLBOARD_RESTARTS" "restarts" "a number" |c, t| put(&mut c.limits.restarts, number(t, 0, 1_000));
    "limits.files" "CALLBOARD_FILES" "files" "a number" |c, t| put(&mut c.limits.files, number(t, 1, 1_000_000));
    "limits.file_bytes" "CALLBOARD_FILE_BYTES" "file-bytes" "a number" |c, t| put(&mut c.limits.file_bytes, number(t, 1, 1 << 40));
    "limits.prompts" "CALLBOARD_PROMPTS" "prompts" "a number" |c, t| put(&mut c.limits.prompts, number(t, 1, MAX_PROMPTS));
    "models.default" "CALLBOARD_MODEL" "model" "models, or extractive" |c, t| models::default(&mut c.models, t);
    "models.url" "CALLBOARD_MODEL_URL" "model-url" "an address" |c, t| put(&mut c.models.url, models::url(t));
    "models.key_file" "CALLBOARD_MODEL_KEY_FILE" "model-key-file" "a file" |c, t| put(&mut c.models.key_file, file(t));
    "limits.prompt_time" "CALLBOARD_PROMPT_TIME" "prompt-time" "a duration" |c, t| put(&mut c.limits.prompt_time, period(t));
    "limits.bulkhead" "CALLBOARD_AT_ONCE" "at-once" "a number" |c, t| put(&mut c.limits.bulkhead, number(t, 1, MAX_WORKERS));
    "bulkhead" "CALLBOARD_BULKHEAD" "bulkhead" "capabilities with their asks" |c, t| bulkhead(c, t);
    "budget" "CALLBOARD_BUDGET" "budget" "limits such as tasks=100,wall=10m" |c, t| t.parse().map(|budget| c.budget = budget);
};

impl Setting {
    /// The setting of this flag.
    pub fn of_flag(flag: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.flag == flag)
    }

    /// Whether its flag takes several values, up to the next flag.
    pub fn is_list(&self) -> bool {
        matches!(self.key, "serve" | "teams" | "public")
    }

    /// Sets it from text, as variables and flags have it. A list in a variable or flag stands in the place of the
    /// file's, and `memory` is how both say that there is no store.
    ///
    /// # Errors
    /// What it takes instead.
    pub fn set(&self, config: &mut Config, text: &str) -> Result<(), Problem> {
        if self.key == "store" && text == "memory" {
            config.store = None;
            return Ok(());
        }
        self.take_text(config, text)
    }

    /// The same as a file has it, which says that there is no store by not naming one: `memory` would be a path there.
    fn set_of_file(&self, config: &mut Config, text: &str) -> Result<(), Problem> {
        if self.key == "store" && text == "memory" {
            let problem = Problem::new(code::BAD_VALUE, "a file has the path of a store; `memory` is an option");
            return Err(problem.fix("--store memory, or \"./memory\" for that path"));
        }
        self.take_text(config, text)
    }

    fn take_text(&self, config: &mut Config, text: &str) -> Result<(), Problem> {
        (self.set)(config, text).map_err(|why| Problem::new(code::BAD_VALUE, why))
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let shown = path.display().to_string();
        let failed = |why: String| Problem::new(code::FILE, format!("{shown} cannot be read: {why}"));
        let about = std::fs::metadata(path).map_err(|e| failed(e.kind().to_string()))?;
        if !about.is_file() || about.len() > MAX_FILE {
            return Err(failed("it is no file of at most 1 MiB".into()).into());
        }
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.kind().to_string()))?;
        Self::from_toml(&shown, &text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Problems> {
        let source = Source::parse(file, text)?;
        let mut config = Config::default();
        let mut root = source.root();
        config.top(&source, &mut root);
        if let Some(mut table) = root.table("broker") {
            config.broker(&source, &mut table);
            table.close();
        }
        if let Some(mut table) = root.table("limits") {
            config.limits(&mut table);
            table.close();
        }
        if let Some(mut table) = root.table("models") {
            config.models(&source, &mut table);
            table.close();
        }
        config.tools(&source, &mut root);
        config.mcp(&source, &mut root);
        config.agents(&source, &mut root);
        if let Some(table) = root.table("budget") {
            config.budget = BudgetDoc::of_table(table);
        }
        root.close();
        if config.store.is_some() && !config.broker.servers.is_empty() {
            let both = Problem::new(code::NOT_ALLOWED, "a node is embedded or on a broker, not both");
            source.report(both.at(source.place(&["store"])).fix("remove `store`, or `broker.address`"));
        }
        source.finish(config)
    }

    /// Whether a text is meant as the file of a node, however wrong it is: so that one command checks files of any kind.
    pub fn is_meant(text: &str) -> bool {
        const OWN: [&str; 12] = [
            "broker", "serve", "teams", "public", "limits", "models", "store", "tools", "agents", "mcp", "bulkhead",
            "owner",
        ];
        // Workflows have them too, but none is without a task.
        const SHARED: [&str; 2] = ["name", "budget"];
        let (root, _) = toml::de::DeTable::parse_recoverable(text);
        let root = root.get_ref();
        let has = |key: &str| root.contains_key(key);
        let is_shared = |key: &str| SHARED.contains(&key);
        !has("task") && (OWN.into_iter().any(has) || !root.is_empty() && root.keys().all(|key| is_shared(key.as_ref())))
    }

    fn top(&mut self, source: &Source<'_>, root: &mut Table<'_>) {
        for key in ["name", "store", "owner"] {
            if let Some(value) = root.text(key) {
                self.take(source, &[key], key, &value);
            }
        }
        for key in ["teams", "public"] {
            for (at, value) in root.texts(key).iter().enumerate() {
                let mut one = Config::default();
                if one.take(source, &[key, &at.to_string()], key, value) {
                    self.teams.append(&mut one.teams);
                    self.public.append(&mut one.public);
                }
            }
        }
        for (key, of) in [("serve", "workers"), ("bulkhead", "asks")] {
            for (name, number) in root.object(key) {
                self.numbered(source, key, of, &name, &number);
            }
        }
    }

    /// A number for a capability.
    fn numbered(&mut self, source: &Source<'_>, key: &'static str, of: &str, name: &str, number: &serde_json::Value) {
        let place = [key, name];
        match number.as_u64().filter(|n| (1..=MAX_WORKERS).contains(n)) {
            Some(number) => drop(self.take(source, &place, key, &format!("{name}={number}"))),
            None => {
                let what = format!("`{name}` takes a whole number of {of} from 1 to {MAX_WORKERS}");
                let problem = Problem::new(code::RANGE, what).at(source.place(&place));
                source.report(problem.fix(format!("{key} = {{ \"{name}\" = 4 }}")));
            }
        }
    }

    fn broker(&mut self, source: &Source<'_>, table: &mut Table<'_>) {
        let texts = ["address", "creds", "nkey", "token", "user", "password", "ca", "cert", "key", "profile"];
        for key in texts {
            if let Some(value) = table.text(key) {
                self.take(source, &["broker", key], &format!("broker.{key}"), &value);
            }
        }
        self.broker.tls = table.flag("tls").unwrap_or_default();
        self.broker.provision = table.flag("provision");
    }

    fn limits(&mut self, table: &mut Table<'_>) {
        self.limits = Limits {
            drain: table.period("drain"),
            queue: table.number("queue", 1..=1_000_000).and_then(|n| usize::try_from(n).ok()),
            restarts: table.number("restarts", 0..=1_000).and_then(|n| u32::try_from(n).ok()),
            files: table.number("files", 1..=1_000_000).and_then(|n| usize::try_from(n).ok()),
            file_bytes: table.number("file_bytes", 1..=1 << 40),
            prompts: table.number("prompts", 1..=MAX_PROMPTS).and_then(|n| usize::try_from(n).ok()),
            prompt_time: table.period("prompt_time"),
            bulkhead: table.number("bulkhead", 1..=MAX_WORKERS).and_then(|n| usize::try_from(n).ok()),
        };
    }

    /// Sets one value of a file; whether it could be.
    fn take(&mut self, source: &Source<'_>, place: &[&str], key: &str, value: &str) -> bool {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        let Some(Err(problem)) = setting.map(|setting| setting.set_of_file(self, value)) else { return true };
        let problem = Problem { code: code::NOT_ALLOWED, ..problem };
        source.report(Problem { what: format!("`{key}`: {}", problem.what), ..problem }.at(source.place(place)));
        false
    }

    /// Takes what the environment has to say over what is set.
    ///
    /// # Errors
    /// Every variable whose value cannot be used.
    pub fn over(self, variables: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let (mut config, mut problems) = (self, Problems::new());
        for setting in SETTINGS {
            let Some(value) = variables(setting.variable).filter(|value| !value.is_empty()) else { continue };
            if let Err(problem) = setting.set(&mut config, &value) {
                let what = format!("{}: {}", setting.variable, problem.what);
                problems.push(Problem { what, ..problem });
            }
        }
        problems.or(config)
    }

    /// What the process's environment has to say, over what is set.
    ///
    /// # Errors
    /// As for [`over`](Self::over).
    pub fn over_environment(self) -> Result<Self, Problems> {
        self.over(|name| std::env::var(name).ok())
    }
}

fn put<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *place = Some(value?);
    Ok(())
}

/// A list stands in the place of the one before.
fn list<T>(place: &mut Vec<T>, text: &str, one: fn(&str) -> Result<T, String>) -> Result<(), String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    *place = parts.map(one).collect::<Result<_, _>>()?;
    Ok(())
}

/// Capabilities are added to those that are served; one that is there gets another number of workers.
fn serve(config: &mut Config, text: &str) -> Result<(), String> {
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, workers) = match part.split_once('=') {
            Some((name, workers)) => (name, number::<usize>(workers, 1, MAX_WORKERS)?),
            None => (part, 0),
        };
        config.serve.insert(capability(name)?, workers);
    }
    Ok(())
}

/// Each capability with its number.
fn bulkhead(config: &mut Config, text: &str) -> Result<(), String> {
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, asks) = part.split_once('=').ok_or_else(|| format!("\"{part}\" is not such as research.web=4"))?;
        config.bulkhead.insert(capability(name)?, number(asks, 1, MAX_WORKERS)?);
    }
    Ok(())
}

fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".into()),
        text => Ok(text.to_owned()),
    }
}

fn file(path: &str) -> Result<PathBuf, String> {
    text(path).map(PathBuf::from)
}

fn node_name(text: &str) -> Result<String, String> {
    NodeName::parse(text).map(|name| name.to_string()).map_err(|bad| bad.to_string())
}

fn capability(text: &str) -> Result<CapabilityName, String> {
    CapabilityName::parse(text.trim()).map_err(|bad| bad.to_string())
}

fn profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| format!("{text} is no profile: crash-safe, durable or replicated"))
}

/// One token of an address, as the protocol has it.
fn owner(text: &str) -> Result<String, String> {
    let is_of = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ['-', '_'].contains(&c);
    match !text.is_empty() && text.len() <= MAX_OWNER && text.chars().all(is_of) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("\"{text}\" is no owner: it takes 1 to {MAX_OWNER} lowercase letters, digits, `-` and `_`"))
        }
    }
}

fn team(text: &str) -> Result<String, String> {
    match TEAMS.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("there is no team \"{text}\": it can be {}", TEAMS.join(", "))),
    }
}

fn address(text: &str) -> Result<String, String> {
    let known =
        ["nats://", "tls://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    match known {
        true => Ok(text.to_owned()),
        false => Err(format!("\"{text}\" is no address of a broker: it is nats://HOST:PORT or tls://HOST:PORT")),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("it takes true or false, not \"{text}\""))
}

fn period(text: &str) -> Result<Period, String> {
    text.parse().map_err(|why| format!("\"{text}\" is no duration such as 30s: {why}"))
}

fn number<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let read = text.trim().parse().ok().filter(|n| (least..=most).contains(n)).and_then(|n: u64| T::try_from(n).ok());
    read.ok_or_else(|| format!("\"{text}\" is no whole number from {least} to {most}"))
}
