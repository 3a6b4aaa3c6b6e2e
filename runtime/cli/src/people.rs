//! Whether a run waits for nothing but people: then nobody has to stand by.

use std::time::Duration;

use callboard::broker::Broker;
use callboard::broker::id::{RunId, TaskId};
use callboard::broker::task::Status;
use callboard::broker::tasks::{TaskFilter, TaskView};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(300);
/// So many looks in a row must see it: between an answer and who goes on with it a run stands still for a moment.
const LOOKS: u32 = 3;

/// Resolves with the questions when nothing of the run is at work or can be: all that has not ended is a question, or is
/// laid aside until one is answered.
pub(crate) async fn only_people(broker: &Broker, run: &RunId) -> Vec<TaskId> {
    let mut seen = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let status = vec![Status::Pending, Status::InProgress];
        let filter = TaskFilter { run: Some(run.clone()), status, ..TaskFilter::default() };
        // A store that cannot be asked says nothing about people; whoever follows the run hears of it.
        let open = broker.tasks.list(filter).await.unwrap_or_default();
        let questions = questions(&open);
        seen = if questions.is_empty() { 0 } else { seen + 1 };
        if seen >= LOOKS {
            return questions;
        }
    }
}

fn questions(open: &[TaskView]) -> Vec<TaskId> {
    let is_question = |view: &&TaskView| view.task.capability.is_human() && view.status == Status::Pending;
    let stands_still = open.iter().all(|view| is_question(&view) || view.parked);
    let asked = open.iter().filter(is_question).map(|view| view.task.id.clone());
    if stands_still { asked.collect() } else { Vec::new() }
}
