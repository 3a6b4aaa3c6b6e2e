//! Making the broker's streams, and proof that the server has them as asked.
//!
//! An old server drops what it does not know without a word, so every configuration is read back and compared; what
//! comes back differently is named, and nothing goes on with a queue that only looks like ours.

mod fit;
mod layout;
mod monitor;
mod proof;

use serde::Serialize;
use serde_json::{Value, json};

pub use layout::{Asked, Layout};
pub(crate) use layout::{PRESENCE_TTL, in_memory};
pub use monitor::MONITOR;
pub(crate) use proof::demand;
pub use proof::{Durability, PROOF, Proof, durability, prove};

use super::js::ApiError;
use super::link::Link;
use super::names;
use crate::error::{Error, Result};
use crate::subject::CapabilityName;
use crate::task::Priority;

/// The oldest server that can do what is asked of it.
pub const OLDEST: (u64, u64) = (2, 12);

/// Looks at the log of facts until its sources feed it: some 0.2 ms each.
const DERIVING_LOOKS: usize = 5_000;

/// What became of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// It is new.
    Created,
    /// It was there and was changed.
    Updated,
    /// It was there as it should be.
    Unchanged,
    /// It was made or changed, with fewer bytes than asked: the server has no room for more.
    Smaller,
}

/// What was made.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The server's version.
    pub server: String,
    /// Each stream and what became of it.
    pub streams: Vec<(String, Made)>,
}

/// Makes all streams, or changes those that are there, and reads each back.
///
/// # Errors
/// `Unavailable` for a server that is too old, without JetStream or that keeps a stream differently from what was
/// asked, naming what; `Denied` when this process may not.
pub async fn provision(link: &Link, layout: &Layout) -> Result<Report> {
    let server = check_version(link)?;
    let mut streams = Vec::new();
    for config in layout.streams() {
        let name = name_of(&config);
        let made = ensure(link, &name, &config).await?;
        streams.push((name, made));
    }
    join(link).await?;
    until_derived(link).await?;
    Ok(Report { server, streams })
}

/// As [`provision`], but streams that are there keep their bounds, which are their operator's choice, except for those
/// that were asked for by name. Fewer bytes than the layout has are raised to that: a stream may have been made
/// [smaller](Made::Smaller) for want of room.
///
/// # Errors
/// As [`provision`].
pub async fn refresh(link: &Link, layout: &Layout, asked: Asked) -> Result<Report> {
    let server = check_version(link)?;
    let mut streams = Vec::new();
    for config in layout.streams() {
        let name = name_of(&config);
        let config = match info(link, &name).await? {
            Some(found) => layout::keeping(config, &found, asked),
            None => config,
        };
        streams.push((name.clone(), ensure(link, &name, &config).await?));
    }
    join(link).await?;
    until_derived(link).await?;
    Ok(Report { server, streams })
}

/// Waits until the log of facts is fed by its sources: in its first moments they would come in another
/// order than later. A slow server does not make it a failure; the facts come all the same.
async fn until_derived(link: &Link) -> Result<()> {
    for _ in 0..DERIVING_LOOKS {
        let info = link.info(names::EVENTS).await?.map_err(|e| e.into_error(names::EVENTS))?;
        // -1: the source was never heard of.
        let sources = info["sources"].as_array().map_or(&[][..], |sources| sources);
        if sources.iter().all(|source| source["active"].as_i64().is_some_and(|active| active >= 0)) {
            return Ok(());
        }
    }
    Ok(())
}

/// Makes the streams that are not there. Those that are stay as they are: their operator may have given them other
/// bounds, and a node that starts must not take them back.
///
/// # Errors
/// As [`provision`]; `Unavailable` when a stream that is there differs in what is no bound, and also when this process may
/// make none: until somebody else has made them, the broker is not ready for it.
pub(crate) async fn complete(link: &Link, layout: &Layout) -> Result<()> {
    let missing = missing(link, layout).await?;
    if missing.is_empty() {
        return Ok(());
    }
    for config in &missing {
        create(link, &name_of(config), config).await.map_err(|error| match error {
            Error::Denied { .. } => absent(link, &missing, "callboard provision makes them, by a user who may"),
            other => other,
        })?;
    }
    join(link).await?;
    until_derived(link).await
}

/// Makes the consumer that wakes parked tasks, or finds it.
pub(crate) async fn join(link: &Link) -> Result<()> {
    let config = layout::join();
    let verb = format!("CONSUMER.CREATE.{}.{}", names::RUNS, names::JOIN);
    let said = link.api(&verb, json!({ "stream_name": names::RUNS, "config": config, "action": "" })).await?;
    let said = said.map_err(|e| e.into_error(names::JOIN))?;
    same(names::JOIN, &config, &said["config"])
}

/// The streams that are not there, as they are to be made.
pub(crate) async fn missing(link: &Link, layout: &Layout) -> Result<Vec<Value>> {
    check_version(link)?;
    let mut missing = Vec::new();
    for config in layout.streams() {
        let name = name_of(&config);
        match info(link, &name).await? {
            None => missing.push(config),
            Some(found) => same(&name, &layout::without_bounds(config), &found).map_err(|differs| match differs {
                Error::Unavailable { what } => Error::unavailable(format!("{what}; callboard provision puts it right")),
                other => other,
            })?,
        }
    }
    Ok(missing)
}

/// That these streams are not there, and the command that helps.
pub(crate) fn absent(link: &Link, missing: &[Value], helps: &str) -> Error {
    let first = missing.first().map(name_of).unwrap_or_default();
    let what = format!("{}: {} streams are missing, {first} first: {helps}", link.address, missing.len());
    Error::unavailable(what)
}

