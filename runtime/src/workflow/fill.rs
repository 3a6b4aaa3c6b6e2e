//! From the outputs of the tasks that have ended: the input of the next one, and at last the workflow's own result.

use callboard_broker::problem::Problem;
use serde_json::{Map, Value};

use super::document::{Outputs, TaskDoc, WorkflowDoc};
use super::graph::Graph;
use super::template::Values;

impl WorkflowDoc {
    /// What a task is given, with its references filled in. All that it waits for must be in `outputs`.
    ///
    /// # Errors
    /// `CB0117` when an output has no such field, `CB0118` when the workflow lacks an input: both
    /// mean that the task fails without having been started.
    pub fn task_input(&self, task: &TaskDoc, outputs: &Outputs) -> Result<Value, Problem> {
        self.values(outputs)
            .fill(&task.input_template())
            .map_err(|problem| named(problem, &format!("task \"{}\"", task.id)))
    }

    /// What a task is for, with its references filled in.
    ///
    /// # Errors
    /// As [`task_input`](Self::task_input).
    pub fn task_description(&self, task: &TaskDoc, outputs: &Outputs) -> Result<Option<String>, Problem> {
        let Some(text) = &task.description else { return Ok(None) };
        let filled = self.values(outputs).fill(&Value::String(text.clone()));
        let filled = filled.map_err(|problem| named(problem, &format!("task \"{}\"", task.id)))?;
        Ok(Some(filled.as_str().map_or_else(|| filled.to_string(), str::to_owned)))
    }

    /// The result of the workflow once all its tasks have ended; see [`WorkflowDoc`] for what it is without an `output`.
    ///
    /// # Errors
    /// `CB0117` when `output` refers to a field that is not there.
    pub fn result(&self, graph: &Graph, outputs: &Outputs) -> Result<Value, Problem> {
        let of = |id: &str| outputs.get(id).cloned().unwrap_or(Value::Null);
        match (&self.output, graph.ends().as_slice()) {
            (Some(output), _) => self.values(outputs).fill(output).map_err(|problem| named(problem, "`output`")),
            (None, [end]) => Ok(of(end)),
            (None, ends) => Ok(ends.iter().map(|end| ((*end).to_owned(), of(end))).collect::<Map<_, _>>().into()),
        }
    }

    fn values<'a>(&'a self, outputs: &'a Outputs) -> Values<'a> {
        Values { inputs: &self.inputs, outputs }
    }
}

fn named(problem: Problem, whose: &str) -> Problem {
    Problem { what: format!("{whose}: {}", problem.what), ..problem }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flow(output: Option<Value>) -> WorkflowDoc {
        let mut doc: WorkflowDoc = serde_json::from_value(json!({"name": "w", "inputs": {"tone": "dry"}, "task": [
            {"id": "a", "capability": "x"},
            {"id": "b", "description": "write {{a.title}} in a {{inputs.tone}} tone", "input": {"notes": "{{a}}"}},
            {"id": "c", "capability": "x", "depends_on": ["a"]}]}))
        .unwrap();
        doc.output = output;
        doc
    }

    fn outputs(of_a: Value) -> Outputs {
        [("a".to_owned(), of_a), ("b".to_owned(), json!("text")), ("c".to_owned(), json!(3))].into()
    }

    #[test]
    fn a_described_task_gets_its_description_beside_its_input() {
        let (flow, outputs) = (flow(None), outputs(json!({"title": "Otters"})));
        let input = flow.task_input(&flow.tasks[1], &outputs).unwrap();
        assert_eq!(input, json!({"notes": {"title": "Otters"}, "description": "write Otters in a dry tone"}));
        assert_eq!(flow.task_input(&flow.tasks[0], &outputs).unwrap(), json!({}));
        let text = flow.task_description(&flow.tasks[1], &outputs).unwrap();
        assert_eq!(text.as_deref(), Some("write Otters in a dry tone"));
    }

    #[test]
    fn a_missing_field_names_the_task_that_needed_it() {
        let problem = flow(None).task_input(&flow(None).tasks[1], &outputs(json!({"titel": 1}))).unwrap_err();
        assert_eq!(problem.what, "task \"b\": {{a.title}}: the output of \"a\" has no field \"title\"");
        assert_eq!(problem.fix.as_deref(), Some("{{a.titel}}"));
    }

    #[test]
    fn the_result_is_what_the_file_says_or_what_nothing_else_needs() {
        let result = |flow: WorkflowDoc| flow.result(&flow.check(None).unwrap(), &outputs(json!({"title": "t"})));
        assert_eq!(result(flow(None)).unwrap(), json!({"b": "text", "c": 3}));
        assert_eq!(result(flow(Some(json!(["{{a.title}}", "{{c}}"])))).unwrap(), json!(["t", 3]));
        let mut one = flow(None);
        one.tasks.truncate(2);
        assert_eq!(result(one).unwrap(), json!("text"));
        assert!(result(flow(Some(json!("{{c.x}}")))).unwrap_err().what.starts_with("`output`: {{c.x}}: "));
    }
}
