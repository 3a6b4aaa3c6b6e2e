//! Work on a run until it ends, is interrupted, or cannot go on.
//!
//! Ctrl-C and a request to terminate hand back what is held, so that another process can go on at once, and say how; a
//! second one ends the process on the spot.

use callboard::broker::code;
use callboard::broker::id::{RunId, TaskId};
use callboard::broker::problem::Problem;
use callboard::broker::task::Outcome;
use callboard::exit::Exit;

use crate::console::Console;
use crate::failure::Failure;
use crate::follow::{Follow, Notes};
use crate::ids::short;
use crate::output::count;
use crate::people::only_people;
use crate::store::Store;

/// The most questions that are named when a run waits for people.
const SHOWN: usize = 5;

/// A run that ended.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    follow: Follow,
}

impl Ended {
    /// Leaves the last picture of its tasks on the screen.
    pub(crate) async fn show(self, notes: &Notes) -> Result<(), Failure> {
        let run = self.outcome.run.clone();
        self.follow.close(&run, notes).await
    }
}

/// What ends the following of a run.
enum End {
    Outcome(Box<Outcome>),
    Interrupted,
    OwnerGone,
    People(Vec<TaskId>),
}

/// Follows `task` of `run` to its end. When the process that works on it dies, a store that is to be worked on is taken
/// over at once. Unless it is to `stay`, it ends with 6 when nothing but people is waited for; what is in memory stays, for
/// there nobody else could answer.
pub(crate) async fn until_end(
    console: &Console,
    store: &mut Store,
    run: &RunId,
    task: &TaskId,
    stay: bool,
) -> Result<Ended, Failure> {
    loop {
        let (broker, stay) = (store.broker.clone(), stay || store.is_memory());
        let mut follow = Follow::begin(console, store, run, task).await?;
        let end = tokio::select! {
            outcome = follow.end() => End::Outcome(Box::new(outcome?)),
            () = store.interrupted() => End::Interrupted,
            gone = store.owner_gone() => gone.map(|()| End::OwnerGone)?,
            error = node_gave_up(store) => return Err(error),
            questions = only_people(&broker, run), if !stay => End::People(questions),
        };
        match end {
            End::Outcome(outcome) => return Ok(Ended { outcome: *outcome, follow }),
            End::Interrupted => return Err(interrupt(console, store, run).await),
            End::People(questions) => return Err(leave_to(console, store, run, &questions).await),
            End::OwnerGone if store.works() => *store = console.work().await?,
            End::OwnerGone => {
                // It may have ended with its last breath.
                if let Some(Some(outcome)) = store
                    .broker
                    .tasks
                    .get(vec![task.clone()])
                    .await?
                    .pop()
                    .map(|view| view.and_then(|view| view.outcome))
                {
                    return Ok(Ended { outcome, follow });
                }
                let problem = Problem::new(code::UNREACHABLE, "the process that worked on it has ended");
                let resume = format!("callboard workflow resume {}", short(run.as_str()));
                return Err(problem.note("what was recorded is kept").fix(resume).into());
            }
        }
    }
}

/// Ends the node of this process, if there is one, once nothing of it is needed any more.
pub(crate) async fn close(store: &Store) -> Result<(), Failure> {
    match store.node() {
        Some(node) => node.shutdown().await.map_err(Failure::from),
        None => Ok(()),
    }
}

/// Hands back what is held, and says how to go on.
async fn interrupt(console: &Console, store: &Store, run: &RunId) -> Failure {
    let id = short(run.as_str());
    match store.node() {
        Some(node) => {
            if let Err(error) = node.hand_back().await {
                tracing::debug!(%error, "not everything was handed back");
            }
            match store.is_memory() {
                true => console.out.note("interrupted: this run was in memory and is gone"),
                false => {
                    let resume = console.resume(id);
                    console.out.note(&format!("interrupted: everything was handed back\nresume  {resume}"));
                }
            }
        }
        None => {
            let watch = console.command(&format!("task watch {id}"));
            let where_ = if store.nodes().is_some() { "on the nodes" } else { "in the process that owns the store" };
            console.out.note(&format!("interrupted: the run goes on {where_}\nwatch   {watch}"));
        }
    }
    Failure::silent(Exit::Interrupted)
}

/// Hands back what is held, and says who is waited for and how to go on.
async fn leave_to(console: &Console, store: &Store, run: &RunId, questions: &[TaskId]) -> Failure {
    let id = short(run.as_str());
    let go_on = match store.node() {
        Some(node) => {
            if let Err(error) = node.hand_back().await {
                tracing::debug!(%error, "not everything was handed back");
            }
            format!("resume  {}", console.resume(id))
        }
        None => format!("watch   {}", console.command(&format!("task watch {id}"))),
    };
    let mut said = format!("waiting for a person: {}", count(questions.len(), "question"));
    for question in questions.iter().take(SHOWN) {
        let show = console.command(&format!("inbox show {}", short(question.as_str())));
        said.push_str(&format!("\nasked   {show}"));
    }
    console.out.note(&format!("{said}\n{go_on}"));
    Failure::silent(Exit::Waiting)
}

async fn node_gave_up(store: &Store) -> Failure {
    match store.node() {
        Some(node) => node.gave_up().await.into(),
        None => std::future::pending().await,
    }
}
