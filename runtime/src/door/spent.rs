//! What a run has used of models, from its log: a call of a model is a step, and its response says what it took. A step is
//! known for one by that, because an agent may name it as it likes.

use callboard_agents::llm::{Response, Usage};
use callboard_broker::Broker;
use callboard_broker::error::Result;
use callboard_broker::id::RunId;
use callboard_broker::payload::Payload;
use callboard_broker::task::Entry;
use callboard_broker::tasks::TaskFilter;

/// The most tasks of a run that are looked through.
const MAX_TASKS: usize = 1_000;

/// The tokens of all calls of models that a run recorded; zero where it called none.
///
/// # Errors
/// What the broker says.
pub async fn spent(broker: &Broker, run: &RunId) -> Result<Usage> {
    let filter = TaskFilter { run: Some(run.clone()), limit: MAX_TASKS, ..TaskFilter::default() };
    let mut all = Usage::default();
    for view in broker.tasks.list(filter).await? {
        for record in broker.tasks.log(view.task.id).await? {
            let Entry::Step { value, .. } = record.entry else { continue };
            if let Some(usage) = used(&value) {
                all.input_tokens = all.input_tokens.saturating_add(usage.input_tokens);
                all.output_tokens = all.output_tokens.saturating_add(usage.output_tokens);
                all.estimated |= usage.estimated;
            }
        }
    }
    Ok(all)
}

/// What the call took that a step records; none when it is no call of a model.
fn used(step: &Payload) -> Option<Usage> {
    let value = step.value().ok()?;
    let is_response = ["model", "usage", "finish"].iter().all(|field| value.get(field).is_some());
    is_response.then(|| step.read::<Response>().ok()).flatten().map(|response| response.usage)
}

#[cfg(test)]
mod tests {
    use callboard_agents::Value;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_response_is_known_by_its_shape() {
        let usage = Usage { input_tokens: 40, output_tokens: 10, estimated: false };
        let response = Response { usage, ..Response::text("yes") };
        assert_eq!(used(&Payload::of(response)), Some(usage));
        let others: [Value; 3] = [json!("yes"), json!({ "usage": { "input_tokens": 7 } }), json!(null)];
        assert!(others.into_iter().all(|other| used(&other.into()).is_none()));
    }
}
