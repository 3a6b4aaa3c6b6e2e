//! `callboard provision`: making the broker's streams, and proof that the server has them as asked.

use callboard::broker::code;
use callboard::broker::nats::{Layout, Link, Made, Report, provision};
use callboard::broker::problem::Problem;
use clap::Args;
use serde::Serialize;

use crate::console::{Console, Place};
use crate::nodes;
use crate::output::{Done, Page, Show, answer};

/// Make the broker's streams and buckets, or change those that are there, and read each back.
#[derive(Args, Debug)]
pub(crate) struct Provision {
    /// Copies of each stream: 1, or 3 or 5 on a cluster
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=5))]
    replicas: u32,
    /// Days that events are kept; 0: for ever
    #[arg(long, value_name = "N", default_value_t = 30)]
    event_days: u64,
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
    let layout = Layout { replicas: of.replicas, event_days: of.event_days, ..Layout::default() };
    answer(Provisioned(provision::provision(&link, &layout).await?))
}

#[derive(Serialize)]
#[serde(transparent)]
struct Provisioned(Report);

impl Show for Provisioned {
    fn text(&self, page: Page) -> String {
        let made = |made: &Made| match made {
            Made::Created => "created",
            Made::Updated => "changed",
            Made::Unchanged => "as it should be",
        };
        let line = |(name, how): &(String, Made)| page.field(name, 14, made(how));
        let streams: String = self.0.streams.iter().map(line).collect();
        format!("nats-server {}\n{streams}", self.0.server)
    }
}
