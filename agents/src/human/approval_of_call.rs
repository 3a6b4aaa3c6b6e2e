//! Calls of tools that people approve, edit or reject before they are made.

use std::sync::Arc;

use callboard_broker::error::Result;
use serde_json::{Value, json};

use super::approval::{Approval, Verdict};
use crate::host::Host;

/// A call that waits for people.
pub(crate) struct OfCall<'a> {
    /// The tool.
    pub(crate) tool: &'a str,
    /// What it would get: people see all of it, as it is.
    pub(crate) arguments: &'a Value,
    /// What it takes.
    pub(crate) schema: &'a Value,
    /// The key of the question.
    pub(crate) key: String,
    /// What else they have to know.
    pub(crate) about: Value,
}

impl Approval {
    /// Asks; `fits` says whether arguments that were edited can be used.
    ///
    /// # Errors
    /// As for [`of_order`](Self::of_order).
    pub(crate) async fn of_call(
        &self,
        host: &Arc<dyn Host>,
        call: OfCall<'_>,
        fits: &(dyn Fn(&Value) -> bool + Sync),
    ) -> Result<Verdict> {
        let facts = host.facts();
        let mut context = json!({
            "tool": call.tool,
            "arguments": call.arguments,
            "agent": &*facts.agent,
            "task": facts.task.as_ref().map(ToString::to_string),
        });
        for (name, value) in call.about.as_object().into_iter().flatten() {
            context[name] = value.clone();
        }
        let words = format!("may the tool {} be called with this? approve, edit or reject it", call.tool);
        let question = self.put(words, context, call.schema);
        self.verdict(host, question, Some(call.key), call.tool, fits).await
    }
}
