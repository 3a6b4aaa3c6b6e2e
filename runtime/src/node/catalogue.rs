//! What a node can be told to run by name: the agents that are built in.

use callboard_agents::Service;
use callboard_agents::team::{Library, Team, research_team};
use callboard_broker::code;
use callboard_broker::error::{Error, Result};
use callboard_broker::problem::Problem;

use super::child::Child;
use crate::settings::node::Config;
use crate::{diag, team};

/// The services that are built in, each of which can be served alone.
fn services(library: &Library) -> Vec<Service> {
    let Team { executive, branches } = research_team(library);
    let of_team = branches.into_iter().flat_map(|branch| [vec![branch.lead], branch.workers].concat());
    diag::all().into_iter().chain([executive]).chain(of_team).collect()
}

/// The capabilities that any node can be told to serve, by name.
pub fn built_in() -> Vec<String> {
    let doors = services(&Library::default());
    let mut names: Vec<String> =
        doors.iter().flat_map(Service::doors).map(|door| door.capability.to_string()).collect();
    names.sort();
    names
}

/// Adds to `children`, which come from code, what is configured, and gives all of them their sizes.
///
/// # Errors
/// `Config` for a capability that neither the code nor this crate has.
pub(crate) fn configured(mut children: Vec<Child>, config: &Config) -> Result<Vec<Child>> {
    let library = Library::new(config.limits.of_sources());
    if config.teams.iter().any(|team| team == "research") {
        children.push(team::research_over(&library).into());
    }
    for (name, agent) in &config.agents {
        children.push(agent.service(name)?.into());
    }
    for (name, workers) in &config.serve {
        let serves = |child: &Child| child.capabilities().contains(name);
        if !children.iter().any(serves) {
            let known = services(&library);
            let found = known.into_iter().find(|service| service.doors().iter().any(|door| door.capability == *name));
            children.push(found.ok_or_else(|| unknown(name.as_str(), &children))?.into());
        }
        if *workers > 0 {
            children.iter_mut().for_each(|child| child.resize(name, *workers));
        }
    }
    if let Some(queue) = config.limits.queue {
        children.iter_mut().for_each(|child| child.bound(queue));
    }
    Ok(children)
}

fn unknown(name: &str, children: &[Child]) -> Error {
    let own = children.iter().flat_map(Child::capabilities).map(|name| name.to_string());
    let known: Vec<String> = own.chain(built_in()).collect();
    let what = format!("this program has no agent that serves {name}");
    Error::Config(Box::new(Problem::new(code::UNKNOWN_CAPABILITY, what).allowed_near(name, known).into()))
}
