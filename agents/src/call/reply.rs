use std::time::Duration;

use callboard_broker::error::Error;
use callboard_broker::task::Outcome;

use crate::Payload;

/// A response with how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply<Res> {
    /// The response.
    pub value: Res,
    /// The agent that gave it; empty when unknown.
    pub agent: String,
    /// The attempt that gave it, from 1.
    pub attempt: u32,
    /// From when the attempt began until the response was there.
    pub took: Duration,
    /// Why it is not the response that was asked for, where something else stands in for it.
    pub degraded: Option<String>,
}

impl<Res: Payload> Reply<Res> {
    /// The response in the outcome of a task.
    ///
    /// # Errors
    /// What the task ended with, unless it was completed; `Decode`.
    pub fn of(outcome: Outcome) -> Result<Self, Error> {
        let began = outcome.started_at.unwrap_or(outcome.finished_at);
        let took = Duration::from_millis(outcome.finished_at.saturating_sub(began));
        let (agent, attempt) = (outcome.agent.clone().unwrap_or_default(), outcome.attempt);
        let degraded = outcome.degraded.clone();
        Ok(Self { value: outcome.into_result()?.take()?, agent, attempt, took, degraded })
    }
}
