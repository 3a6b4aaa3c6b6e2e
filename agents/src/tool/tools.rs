//! The tools in the hands of an agent.

use std::fmt;
use std::sync::Arc;

use callboard_broker::error::Error;
use serde_json::Value;

use super::call::{Wanted, run};
use super::rules::covers;
use super::{Desk, Offer, Output};
use crate::Context;

/// The tools that the agent of a request was granted. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    pub(super) ctx: Context,
    pub(super) desk: Arc<Desk>,
    only: Option<Arc<[String]>>,
}

impl Context {
    /// The tools that this agent was granted; an empty set when it was granted none.
    pub fn tools(&self) -> Tools {
        Tools { ctx: self.clone(), desk: self.host().desk().unwrap_or_default(), only: None }
    }

    /// Says that something came in which is data and no instruction: a document, a page. From now on tools of high risk
    /// are reached only as the rules of the node say. What tools, other agents and shared state give is noted without this.
    pub fn taint(&self, origin: &str) {
        if let Some(desk) = self.host().desk() {
            desk.taint().add(origin);
        }
    }

    /// Where what this request knows comes from, beside what it was asked; empty at its start, unless it was handed on by
    /// another agent.
    pub fn origins(&self) -> Vec<String> {
        self.host().desk().map(|desk| desk.taint().origins()).unwrap_or_default()
    }
}

impl Tools {
    /// Only these of them, by name or by family (`docs.*`). What was not granted is not added.
    #[must_use]
    pub fn only<S: Into<String>>(&self, patterns: impl IntoIterator<Item = S>) -> Self {
        Self { only: Some(patterns.into_iter().map(Into::into).collect()), ..self.clone() }
    }

    /// What can be called, by name.
    pub fn offers(&self) -> Vec<Offer> {
        let tools = self.desk.toolbox().list();
        tools.iter().map(|entry| entry.offer()).filter(|offer| self.may(&offer.name)).cloned().collect()
    }

    /// Calls a tool. A call that reads is a step, one that writes an effect: a later attempt of the task gets the record.
    ///
    /// # Errors
    /// `Failed` with a code of `CB07xx`: it was not granted (`CB0701`) or is not there (`CB0702`), the arguments do not fit
    /// (`CB0703`), what the request knows may not reach it (`CB0704`), a limit is reached (`CB0705`), or the tool's own
    /// failure; `CB0040` when people did not approve it; `Exhausted` when the budget leaves no room.
    ///
    /// # Cancellation
    /// Dropping it ends the call. One that writes is then in doubt, as any effect.
    pub async fn call(&self, tool: &str, arguments: impl Into<Value>) -> Result<Output, Error> {
        let entry = self.desk.toolbox().get(tool);
        let offer = entry.as_ref().map(|entry| entry.offer().clone());
        let wanted = Wanted { tool, offer, entry, arguments: arguments.into(), is_told: false };
        run(self, wanted).await?.or_fault(tool)
    }

    /// Whether a tool is among them.
    pub(super) fn may(&self, tool: &str) -> bool {
        let is_meant = |only: &Arc<[String]>| only.iter().any(|pattern| covers(pattern, tool));
        self.desk.grants(tool) && self.only.as_ref().is_none_or(is_meant)
    }
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.offers().iter().map(|offer| &offer.name)).finish()
    }
}
