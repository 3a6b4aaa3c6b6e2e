//! What this program's own node serves: the research team, workflows, and the agents of `diag`.

use callboard::workflow::WORKFLOW;
use callboard::{Child, diag, team};

/// The services of a node of this program, in start order.
pub(crate) fn all() -> Vec<Child> {
    std::iter::once(team::research().into()).chain(diag::all().into_iter().map(Child::from)).collect()
}

/// What a node of a broker serves unless it is told what: not `diag.effect`, with which whoever may submit tasks could have
/// it post to any address that it reaches.
pub(crate) fn on_a_broker() -> Vec<Child> {
    let posts = |child: &Child| child.capabilities().iter().any(|name| name.as_str() == "diag.effect");
    all().into_iter().filter(|child| !posts(child)).collect()
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
    use super::*;

    #[test]
    fn a_node_posts_nowhere_unless_it_is_told_to() {
        let names = |children: Vec<Child>| -> Vec<String> {
            children.iter().flat_map(Child::capabilities).map(|name| name.to_string()).collect()
        };
        let (mine, of_a_broker) = (names(all()), names(on_a_broker()));
        let left: Vec<&String> = mine.iter().filter(|name| !of_a_broker.contains(name)).collect();
        assert_eq!(left, if cfg!(feature = "web") { vec!["diag.effect"] } else { Vec::new() });
    }

    #[test]
    fn the_whole_team_is_served() {
        let served = capabilities();
        for name in ["executive", "research.web", "content.editor", "qa.style", "workflow", "diag.echo"] {
            assert!(served.iter().any(|one| one == name), "{name} is not in {served:?}");
        }
    }
}
