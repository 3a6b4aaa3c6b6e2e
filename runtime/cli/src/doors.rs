//! What `serve` and `mcp` have in common: what is offered to strangers, by a node of this process or by those of a broker.

use std::sync::Arc;

use callboard::agents::source::{Limits, is_parcel, is_url, pack};
use callboard::broker::blobs::{Blobs, Folder};
use callboard::broker::code;
use callboard::broker::problem::{Problem, Problems};
use callboard::broker::subject::CapabilityName;
use callboard::door::{Desk, listed};
use callboard::team::EXECUTIVE;
use callboard::{BudgetDoc, Error, Node};
use clap::Args;

use crate::console::{Console, Place};
use crate::failure::Failure;
use crate::models::{Here, priced};
use crate::nodes::{self, Nodes};
use crate::services;

#[derive(Args, Debug)]
pub(crate) struct Offered {
    /// What is offered. Default: executive, the research team
    #[arg(long, value_name = "CAPABILITY", num_args = 1..)]
    public: Vec<String>,
    /// What is read for requests that bring no sources: folders, files, SQLite databases, http(s) addresses
    #[arg(long, value_name = "PATH|URL", num_args = 1..)]
    sources: Vec<String>,
    /// What each run may take at most, such as tasks=100,tokens=20000,cost=1.5,wall=10m. Default: no limit
    #[arg(long, value_name = "LIMITS", default_value = "", hide_default_value = true)]
    budget: BudgetDoc,
    #[command(flatten)]
    here: Here,
}

/// A desk with those who work behind it.
pub(crate) struct Opened {
    pub(crate) desk: Desk,
    behind: Behind,
}

enum Behind {
    /// A node of this process.
    Here(Node),
    /// Nodes of a broker.
    There(Box<Nodes>),
}

impl Offered {
    /// Opens the store and starts a node over it, or joins the broker.
    ///
    /// # Errors
    /// CB0205 for a store that another process works on; CB0114 for what nobody serves; sources that cannot be read.
    pub(crate) async fn open(&self, console: &Console) -> Result<Opened, Failure> {
        let console = self.here.over(console)?;
        priced(&self.budget.budget(), &console)?;
        let (public, limits) = (self.public()?, services::limits(&console)?.of_sources());
        let (desk, behind) = match &console.place {
            Place::Broker(remote) => {
                let nodes = Nodes::join(remote).await?;
                (there(&nodes, &public).await?, Behind::There(Box::new(nodes)))
            }
            place => {
                let node = start(place, &console).await?;
                match here(&node, &public) {
                    Ok(desk) => (desk, Behind::Here(node)),
                    Err(failure) => {
                        node.shutdown().await?;
                        return Err(failure);
                    }
                }
            }
        };
        let mut opened = Opened { desk, behind };
        match self.packed(opened.desk.broker().blobs.as_ref(), &limits).await {
            Ok(sources) => {
                let budget = self.budget.budget().or(console.config.budget.budget());
                opened.desk = opened.desk.sources(sources).budget(budget);
            }
            Err(failure) => {
                opened.close().await?;
                return Err(failure);
            }
        }
        Ok(opened)
    }

    fn public(&self) -> Result<Vec<CapabilityName>, Failure> {
        let (mut names, mut problems) = (Vec::new(), Problems::new());
        for name in self.public.iter().flat_map(|names| names.split(',')) {
            match CapabilityName::parse(name.trim()) {
                Ok(name) if names.contains(&name) => {}
                Ok(name) => names.push(name),
                Err(bad) => problems.push(Problem::new(code::BAD_VALUE, format!("--public: {bad}"))),
            }
        }
        if names.is_empty() {
            names.push(EXECUTIVE.id());
        }
        Ok(problems.or(names)?)
    }

    /// Each source as whoever reads it finds it: nobody behind a door opens a path.
    async fn packed(&self, blobs: Option<&Arc<dyn Blobs>>, limits: &Limits) -> Result<Vec<String>, Failure> {
        let mut packed = Vec::new();
        for source in &self.sources {
            packed.push(match blobs {
                Some(blobs) if !is_url(source) && !is_parcel(source) => pack(source, limits, blobs).await?,
                _ => source.clone(),
            });
        }
        Ok(packed)
    }
}

impl Opened {
    /// What is offered, with commas between.
    pub(crate) fn names(&self) -> String {
        let names = self.desk.public().into_iter().map(|door| door.capability.to_string());
        names.collect::<Vec<_>>().join(", ")
    }

    /// Where the work is done.
    pub(crate) fn place(&self) -> String {
        nodes::plain(&self.desk.broker().about)
    }

    /// Resolves when nobody can work any more, with why.
    pub(crate) async fn over(&self) -> Failure {
        match &self.behind {
            Behind::Here(node) => match node.clone().until_ended().await {
                Ok(()) => Problem::new(code::UNREACHABLE, "the node was told to end").into(),
                Err(error) => {
                    let exit = callboard::exit::Exit::of_node(&error);
                    Failure::from(error).exit(exit)
                }
            },
            Behind::There(nodes) => nodes.wing.link.over().await.into(),
        }
    }

    /// Lets what is at work finish, and ends the node of this process.
    pub(crate) async fn close(&self) -> Result<(), Failure> {
        match &self.behind {
            Behind::Here(node) => Ok(node.shutdown().await?),
            Behind::There(_) => Ok(()),
        }
    }
}

async fn start(place: &Place, console: &Console) -> Result<Node, Failure> {
    let node = Node::configured(console.config.clone());
    let (node, blobs) = match place.file() {
        Some(path) => {
            let mut folder = path.clone().into_os_string();
            folder.push(".files");
            (node.store(path), Folder::open(folder)?)
        }
        None => (node, Folder::temporary()?),
    };
    let node = node.blobs(Arc::new(blobs));
    let own = services::with(&console.config.limits);
    Ok(own.into_iter().fold(node, |node, service| node.serve(service)).start().await?)
}

fn here(node: &Node, public: &[CapabilityName]) -> Result<Desk, Failure> {
    Desk::of(node, public).map_err(|error| match error {
        Error::NoRecipient { to } => {
            let served = node.served().into_iter().map(|one| one.capability.to_string());
            unserved(&to, served)
        }
        other => other.into(),
    })
}

/// What the nodes of a broker tell of themselves now.
async fn there(nodes: &Nodes, public: &[CapabilityName]) -> Result<Desk, Failure> {
    let told = nodes.told("served").await?;
    let known: Vec<_> = told.iter().filter_map(|said| said.answer.as_ref().ok()).flat_map(listed).collect();
    let mut doors = Vec::new();
    for name in public {
        let door = known.iter().find(|door| door.capability == *name);
        let served = || known.iter().map(|door| door.capability.to_string());
        doors.push(door.ok_or_else(|| unserved(name.as_str(), served()))?.clone());
    }
    Ok(Desk::over(nodes.broker().clone(), nodes.wing.link.node.as_str(), doors))
}

fn unserved(name: &str, served: impl Iterator<Item = String>) -> Failure {
    let mut served: Vec<String> = served.collect();
    served.sort();
    served.dedup();
    let what = format!("--public names {name}, which nobody here serves");
    Problem::new(code::UNKNOWN_CAPABILITY, what).allowed_near(name, served).into()
}
