//! What a workflow says about its own budget, wherever its document comes in as the input of a task.

use callboard_broker::budget::Budget;
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use serde::Deserialize;

use super::WORKFLOW;
use crate::settings::budget::BudgetDoc;

/// Of a document, what this is about.
#[derive(Deserialize)]
struct Budgeted {
    #[serde(default)]
    budget: BudgetDoc,
}

/// The budget that the input of a task declares: `budget` of a workflow's document. Nothing is set for any other
/// capability, nor for an input that is no such document, which whoever claims the task will say.
pub fn declared_budget(capability: &CapabilityName, input: &Payload) -> Budget {
    if capability.as_str() != WORKFLOW.name() {
        return Budget::default();
    }
    input.read::<Budgeted>().map(|doc| doc.budget.budget()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_the_document_of_a_workflow_declares_a_budget() {
        let doc = json!({ "name": "x", "budget": { "tasks": 3 }, "task": [] });
        let declared = |capability: &str, input: &Value| {
            declared_budget(&CapabilityName::parse(capability).unwrap(), &input.clone().into()).tasks
        };
        assert_eq!(declared("workflow", &doc), Some(3));
        assert_eq!(declared("diag.echo", &doc), None);
        for other in [json!(null), json!("x"), json!({ "name": "x" }), json!({ "budget": { "task": 3 } })] {
            assert_eq!(declared("workflow", &other), None, "{other}");
        }
    }
}
