use callboard_broker::state::Author;

use super::Context;
use crate::state::Party;
use crate::{Payload, State, StateKey};

impl Context {
    /// Shared state at a key, as far as this agent was granted it.
    pub fn state<T: Payload>(&self, key: StateKey<T>) -> State<T> {
        State::over(self.host.states(), &key, self.party())
    }

    /// In whose name this agent writes.
    pub(crate) fn party(&self) -> Party {
        let facts = self.host.facts();
        Party {
            name: facts.agent.clone(),
            run: facts.run.clone(),
            team: (!facts.team.is_empty()).then(|| facts.team.clone()),
            task: facts.task.clone().map(|task| Author { task, attempt: facts.attempt, record: 0 }),
        }
    }
}
