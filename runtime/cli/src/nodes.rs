//! Nodes on a broker, as this process reaches them: through the broker for work, through their control for themselves.

use std::time::Duration;

use callboard::broker::Broker;
use callboard::broker::code;
use callboard::broker::id::{NodeName, TaskId};
use callboard::broker::nats::requests;
use callboard::broker::nats::service::{self, Present};
use callboard::broker::nats::{Missing, Wing, connect};
use callboard::broker::problem::Problem;
use callboard::broker::tasks::Recorded;
use callboard::config::{Address, Config};
use callboard::exit::Exit;
use callboard::inbox::Inbox;
use callboard::{Error, broker_options};
use serde::Serialize;
use serde_json::Value;

use crate::console::Remote;
use crate::failure::{Failure, problem_of};

/// How long a node may take to answer: it answers from what it knows, so longer means that it is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// A broker that this process has joined, to submit and to look.
pub(crate) struct Nodes {
    pub(crate) wing: Wing,
}

/// What a node said; or why it did not.
pub(crate) struct Said {
    pub(crate) node: Present,
    pub(crate) answer: Result<Value, Error>,
}

/// A node as it is listed.
#[derive(Serialize)]
pub(crate) struct Of<T> {
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) what: T,
}

impl Nodes {
    /// Joins.
    ///
    /// # Errors
    /// With exit 3: no broker there, told within 2 s; credentials that it does not accept; streams that are missing.
    pub(crate) async fn join(remote: &Remote) -> Result<Nodes, Failure> {
        let address = address(remote)?;
        let mut options = broker_options(name(&address)?, &address)?;
        (options.works, options.missing) = (false, Missing::Refuse);
        let wing = connect(options).await.map_err(|error| unreachable(&error, &remote.address))?;
        Ok(Nodes { wing })
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.wing.broker
    }

    /// The nodes that are there.
    pub(crate) async fn present(&self) -> Result<Vec<Present>, Failure> {
        Ok(service::nodes(&self.wing.link).await?)
    }

    /// Asks one node.
    ///
    /// # Errors
    /// CB0003 with those that are there when this one is not; CB0004 when it does not answer.
    pub(crate) async fn ask(&self, node: &str, verb: &str, body: Value) -> Result<Value, Failure> {
        let name = NodeName::parse(node).map_err(|bad| Problem::new(code::BAD_VALUE, bad.to_string()))?;
        match self.ask_named(&name, verb, body).await {
            Err(Error::NoRecipient { .. }) => {
                let there = self.present().await?.into_iter().map(|one| one.node.to_string()).collect::<Vec<_>>();
                let problem = Problem::new(code::NO_RECIPIENT, format!("there is no node {node}"));
                Err(Failure::from(problem.allowed_near(node, there).fix("callboard node ls")).exit(Exit::Usage))
            }
            said => Ok(said?),
        }
    }

    async fn ask_named(&self, node: &NodeName, verb: &str, body: Value) -> Result<Value, Error> {
        let late = || Error::unavailable(format!("node {node} does not answer {verb} within 1 s: it may be frozen"));
        let asking = service::ask(&self.wing.link, node, verb, body);
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(late()))
    }

    /// Asks every node the same. One that has gone in between is left out.
    pub(crate) async fn all(&self, verb: &str) -> Result<Vec<Said>, Failure> {
        self.all_about(verb, &Value::Null, PATIENCE).await
    }

    /// The same, for who shows nothing but what they say.
    ///
    /// # Errors
    /// CB0015 when this user may ask no node: they are there all the same.
    pub(crate) async fn told(&self, verb: &str) -> Result<Vec<Said>, Failure> {
        let said = self.all(verb).await?;
        let denied = |one: &Said| matches!(one.answer, Err(Error::Denied { .. }));
        match said.first().map(|one| &one.answer) {
            Some(Err(error)) if said.iter().all(denied) => Err(Failure::from(error.clone())),
            _ => Ok(said),
        }
    }

    /// Asks every node the same about something, for which each may take so long.
    pub(crate) async fn all_about(&self, verb: &str, body: &Value, patience: Duration) -> Result<Vec<Said>, Failure> {
        let mut asking = tokio::task::JoinSet::new();
        for node in self.present().await? {
            let (link, verb, body) = (self.wing.link.clone(), verb.to_owned(), body.clone());
            asking.spawn(async move {
                let late = || Error::unavailable(format!("node {} does not answer: it may be frozen", node.node));
                let said = tokio::time::timeout(patience, service::ask(&link, &node.node, &verb, body)).await;
                Said { answer: said.unwrap_or_else(|_| Err(late())), node }
            });
        }
        let mut said = asking.join_all().await;
        said.retain(|one| !matches!(one.answer, Err(Error::NoRecipient { .. })));
        said.sort_by(|a, b| a.node.node.as_str().cmp(b.node.node.as_str()));
        Ok(said)
    }

    /// Answers a question. A node does it where there is one, for a person need not be allowed to write an outcome.
    pub(crate) async fn answer(&self, task: TaskId, answer: Value, who: &str) -> Result<Recorded, Error> {
        let inbox = Inbox::of(self.broker());
        inbox.check(task.clone(), &answer, who).await?;
        match requests::answer_by_node(&self.wing.link, &task, &answer, who).await {
            Err(Error::NoRecipient { .. }) => inbox.answer(task, answer, who).await,
            answered => answered,
        }
    }

    /// What all nodes serve together, by name.
    pub(crate) async fn served(&self) -> Result<Vec<String>, Failure> {
        Ok(service::served(&self.wing.link).await?.into_iter().collect())
    }
}

