//! `callboard task fork`: a new run from any record of another.

use callboard::Error;
use callboard::broker::code;
use callboard::broker::id::RunId;
use callboard::broker::problem::Problem;
use callboard::broker::subject::CapabilityName;
use callboard::fork::Fork;
use callboard::llm::ModelName;
use callboard::workflow::input_argument;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::console::Console;
use crate::failure::Failure;
use crate::ids::{self, short};
use crate::output::{Done, Page, Show, answer, then};

#[derive(Args, Debug)]
pub(crate) struct OfFork {
    /// A task's id, a unique ending of one, or `last`: the newest run
    task: String,
    /// The last record that is inherited, as `task show --log` numbers them; 0: none. Default: all
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Change the input: messages.0.text="hi", /a/b=1, or .={"whole": "input"}
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Another agent: whoever serves this capability
    #[arg(long, value_name = "CAPABILITY", value_parser = CapabilityName::parse)]
    capability: Option<CapabilityName>,
    /// Another model, for it and all that it delegates from now on; `extractive` for none
    #[arg(long, value_name = "PROVIDER/NAME", value_parser = model)]
    model: Option<ModelName>,
    /// A name for the new run instead of a new id
    #[arg(long = "run", value_name = "NAME")]
    id: Option<String>,
}

/// Forks a task.
pub(super) async fn fork(of: OfFork, console: &Console) -> Done {
    let changes = of.set.iter().map(|text| assignment(text)).collect::<Result<Vec<_>, Problem>>()?;
    let run = of.id.as_deref().map(RunId::parse).transpose();
    let run = run.map_err(|bad| Problem::new(code::BAD_VALUE, format!("--run: {bad}")))?;
    let store = console.touch().await?;
    let view = ids::task(&store.broker, &of.task).await?;
    let fork = Fork::of(&store.broker, view.task.id.clone());
    let fork = of.from.into_iter().fold(fork, Fork::from);
    let fork = changes.into_iter().fold(fork, |fork, (path, value)| fork.set(path, value));
    let fork = of.capability.into_iter().fold(fork, Fork::capability);
    let fork = of.model.into_iter().fold(fork, |fork, name| fork.model(name.to_string()));
    let fork = run.into_iter().fold(fork, Fork::run);
    let made = match fork.submit().await {
        Ok(made) => made.task,
        Err(Error::Decode { what }) => {
            let log = console.command(&format!("task show {} --log", short(view.task.id.as_str())));
            return Err(Failure::from(Problem::new(code::BAD_VALUE, what).fix(log)));
        }
        Err(error) => return Err(error.into()),
    };
    let ending = short(made.id.as_str()).to_owned();
    let said = match store.is_worked_on() {
        true => console.next(&[("follow it", console.command(&format!("task watch {ending}")))]),
        false => format!("do it now  {}", console.command(&format!("workflow resume {ending}"))),
    };
    let inherited = made.forked.as_ref().map_or(0, |forked| forked.upto);
    let (id, run, of) = (made.id.to_string(), made.run.to_string(), view.task.id.to_string());
    then(answer(Forked { id, run, of, from: inherited }), &said)
}

/// The name of a model. Whether a node has it is known where the task runs.
fn model(text: &str) -> Result<ModelName, String> {
    ModelName::try_from(text.to_owned())
}

/// `PATH=VALUE`, the value as JSON or as text.
fn assignment(text: &str) -> Result<(String, Value), Problem> {
    input_argument(text).map_err(|problem| problem.fix("--set question=\"why?\""))
}

#[derive(Serialize)]
struct Forked {
    id: String,
    run: String,
    /// The task that was forked.
    of: String,
    /// The last record that is inherited.
    from: u64,
}

impl Show for Forked {
    fn text(&self, _: Page) -> String {
        format!("forked  {}  from record {} of {}\n", self.id, self.from, self.of)
    }
}
