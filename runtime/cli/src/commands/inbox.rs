//! `callboard inbox`: what people are asked, and answering it.

use callboard::Error;
use callboard::broker::code;
use callboard::broker::problem::Problem;
use callboard::broker::task::Status;
use callboard::broker::tasks::Recorded;
use callboard::human::OnTimeout;
use callboard::inbox::{Asked, Inbox};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::console::Console;
use crate::failure::Failure;
use crate::ids::{self, short};
use crate::output::{Column, Done, Page, Show, answer as reply, table, then, time};
use crate::store::Store;

/// What people are asked, and answering it.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The questions that wait, oldest first
    Ls(Ls),
    /// One of them, with all that is known about it
    Show(Of),
    /// Answer one: of two answers the first holds
    Answer(Answer),
}

#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only of this queue: what follows `human.`
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Of {
    /// The question's id, or a unique ending of one
    question: String,
}

#[derive(Args, Debug)]
pub(crate) struct Answer {
    /// The question's id, or a unique ending of one
    question: String,
    /// One of its choices as it stands, or JSON that fits its schema
    answer: String,
    /// Who answers. Default: the name of this machine's user
    #[arg(long = "as", value_name = "NAME", env = "CALLBOARD_PERSON")]
    who: Option<String>,
}

/// Runs a verb.
pub(crate) async fn inbox(of: Verb, console: &Console) -> Done {
    match of {
        Verb::Ls(of) => ls(&of, console).await,
        Verb::Show(of) => show(&of, console).await,
        Verb::Answer(of) => answer(&of, console).await,
    }
}

async fn ls(of: &Ls, console: &Console) -> Done {
    let store = console.look().await?;
    let open = Inbox::of(&store.broker).open(of.queue.as_deref()).await?;
    let said = if open.is_empty() { "nobody is asked anything" } else { "" };
    then(reply(Questions(open.iter().map(Question::of).collect())), said)
}

async fn show(of: &Of, console: &Console) -> Done {
    let store = console.look().await?;
    let asked = find(&store, &of.question).await?;
    let next = match asked.status {
        Status::Pending => {
            let choice = asked.question.choices.first().map_or("JSON", |choice| choice);
            let verb = format!("inbox answer {} {choice:?}", short(asked.task.id.as_str()));
            console.next(&[("answer it", console.command(&verb))])
        }
        _ => String::new(),
    };
    then(reply(Question::of(&asked)), &next)
}

async fn answer(of: &Answer, console: &Console) -> Done {
    let store = console.touch().await?;
    let asked = find(&store, &of.question).await?;
    let said = match asked.question.choices.is_empty() {
        false => Value::String(of.answer.clone()),
        // What is no JSON is meant as text.
        true => serde_json::from_str(&of.answer).unwrap_or_else(|_| Value::String(of.answer.clone())),
    };
    let user = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or("somebody".into());
    let who = of.who.clone().unwrap_or_else(user);
    let id = asked.task.id.clone();
    let answered = match store.nodes() {
        Some(nodes) => nodes.answer(id.clone(), said.clone(), &who).await,
        None => Inbox::of(&store.broker).answer(id.clone(), said.clone(), &who).await,
    };
    let recorded = match answered {
        Ok(recorded) => recorded,
        Err(Error::Conflict { .. }) => return Err(too_late(&find(&store, id.as_str()).await?).into()),
        Err(Error::Decode { what }) => {
            let problem = Problem::new(code::BAD_VALUE, what);
            return Err(problem.fix(format!("callboard inbox show {}", short(id.as_str()))).into());
        }
        Err(error) => return Err(error.into()),
    };
    let hint = match store.is_worked_on() || asked.task.parent.is_none() {
        true => String::new(),
        false => {
            format!("go on with it  {}", console.command(&format!("workflow resume {}", short(id.run().as_str()))))
        }
    };
    then(reply(Answered { id: id.to_string(), answer: said, by: who, before: recorded == Recorded::Already }), &hint)
}

