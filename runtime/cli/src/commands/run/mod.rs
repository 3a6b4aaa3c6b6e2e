//! `callboard run`: a question to the research team, or a workflow, worked on here until it ends.

mod ask;
mod brief;
mod flow;

use std::path::PathBuf;

use callboard::BudgetDoc;
use callboard::broker::Broker;
use callboard::broker::budget::Budget;
use callboard::broker::clock::millis;
use callboard::broker::code;
use callboard::broker::id::RunId;
use callboard::broker::payload::Payload;
use callboard::broker::problem::Problem;
use callboard::broker::subject::CapabilityName;
use callboard::broker::task::{Outcome, Status, Task};
use callboard::broker::tasks::TaskView;
use callboard::exit::Exit;
use callboard::period::Period;
use callboard::team::EXECUTIVE;
use callboard::workflow::WORKFLOW;
use clap::Args;

use crate::console::{Console, Place};
use crate::failure::{Failure, problem_of};
use crate::ids::{self, short};
use crate::models::{self, Here};
use crate::output::{Done, answer, then};
use crate::store::Store;
use crate::work::{self, Ended};
use crate::{figures, follow, services};

/// Answer a question from documents, or run a workflow.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// A workflow file
    #[arg(value_name = "WORKFLOW.toml", required_unless_present = "ask", conflicts_with = "ask")]
    file: Option<PathBuf>,
    /// An input of the workflow: JSON, or text as it is
    #[arg(short, long = "input", value_name = "KEY=VALUE", conflicts_with = "ask")]
    inputs: Vec<String>,
    /// A question for the research team; several sentences are several questions
    #[arg(long, value_name = "QUESTION", requires = "sources")]
    ask: Option<String>,
    /// Where to look: folders, files, SQLite databases, http(s) addresses
    #[arg(long, value_name = "PATH|URL", num_args = 1.., requires = "ask")]
    sources: Vec<String>,
    #[command(flatten)]
    here: Here,
    /// End with 5 when the result is less than was asked for
    #[arg(long)]
    strict: bool,
    /// Stay while only people are waited for, instead of ending with 6
    #[arg(long)]
    stay: bool,
    /// A name for the run instead of a new id; a run of this name that is there is joined
    #[arg(long = "run", value_name = "NAME")]
    id: Option<String>,
    /// How long the whole run may take, such as 90s or 2h; then it ends with 4. Default: the wall time of its budget, or 24h
    #[arg(long, value_name = "TIME")]
    deadline: Option<Period>,
    /// What it may use, such as tasks=100,steps=500,tokens=20000,cost=1.5,wall=10m; over the workflow's own
    #[arg(long, value_name = "LIMITS", default_value = "", hide_default_value = true)]
    budget: BudgetDoc,
}

/// What is to be run.
#[derive(Debug)]
struct Job {
    capability: CapabilityName,
    input: Payload,
    /// What the workflow says that it may use.
    budget: Budget,
}

/// Runs it.
pub(crate) async fn run(of: Run, console: &Console) -> Done {
    let console = &of.here.over(console)?;
    // What is typed wrong is told before anything is opened; what a broker's nodes serve, only they know.
    let far = match console.place {
        Place::Broker(_) => Some(console.work().await?),
        _ => None,
    };
    let served = match &far {
        Some(store) => store.served().await?,
        None => {
            let own = console.config.agents.keys().map(ToString::to_string);
            own.chain(services::capabilities()).collect()
        }
    };
    let job = match (&of.ask, &of.file) {
        (Some(question), _) => ask::job(question, &of.sources)?,
        (None, Some(file)) => flow::job(file, &of.inputs, &served)?,
        (None, None) => return Err(Problem::new(code::MISSING_ARGUMENT, "there is nothing to run").into()),
    };
    let budget = of.budget.budget().or(job.budget);
    models::priced(&budget, console)?;
    let run = match &of.id {
        Some(name) => RunId::parse(name).map_err(|bad| Problem::new(code::BAD_VALUE, format!("--run: {bad}")))?,
        None => RunId::fresh(),
    };
    console.out.note(&format!("run     {run}"));
    let mut store = match far {
        Some(store) => store,
        None => console.work().await?,
    };
    of.here.refuse_beside(&store, console)?;
    if job.capability.as_str() == EXECUTIVE.name() {
        let engine = models::engine(&console.config.models, &store);
        console.out.note(&console.out.page.field("engine", 7, &engine));
    }
    require(&store, console, &job.capability).await?;
    let job = ask::sent(job, &store, console).await?;
    let mut task = Task {
        from: Some("cli".into()),
        ..Task::root(run.clone(), job.capability, job.input, store.broker.clock.now())
    };
    if let Some(limit) = of.deadline {
        task.deadline = task.created_at.saturating_add(millis(limit.length()));
    }
    let task = task.budgeted(budget.or(console.config.budget.budget()));
    submit(&store.broker, task).await?;
    let root = ids::root(&store.broker, &run).await?;
    let root = root.map_or_else(|| callboard::broker::id::TaskId::root(&run), |view| view.task.id);
    let ended = work::until_end(console, &mut store, &run, &root, of.stay).await?;
    report(console, &store, ended, of.strict).await
}

