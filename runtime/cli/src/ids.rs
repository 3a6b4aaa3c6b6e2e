//! Which run or task a person means: a whole id, an ending of one that fits only one, or `last`.
//!
//! An ending rather than a beginning, because an id begins with the time and ids made within a minute share that.

use callboard::broker::Broker;
use callboard::broker::code;
use callboard::broker::id::{RunId, TaskId};
use callboard::broker::problem::Problem;
use callboard::broker::tasks::{TaskFilter, TaskView};

use crate::failure::Failure;

/// The word for the newest one.
const LAST: &str = "last";
/// How many of several are listed.
const LISTED: usize = 8;
/// What is shown of a long id, and what is enough of it to find it again.
const SHOWN: usize = 8;

/// The task that is meant; `last` is the root of the newest run.
pub(crate) async fn task(broker: &Broker, text: &str) -> Result<TaskView, Failure> {
    if text == LAST {
        return newest(broker).await;
    }
    if let Ok(id) = TaskId::parse(text)
        && let Some(Some(view)) = broker.tasks.get(vec![id]).await?.into_iter().next()
    {
        return Ok(view);
    }
    one(broker, text, TaskFilter::default(), "task").await
}

/// The newest generation of the root of the run that is meant. The id of any of its tasks stands for it too.
pub(crate) async fn run(broker: &Broker, text: &str) -> Result<TaskView, Failure> {
    if text == LAST {
        return newest(broker).await;
    }
    let named = match TaskId::parse(text) {
        Ok(id) => broker.tasks.get(vec![id]).await?.into_iter().next().flatten(),
        Err(_) => None,
    };
    let named = match named {
        Some(view) => view,
        None => one(broker, text, TaskFilter { roots: true, ..TaskFilter::default() }, "run").await?,
    };
    root(broker, &named.task.run).await?.ok_or_else(|| unknown("run", text, &[]).into())
}

/// The newest generation of a run's root.
pub(crate) async fn root(broker: &Broker, run: &RunId) -> Result<Option<TaskView>, Failure> {
    let filter =
        TaskFilter { run: Some(run.clone()), roots: true, newest_first: true, limit: 1, ..TaskFilter::default() };
    Ok(broker.tasks.list(filter).await?.into_iter().next())
}

/// What is shown of an id: its end, when it is long.
pub(crate) fn short(id: &str) -> &str {
    let cut = id.len().saturating_sub(SHOWN);
    if id.len() > SHOWN + 4 { id.get(cut..).unwrap_or(id) } else { id }
}

async fn newest(broker: &Broker) -> Result<TaskView, Failure> {
    let filter = TaskFilter { roots: true, newest_first: true, limit: 1, ..TaskFilter::default() };
    let newest = broker.tasks.list(filter).await?.into_iter().next();
    newest.ok_or_else(|| {
        let problem = Problem::new(code::NOTHING_YET, "nothing has been run yet, so there is no `last`");
        problem.fix("callboard run --help").into()
    })
}

/// The only one that ends so.
async fn one(broker: &Broker, text: &str, filter: TaskFilter, noun: &str) -> Result<TaskView, Failure> {
    let suffix = text.trim_start_matches(['.', '…']);
    let filter = TaskFilter { newest_first: true, limit: LISTED + 1, ..filter };
    let ending = TaskFilter { suffix: Some(suffix.to_owned()), ..filter.clone() };
    let mut found = match suffix.is_empty() {
        true => Vec::new(),
        false => broker.tasks.list(ending).await?,
    };
    match (found.len(), found.pop()) {
        (1, Some(only)) => Ok(only),
        (0, _) | (_, None) => {
            let newest = broker.tasks.list(TaskFilter { limit: 3, ..filter }).await?;
            Err(unknown(noun, text, &newest).into())
        }
        (many, Some(last)) => {
            found.push(last);
            let many = if many > LISTED { format!("more than {LISTED}") } else { many.to_string() };
            let problem = Problem::new(code::AMBIGUOUS_ID, format!("{many} ids end with \"{suffix}\""));
            let ends = found.iter().take(LISTED).map(|view| ending_of(view.task.id.as_str(), suffix.len() + 4));
            Err(problem.allowed(ends).fix("give more characters of the end").into())
        }
    }
}

fn unknown(noun: &str, text: &str, newest: &[TaskView]) -> Problem {
    let problem = Problem::new(code::UNKNOWN_ID, format!("there is no {noun} \"{text}\""));
    let verb = if noun == "run" { "workflow ls" } else { "task ls" };
    let newest = newest.iter().map(|view| short(view.task.id.as_str()).to_owned());
    problem.allowed(newest).fix(format!("callboard {verb}"))
}

fn ending_of(id: &str, length: usize) -> String {
    id.get(id.len().saturating_sub(length.max(SHOWN))..).unwrap_or(id).to_owned()
}

#[cfg(test)]
mod tests {
    use callboard::broker::memory;
    use callboard::broker::payload::Payload;
    use callboard::broker::subject::CapabilityName;
    use callboard::broker::task::Task;

    use super::*;

    async fn with(runs: &[&str]) -> Broker {
        let broker = memory::open(memory::Options::default());
        for run in runs {
            let echo = CapabilityName::parse("diag.echo").unwrap();
            let task = Task::root(RunId::parse(run).unwrap(), echo, Payload::null(), broker.clock.now());
            broker.tasks.submit(vec![task]).await.pop().unwrap().unwrap();
        }
        broker
    }

    fn problem(failure: Failure) -> Problem {
        failure.problems.into_iter().next().unwrap()
    }

    #[tokio::test]
    async fn an_ending_that_fits_one_is_enough_and_one_that_fits_several_lists_them() {
        let broker = with(&["2026-a-17", "2026-b-17", "2026-b-18"]).await;
        assert_eq!(task(&broker, "18").await.unwrap().task.id.as_str(), "2026-b-18");
        assert_eq!(run(&broker, "a-17").await.unwrap().task.run.as_str(), "2026-a-17");
        assert_eq!(run(&broker, LAST).await.unwrap().task.run.as_str(), "2026-b-18");
        let several = problem(task(&broker, "17").await.unwrap_err());
        assert_eq!((several.code, several.allowed), (code::AMBIGUOUS_ID, vec!["026-b-17".into(), "026-a-17".into()]));
        let none = problem(run(&broker, "2026").await.unwrap_err());
        assert_eq!((none.code, none.allowed.len()), (code::UNKNOWN_ID, 3));
    }

    #[tokio::test]
    async fn nothing_has_no_last() {
        assert_eq!(problem(task(&with(&[]).await, LAST).await.unwrap_err()).code, code::NOTHING_YET);
    }

    #[test]
    fn a_long_id_is_shown_by_its_end() {
        assert_eq!(short("0198f3c2-7a41-7c3e-9d52-4b1f6e0a8c17"), "6e0a8c17");
        assert_eq!(short("pay-17"), "pay-17");
    }
}