async fn find(store: &Store, text: &str) -> Result<Asked, Failure> {
    let view = ids::task(&store.broker, text).await?;
    Ok(Inbox::of(&store.broker).get(view.task.id).await?)
}

/// What is said to whoever comes second.
fn too_late(asked: &Asked) -> Problem {
    let id = short(asked.task.id.as_str());
    let by = asked.outcome.as_ref().and_then(|outcome| outcome.agent.as_deref());
    let what = match (asked.status, by) {
        (Status::Completed, Some(by)) => format!("question {id} was answered by {by}; this answer was not recorded"),
        (status, _) => format!("question {id} is {status}; this answer was not recorded"),
    };
    Problem::new(code::WRONG_STATUS, what).fix(format!("callboard inbox show {id}"))
}

#[derive(Serialize)]
struct Question {
    id: String,
    run: String,
    queue: String,
    question: String,
    context: Value,
    choices: Vec<String>,
    schema: Value,
    who: Vec<String>,
    on_timeout: String,
    asked_at: String,
    deadline: String,
    status: Status,
    answer: Value,
    by: Option<String>,
}

impl Question {
    fn of(asked: &Asked) -> Self {
        let (task, question) = (&asked.task, &asked.question);
        let on_timeout = match &question.on_timeout {
            OnTimeout::Fail => "whoever asked is told".to_owned(),
            OnTimeout::Answer(value) => format!("the answer is {value}"),
            OnTimeout::Escalate(to) => format!("{to} is asked"),
        };
        let outcome = asked.outcome.as_ref();
        Self {
            id: task.id.to_string(),
            run: task.run.to_string(),
            queue: asked.queue.clone(),
            question: question.question.clone(),
            context: question.context.clone(),
            choices: question.choices.clone(),
            schema: question.schema.clone(),
            who: question.who.clone(),
            on_timeout,
            asked_at: time::date(task.created_at),
            deadline: time::date(task.deadline),
            status: asked.status,
            answer: outcome.and_then(|outcome| outcome.output.value().ok()).unwrap_or_default(),
            by: outcome.and_then(|outcome| outcome.agent.clone()),
        }
    }
}

impl Show for Question {
    fn text(&self, page: Page) -> String {
        let wide = 10;
        let mut text = page.field("id", wide, &self.id);
        let mut field = |name: &str, words: &str| {
            if !words.is_empty() {
                text.push_str(&page.field(name, wide, words));
            }
        };
        let json = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
        field("question", &self.question);
        field("context", &json(&self.context));
        field("choices", &self.choices.join(" | "));
        field("schema", &json(&self.schema));
        field("queue", &self.queue);
        field("for", &self.who.join(", "));
        field("asked", &self.asked_at);
        field("deadline", &self.deadline);
        field("too late", &self.on_timeout);
        field("status", self.status.as_str());
        field("answer", &json(&self.answer));
        field("by", self.by.as_deref().unwrap_or_default());
        text
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Questions(Vec<Question>);

impl Show for Questions {
    fn text(&self, page: Page) -> String {
        let row = |one: &Question| {
            let choices = one.choices.join(" | ");
            vec![short(&one.id).to_owned(), one.queue.clone(), one.deadline.clone(), one.question.clone(), choices]
        };
        const COLUMNS: [Column; 5] = [
            Column::new("ID"),
            Column::new("QUEUE").spare(1),
            Column::new("UNTIL").spare(2),
            Column::new("QUESTION").flexible(),
            Column::new("ANSWERS").flexible().spare(3),
        ];
        table(page, &COLUMNS, &self.0.iter().map(row).collect::<Vec<_>>())
    }
}

#[derive(Serialize)]
struct Answered {
    id: String,
    answer: Value,
    by: String,
    /// It had been given before.
    before: bool,
}

impl Show for Answered {
    fn text(&self, _: Page) -> String {
        let how = if self.before { "answered before" } else { "answered" };
        format!("{how}  {}  {}  by {}\n", self.id, self.answer, self.by)
    }
}
