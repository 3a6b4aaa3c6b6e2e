//! The version that began a task, and whether anybody is there who goes on with it.

use callboard::broker::code;
use callboard::broker::task::{BegunBy, Record, Serving, Status, VERSION_WAIT, Version};
use callboard::broker::tasks::TaskView;
use serde::Serialize;
use serde_json::Value;

use crate::commands::pool;
use crate::failure::Failure;
use crate::store::Store;

/// With which version a task stays.
#[derive(Serialize)]
pub(super) struct Begun {
    by: Version,
    /// Whether a node that is there goes on with it; none where that makes no difference.
    served: Option<bool>,
}

/// What the log says, and the nodes.
pub(super) async fn begun_by(store: &Store, view: &TaskView, log: &[Record]) -> Result<Option<Begun>, Failure> {
    let Some(by) = BegunBy::of(log).version().cloned() else { return Ok(None) };
    let served = match view.status {
        Status::Pending => {
            let takes = |(_, agent): &(_, Value)| takes(agent, view.task.capability.as_str(), &by);
            match pool::agents(store).await {
                Ok(agents) => Some(agents.iter().any(takes)),
                // Who may not ask nodes sees of the task what there is to see.
                Err(denied) if denied.is(code::DENIED) => None,
                Err(failure) => return Err(failure),
            }
        }
        _ => None,
    };
    Ok(Some(Begun { by, served }))
}

fn takes(agent: &Value, capability: &str, begun_by: &Version) -> bool {
    let serves = agent["capabilities"].as_array().is_some_and(|all| all.iter().any(|one| one == capability));
    let version = agent["version"].as_str().and_then(|version| Version::parse(version).ok());
    let migrates = agent["migrates"].as_bool().unwrap_or(false);
    let takes = |version| Serving { version, migrates, wait: VERSION_WAIT }.takes(begun_by);
    serves && version.is_some_and(takes)
}

impl Begun {
    pub(super) fn text(&self) -> String {
        let by = &self.by;
        match self.served {
            Some(false) => format!("{by}, which no node serves: it waits for one that does"),
            Some(true) | None => by.to_string(),
        }
    }
}