/// Where the broker is and who we are to it: what was typed, over the environment.
pub(crate) fn address(remote: &Remote) -> Result<Address, Failure> {
    let mut config = Config::default().over_environment()?;
    let set = |config: &mut Config, flag: &str, text: &str| {
        let setting = callboard::config::Setting::of_flag(flag);
        setting.map_or(Ok(()), |setting| setting.set(config, text))
    };
    set(&mut config, "broker", &remote.address)?;
    if let Some(creds) = &remote.creds {
        set(&mut config, "creds", &creds.display().to_string())?;
    }
    Ok(config.broker)
}

/// The name of this process on the wire. A role that may only be itself is called as its user; otherwise no two are
/// alike.
pub(crate) fn name(address: &Address) -> Result<NodeName, Failure> {
    let in_address = |url: &String| Some(url.split_once("://")?.1.split_once('@')?.0.split(':').next()?.to_owned());
    let named = std::env::var("CALLBOARD_NAME").ok().filter(|name| !name.is_empty());
    let named = named.or_else(|| address.user.clone()).or_else(|| address.servers.first().and_then(in_address));
    let named = named.filter(|name| NodeName::parse(name).is_ok());
    let fresh = || format!("cli-{}", callboard::broker::id::RunId::fresh().as_str().rsplit('-').next().unwrap_or("1"));
    NodeName::parse(&named.unwrap_or_else(fresh)).map_err(|bad| Problem::new(code::NAME, bad.to_string()).into())
}

/// A broker that cannot be joined, with what can be done about it.
pub(crate) fn unreachable(error: &Error, address: &str) -> Failure {
    let problem = match error {
        Error::Denied { what, .. } if what.starts_with("hear ") => {
            problem_of(error).fix("set CALLBOARD_NAME to the name of its user on the server")
        }
        Error::Denied { what, .. } if !what.starts_with("connect ") => {
            problem_of(error).fix("CALLBOARD_USER and CALLBOARD_PASSWORD, or --creds FILE, of a user who may")
        }
        Error::Denied { .. } => {
            let what = format!("the broker at {} does not accept these credentials", plain(address));
            let fix = "--creds FILE, or set CALLBOARD_USER and CALLBOARD_PASSWORD";
            Problem::new(code::DENIED, what).fix(fix)
        }
        Error::Unavailable { what } if what.contains("callboard provision") => {
            let fix = match what.contains("by a user who may") {
                true => "callboard provision, as the user `deploy` of deploy/nats or another who may",
                false => "callboard provision, or start a node, which does it where it may",
            };
            Problem::new(code::UNREACHABLE, what.to_string()).fix(fix)
        }
        Error::Unavailable { what } => {
            let what = format!("no broker answers at {}", what.trim_start_matches("nats://"));
            let fix = "start one with `nats-server -js`, or name another with --broker nats://HOST:4222";
            Problem::new(code::UNREACHABLE, what).fix(fix)
        }
        other => problem_of(other),
    };
    let exit = match Exit::of_node(error) {
        Exit::Usage => Exit::Usage,
        _ => Exit::Unreachable,
    };
    Failure::from(problem).exit(exit)
}

/// An address without the password that may stand in it.
pub(crate) fn plain(address: &str) -> String {
    let one = |one: &str| match one.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
        None => one.to_owned(),
    };
    address.split(',').map(one).collect::<Vec<_>>().join(",")
}
