//! `callboard provision`: making the broker's streams, and proof that the server has them as asked.

use callboard::broker::code;
use callboard::broker::nats::{Asked, Durability, Layout, Link, Made, Report, provision};
use callboard::broker::problem::Problem;
use callboard::broker::profile::Profile;
use clap::Args;
use serde::Serialize;

use crate::console::{Console, Place};
use crate::failure::Failure;
use crate::nodes;
use crate::output::{Done, Page, Show, answer, time};

/// Make the broker's streams and buckets, or change those that are there, and read each back.
#[derive(Args, Debug)]
pub(crate) struct Provision {
    /// Copies of each stream: 1, or 3 or 5 on a cluster. Default: as many as there are, 1 for new ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5))]
    replicas: Option<u32>,
    /// Days that events are kept; 0: for ever. Default: as it is, 30 at first
    #[arg(long, value_name = "N")]
    event_days: Option<u64>,
    /// Prove how durable the broker is, and put it on record: crash-safe, durable or replicated
    #[arg(long, value_name = "PROFILE", value_parser = profile)]
    profile: Option<Profile>,
    /// The monitoring address of each server that keeps a stream, http://HOST:8222
    #[arg(long, value_name = "URL", num_args = 1.., requires = "profile")]
    monitor: Vec<String>,
}

fn profile(text: &str) -> Result<Profile, String> {
    Profile::parse(text).ok_or_else(|| "crash-safe, durable or replicated".to_owned())
}

/// Makes them.
pub(crate) async fn provision(of: Provision, console: &Console) -> Done {
    let Place::Broker(remote) = &console.place else {
        let problem = Problem::new(code::MISSING_ARGUMENT, "there is nothing to provision without a broker");
        return Err(problem.fix("callboard --broker nats://HOST:4222 provision").into());
    };
    let address = nodes::address(remote)?;
    let options = callboard::broker_options(nodes::name(&address)?, &address)?;
    let failed = |error: callboard::Error| nodes::unreachable(&error, &remote.address);
    let link = Link::connect(&options).await.map_err(failed)?;
    let asked = Asked { replicas: of.replicas.is_some(), event_days: of.event_days.is_some() };
    let usual = Layout::default();
    let layout = Layout {
        replicas: of.replicas.unwrap_or(usual.replicas),
        event_days: of.event_days.unwrap_or(usual.event_days),
        ..usual
    };
    let report = link.heard(provision::refresh(&link, &layout, asked)).await.map_err(|error| match error {
        callboard::Error::Denied { .. } => failed(error),
        other => Failure::from(other),
    })?;
    let durability = match of.profile {
        Some(profile) => provision::prove(&link, profile, &of.monitor).await?,
        None => provision::durability(&link).await?,
    };
    answer(Provisioned { report, durability })
}

/// How durable a broker is, in one line.
pub(crate) fn told(durability: &Durability) -> String {
    let profile = durability.profile;
    let proof = durability.proof.as_ref().map(|proof| {
        let servers = proof.servers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("{} was proved of {servers} on {}", proof.profile, time::date(proof.at))
    });
    let said: Vec<String> = proof.into_iter().chain(durability.why.clone()).collect();
    if said.is_empty() { profile.to_string() } else { format!("{profile}: {}", said.join("; ")) }
}

#[derive(Serialize)]
struct Provisioned {
    #[serde(flatten)]
    report: Report,
    durability: Durability,
}

impl Show for Provisioned {
    fn text(&self, page: Page) -> String {
        let made = |made: &Made| match made {
            Made::Created => "created",
            Made::Updated => "changed",
            Made::Unchanged => "as it should be",
            Made::Smaller => "smaller than asked: the server has no room for more (max_file_store)",
        };
        let line = |(name, how): &(String, Made)| page.field(name, 14, made(how));
        let streams: String = self.report.streams.iter().map(line).collect();
        let profile = page.field("profile", 14, &told(&self.durability));
        format!("nats-server {}\n{streams}{profile}", self.report.server)
    }
}
