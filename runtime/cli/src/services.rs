//! What this program's own node serves: the research team, workflows, and the agents of `diag`.

use std::path::Path;

use callboard::broker::problem::Problems;
use callboard::config::{Config, Limits};
use callboard::workflow::WORKFLOW;
use callboard::{Child, diag, team};

use crate::console::{Console, Place};

/// The services of a node of this program, in start order.
pub(crate) fn all() -> Vec<Child> {
    with(&Limits::default())
}

/// The same, of which the team reads within these limits.
pub(crate) fn with(limits: &Limits) -> Vec<Child> {
    let team = team::research_over(&team::Library::new(limits.of_sources()));
    std::iter::once(team.into()).chain(diag::all().into_iter().map(Child::from)).collect()
}

/// What a node of a broker serves unless it is told what: not `diag.effect`, with which whoever may submit tasks could have
/// it post to any address that it reaches.
pub(crate) fn on_a_broker(limits: &Limits) -> Vec<Child> {
    let posts = |child: &Child| child.capabilities().iter().any(|name| name.as_str() == "diag.effect");
    with(limits).into_iter().filter(|child| !posts(child)).collect()
}

/// Within which limits documents are read here, and sent to the nodes of a broker. To these a file cannot be typed, for
/// they have their own; what is exported holds for what is sent.
///
/// # Errors
/// What is wrong with the file or the environment.
pub(crate) fn limits(console: &Console) -> Result<Limits, Problems> {
    limits_among(console, |name| std::env::var(name).ok())
}

fn limits_among(console: &Console, variables: impl Fn(&str) -> Option<String>) -> Result<Limits, Problems> {
    let Place::Broker(_) = console.place else { return Ok(console.config.limits.clone()) };
    let file = variables("CALLBOARD_CONFIG").filter(|path| !path.is_empty());
    let config = file.map_or_else(|| Ok(Config::default()), |path| Config::read(Path::new(&path)));
    Ok(config?.over(variables)?.limits)
}

/// The capabilities that such a node serves, by name.
pub(crate) fn capabilities() -> Vec<String> {
    let served = all().iter().flat_map(Child::capabilities).map(|name| name.to_string()).collect::<Vec<_>>();
    let mut names: Vec<String> = served.into_iter().chain([WORKFLOW.name().to_owned()]).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_node_posts_nowhere_unless_it_is_told_to() {
        let names = |children: Vec<Child>| -> Vec<String> {
            children.iter().flat_map(Child::capabilities).map(|name| name.to_string()).collect()
        };
        let (mine, of_a_broker) = (names(all()), names(on_a_broker(&Limits::default())));
        let left: Vec<&String> = mine.iter().filter(|name| !of_a_broker.contains(name)).collect();
        assert_eq!(left, if cfg!(feature = "web") { vec!["diag.effect"] } else { Vec::new() });
    }

    /// Without it nobody could have nodes read a file of theirs that is larger than usual.
    #[test]
    fn what_is_sent_to_nodes_is_within_the_limits_that_are_exported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        std::fs::write(&file, "[limits]\nfiles = 7\nfile_bytes = 8\n").unwrap();
        let global = crate::args::Cli::parse_from(["callboard", "--broker", "nats://127.0.0.1:1"]).global;
        let console = Console::new(&global);
        let limits = |set: &[(&str, &str)]| {
            let among = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            limits_among(&console, among).map(|limits| (limits.of_sources().files, limits.of_sources().file_bytes))
        };
        let file = ("CALLBOARD_CONFIG", file.to_str().unwrap());
        assert_eq!(limits(&[]).unwrap(), (10_000, 16 << 20));
        assert_eq!(limits(&[file]).unwrap(), (7, 8));
        assert_eq!(limits(&[file, ("CALLBOARD_FILE_BYTES", "9")]).unwrap(), (7, 9));
        assert!(limits(&[("CALLBOARD_FILES", "lots")]).unwrap_err().to_string().contains("CALLBOARD_FILES"));
    }

    #[test]
    fn the_whole_team_is_served() {
        let served = capabilities();
        for name in ["executive", "research.web", "content.editor", "qa.style", "workflow", "diag.echo"] {
            assert!(served.iter().any(|one| one == name), "{name} is not in {served:?}");
        }
    }
}
