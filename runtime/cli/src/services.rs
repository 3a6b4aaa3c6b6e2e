//! What this program's own node serves: the research team, workflows, and the agents of `diag`.

use callboard::workflow::WORKFLOW;
use callboard::{Child, diag, team};

/// The services of a node of this program, in start order.
pub(crate) fn all() -> Vec<Child> {
    std::iter::once(team::research().into()).chain(diag::all().into_iter().map(Child::from)).collect()
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
    fn the_whole_team_is_served() {
        let served = capabilities();
        for name in ["executive", "research.web", "content.editor", "qa.style", "workflow", "diag.echo"] {
            assert!(served.iter().any(|one| one == name), "{name} is not in {served:?}");
        }
    }
}