fn name_of(config: &Value) -> String {
    config["name"].as_str().unwrap_or_default().to_owned()
}

/// Makes the streams again that a restart of the server took away.
pub(crate) async fn renew_memory(link: &Link, layout: &Layout) -> Result<()> {
    for config in layout.streams() {
        let name = name_of(&config);
        if in_memory(&name) && info(link, &name).await?.is_none() {
            create(link, &name, &config).await?;
        }
    }
    Ok(())
}

/// Makes the three consumers of a capability, or finds them.
pub(crate) async fn consumers(link: &Link, capability: &CapabilityName) -> Result<()> {
    for urgency in names::PRIORITIES {
        consumer(link, capability, urgency).await?;
    }
    Ok(())
}

/// Makes the consumer of one priority of a capability, or finds it: what the server says of it.
pub(crate) async fn consumer(link: &Link, capability: &CapabilityName, urgency: Priority) -> Result<Value> {
    let config = layout::consumer(capability, urgency);
    let (name, filter) = (names::consumer(capability, urgency), names::consumer_filter(capability, urgency));
    let verb = format!("CONSUMER.CREATE.{}.{name}.{filter}", names::TASKS);
    let said = link.api(&verb, json!({ "stream_name": names::TASKS, "config": config, "action": "" })).await?;
    let said = said.map_err(|e| e.into_error(&name))?;
    same(&name, &config, &said["config"])?;
    Ok(said)
}

fn check_version(link: &Link) -> Result<String> {
    let version = link.client.server_info().version;
    let mut numbers = version.split(['.', '-']).map(|n| n.parse::<u64>().unwrap_or_default());
    let found = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if found >= OLDEST {
        return Ok(version);
    }
    let (major, minor) = OLDEST;
    Err(Error::unavailable(format!(
        "{}: nats-server {version} is too old: {major}.{minor} is the oldest that keeps tasks as they must be",
        link.address
    )))
}

async fn info(link: &Link, name: &str) -> Result<Option<Value>> {
    match link.info(name).await? {
        Ok(mut info) => Ok(Some(info["config"].take())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into_error(name)),
    }
}

async fn ensure(link: &Link, name: &str, config: &Value) -> Result<Made> {
    match info(link, name).await? {
        Some(found) if same(name, config, &found).is_ok() => Ok(Made::Unchanged),
        Some(mut found) => {
            let mut config = config.clone();
            let has = found["max_bytes"].as_u64().unwrap_or_default();
            // A proof that stands there goes on: what it is worth is seen anew whenever it is read.
            if found["metadata"].is_object() {
                config["metadata"] = found["metadata"].take();
            }
            let fitted = fit::ask(link, &format!("STREAM.UPDATE.{name}"), &config, has).await?;
            let mut fitted = fitted.map_err(|e| fit::refusal(e, name))?;
            fitted.asked.as_object_mut().and_then(|asked| asked.remove("metadata"));
            made(name, &config, &fitted, Made::Updated)
        }
        None => create(link, name, config).await,
    }
}

async fn create(link: &Link, name: &str, config: &Value) -> Result<Made> {
    match fit::ask(link, &format!("STREAM.CREATE.{name}"), config, 0).await? {
        Ok(fitted) => made(name, config, &fitted, Made::Created),
        Err(error) if exists(&error) => Ok(Made::Unchanged),
        Err(error) => Err(fit::refusal(error, name)),
    }
}

fn made(name: &str, config: &Value, fitted: &fit::Fitted, how: Made) -> Result<Made> {
    same(name, &fitted.asked, &fitted.found)?;
    Ok(if fitted.asked["max_bytes"] == config["max_bytes"] { how } else { Made::Smaller })
}

/// 10058: somebody else was faster, with another configuration.
fn exists(error: &ApiError) -> bool {
    error.err_code == 10058
}

/// Whether what the server has is what was asked; what it leaves out counts as its zero.
fn same(name: &str, asked: &Value, found: &Value) -> Result<()> {
    let Some(asked) = asked.as_object() else { return Ok(()) };
    for (field, wanted) in asked {
        let got = &found[field];
        if !agrees(wanted, got) {
            return Err(Error::unavailable(format!(
                "{name}: the server keeps {field} as {got}, not as {wanted}: it may be too old for it, or somebody changed it"
            )));
        }
    }
    Ok(())
}

fn agrees(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::Object(wanted), _) => wanted.iter().all(|(field, wanted)| agrees(wanted, &got[field])),
        (Value::Array(wanted), Value::Array(got)) => {
            wanted.len() == got.len() && wanted.iter().zip(got).all(|(wanted, got)| agrees(wanted, got))
        }
        (wanted, Value::Null) => matches!(wanted, Value::Bool(false)) || wanted.as_u64() == Some(0),
        (Value::Number(wanted), Value::Number(got)) => wanted.as_f64() == got.as_f64(),
        (wanted, got) => wanted == got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_dropped_is_named() {
        let asked = json!({ "name": "S", "max_age": 0, "allow_msg_ttl": true, "sources": [{ "name": "A" }] });
        let whole = json!({ "name": "S", "allow_msg_ttl": true, "sources": [{ "name": "A", "more": 1 }], "extra": 1 });
        assert!(same("S", &asked, &whole).is_ok());
        let old = json!({ "name": "S", "sources": [{ "name": "A" }] });
        let refusal = same("S", &asked, &old).unwrap_err().to_string();
        assert!(refusal.contains("allow_msg_ttl"), "{refusal}");
    }
}
