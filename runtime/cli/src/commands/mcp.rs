//! `callboard mcp`: capabilities as tools for whoever speaks the Model Context Protocol.

use std::time::Duration;

use callboard::mcp::{Options, serve, stdio};
use callboard::period::Period;
use clap::Args;

use crate::console::Console;
use crate::doors::Offered;
use crate::output::Done;
use crate::signals::Signals;

/// Offer a team, or any capability, as tools over the Model Context Protocol, on standard input and output.
#[derive(Args, Debug)]
pub(crate) struct Mcp {
    #[command(flatten)]
    offered: Offered,
    /// Calls that are worked on together; one more is refused. Default: 64
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    at_once: Option<u16>,
    /// How long one call may take, such as 90s or 2h. Default: 9m
    #[arg(long, value_name = "TIME")]
    limit: Option<Period>,
}

/// Serves the one client that has started it, until that closes its end.
pub(crate) async fn mcp(of: Mcp, console: &Console) -> Done {
    // From before anything is held.
    let signals = Signals::listen();
    let opened = of.offered.open(console).await?;
    let page = console.out.page;
    console.out.note(&page.field("tools", 7, &opened.names()));
    console.out.note(&page.field("store", 7, &opened.place()));
    let defaults = Options::default();
    let options = Options {
        at_once: of.at_once.unwrap_or(defaults.at_once),
        limit: of.limit.map_or(defaults.limit, Period::length).max(Duration::from_secs(1)),
        ..defaults
    };
    let ended = tokio::select! {
        served = serve(opened.desk.clone(), options, stdio(), signals.first()) => served.map_err(Into::into),
        failure = opened.over() => Err(failure),
    };
    opened.close().await?;
    ended.map(|()| None)
}
