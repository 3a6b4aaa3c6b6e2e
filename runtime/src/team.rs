//! The research team under supervision: the agents of [`callboard_agents::team`] as a tree.
//!
//! The tree *is* the team: who leads somebody supervises them, so that a branch that keeps failing is restarted, and at
//! last given up, with its lead.

pub use callboard_agents::team::*;

use crate::Supervisor;

/// The supervisor `executive` over the executive's cell and the supervisors `research`, `content` and `qa`, each over a
/// lead and its pools. Default limits on what is read; [`research_over`] takes others.
///
/// ```no_run
/// use callboard::team::{self, EXECUTIVE, Inquiry};
/// use callboard::{Error, Node};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let node = Node::embedded().serve(team::research()).start().await?;
/// let inquiry = Inquiry { question: "What is restarted when an agent fails?".into(), sources: vec!["docs".into()] };
/// println!("{}", node.submit(EXECUTIVE, inquiry).await?.outcome().await?.brief);
/// node.shutdown().await
/// # }
/// ```
pub fn research() -> Supervisor {
    research_over(&Library::default())
}

/// As [`research()`], over a library with limits of one's own.
pub fn research_over(library: &Library) -> Supervisor {
    let Team { executive, branches } = research_team(library);
    let branch = |Branch { name, lead, workers }: Branch| {
        workers.into_iter().fold(Supervisor::new(name).child(lead), Supervisor::child)
    };
    branches.into_iter().map(branch).fold(Supervisor::new("executive").child(executive), Supervisor::child)
}