/// Refuses what nobody would take.
async fn require(store: &Store, console: &Console, capability: &CapabilityName) -> Result<(), Failure> {
    let served = store.served().await?;
    if served.iter().any(|name| name == capability.as_str()) {
        return Ok(());
    }
    if store.nodes().is_some() {
        let problem = Problem::new(code::UNSERVED, format!("no node on {} serves {capability}", console.place));
        let problem = problem.allowed_near(capability.as_str(), served);
        return Err(problem.fix(console.command("node start")).into());
    }
    let what = format!("the process that owns {} does not serve {capability}", store.broker.about);
    let problem = Problem::new(code::OWNED, what).allowed_near(capability.as_str(), served);
    Err(Failure::from(problem.fix("wait until it has ended, or use another store: --store PATH")))
}

/// Stores a task; whether it was new.
///
/// # Errors
/// What the store says.
pub(crate) async fn submit(broker: &Broker, task: Task) -> Result<callboard::broker::tasks::Submitted, Failure> {
    let answer = broker.tasks.submit(vec![task]).await.pop();
    Ok(answer.unwrap_or_else(|| Err(callboard::Error::unavailable("the store gave no answer")))?)
}

/// What came of a run whose task has ended, as `run` and `workflow resume` print it. Ends the node.
pub(crate) async fn report(console: &Console, store: &Store, ended: Ended, strict: bool) -> Done {
    let outcome = ended.outcome.clone();
    let views = follow::stored(&store.broker, &outcome.run).await?;
    let (kept, completed) = (!store.is_memory(), outcome.status == Status::Completed);
    let failure = failure(&outcome, &views, kept);
    let done = match outcome.capability.as_str() == EXECUTIVE.name() {
        true => {
            let brief = brief::Brief::of(&outcome, &views, strict, failure);
            ended.show(brief.notes()).await?;
            if completed {
                console.out.note(&console.out.page.field("read", 7, &brief.read()));
            }
            if console.out.has_company() {
                console.out.note("");
            }
            then(answer(brief), &if kept { hints(console) } else { String::new() })
        }
        false => {
            ended.show(&follow::Notes::new()).await?;
            let result = flow::Result::of(&outcome, &views, strict, failure);
            if let Some(why) = result.degraded() {
                console.out.note(&console.out.page.field("degraded", 8, why));
            }
            console.out.note(&console.out.page.field("figures", 7, &figures::metrics(&views).line()));
            answer(result)
        }
    };
    work::close(store).await?;
    done
}

/// What somebody who watches could do after a brief.
fn hints(console: &Console) -> String {
    console.next(&[
        ("what each task did", console.command("task ls --run last")),
        ("what can be read", console.command("explain sources")),
        ("what a crash does", console.command("explain resume")),
    ])
}

/// What a run is told to have failed with; none when it was completed.
fn failure(outcome: &Outcome, views: &[TaskView], kept: bool) -> Option<Failure> {
    if outcome.status == Status::Completed {
        return None;
    }
    let exit = match outcome.status {
        Status::Expired => Exit::Deadline,
        // Sources that nobody can read were typed wrong, however late that is seen.
        _ if outcome.error.as_ref().is_some_and(|error| error.code.starts_with("CB03")) => Exit::Usage,
        _ => Exit::Failed,
    };
    let error = outcome.clone().into_result().err()?;
    let culprit = culprit(views);
    let problem = match culprit.and_then(|view| Some((view, view.outcome.as_ref()?.error.as_ref()?))) {
        // What a team member says is the cause; a workflow says itself which of its tasks failed, and why.
        Some((view, cause)) if view.task.id != outcome.task && outcome.capability.as_str() != WORKFLOW.name() => {
            let code = code::find(&cause.code).map_or(code::FAILED, |known| known.code);
            let place = format!("it began with {}, task {}", view.task.capability, short(view.task.id.as_str()));
            Problem::new(code, cause.message.clone()).note(place)
        }
        _ => problem_of(&error),
    };
    let shown = culprit.map_or(&outcome.task, |view| &view.task.id);
    let problem = match kept {
        true => problem.fix(format!("callboard task show {}", short(shown.as_str()))),
        false => problem,
    };
    Some(Failure::from(problem).exit(exit))
}

/// The task at which it began: the first that failed by itself and not for one of its children.
fn culprit(views: &[TaskView]) -> Option<&TaskView> {
    let failed = |view: &&TaskView| matches!(view.status, Status::Failed | Status::Expired);
    let has_failed_child =
        |view: &TaskView| views.iter().filter(failed).any(|other| other.task.parent.as_ref() == Some(&view.task.id));
    let first = views.iter().filter(failed).filter(|view| !has_failed_child(view));
    first.min_by_key(|view| view.outcome.as_ref().map(|outcome| outcome.finished_at))
}
