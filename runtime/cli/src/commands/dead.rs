//! `callboard dead`: what came to nothing, with its reason, and putting it back.

use callboard::broker::code;
use callboard::broker::dead_letter::DeadLetter;
use callboard::broker::problem::Problem;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::console::Console;
use crate::failure::Failure;
use crate::ids::short;
use crate::output::{Column, Done, Page, Show, answer, table, then, time};
use crate::store::Store;

/// What came to nothing, and putting it back.
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// The dead letters, oldest first
    Ls(Ls),
    /// One of them, with its reason and its content
    Show(Of),
    /// Put a task back into its queue, once
    Retry(Of),
    /// Delete one, or all of them
    Purge(Purge),
}

#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// After this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

#[derive(Args, Debug)]
pub(crate) struct Of {
    /// Its number, or `last`
    #[arg(value_name = "N")]
    number: String,
}

#[derive(Args, Debug)]
pub(crate) struct Purge {
    /// Its number; nothing means all
    #[arg(value_name = "N")]
    number: Option<u64>,
    /// Yes, delete
    #[arg(long)]
    yes: bool,
}

/// Runs a verb.
pub(crate) async fn dead(of: Dead, console: &Console) -> Done {
    match of {
        Dead::Ls(of) => ls(&of, console).await,
        Dead::Show(of) => show(&of, console).await,
        Dead::Retry(of) => retry(&of, console).await,
        Dead::Purge(of) => purge(&of, console).await,
    }
}

async fn ls(of: &Ls, console: &Console) -> Done {
    let store = console.look().await?;
    let letters = store.broker.dead.list(of.after, of.limit.into()).await?;
    let said = match letters.last() {
        None if of.after == 0 => "there is no dead letter".to_owned(),
        Some(last) if letters.len() == usize::from(of.limit) => format!("there may be more: --after {}", last.seq),
        _ => String::new(),
    };
    then(answer(Letters(letters.iter().map(Letter::of).collect::<Result<_, _>>()?)), &said)
}

async fn show(of: &Of, console: &Console) -> Done {
    let store = console.look().await?;
    let letter = Letter::of(&find(&store, &of.number).await?)?;
    let retry = letter.task.is_some() && letter.retried_as.is_none();
    let next = if retry {
        console.next(&[("put it back", console.command(&format!("dead retry {}", letter.n)))])
    } else {
        String::new()
    };
    then(answer(letter), &next)
}

async fn retry(of: &Of, console: &Console) -> Done {
    let store = console.touch().await?;
    let letter = find(&store, &of.number).await?;
    let id = match store.broker.dead.retry(letter.seq).await {
        Ok(id) => id,
        Err(callboard::Error::Conflict { .. }) => {
            let what = format!("dead letter {} is a message, which only its sender can send again", letter.seq);
            return Err(Problem::new(code::WRONG_STATUS, what).fix("callboard explain dead-letters").into());
        }
        Err(error) => return Err(error.into()),
    };
    let said = match store.is_worked_on() {
        true => String::new(),
        false => format!("do it now  {}", console.command(&format!("workflow resume {}", short(id.run().as_str())))),
    };
    then(answer(Retried { n: letter.seq, id: id.to_string() }), &said)
}

async fn purge(of: &Purge, console: &Console) -> Done {
    let store = console.touch().await?;
    if !of.yes {
        let (which, again) = match of.number {
            Some(n) => (format!("dead letter {n}"), format!("callboard dead purge {n} --yes")),
            None => ("all dead letters".to_owned(), "callboard dead purge --yes".to_owned()),
        };
        let problem = Problem::new(code::CONFIRM, format!("this deletes {which} for good; nothing was done"));
        return Err(problem.fix(again).into());
    }
    if let Some(n) = of.number {
        find(&store, &n.to_string()).await?;
    }
    answer(Purged { purged: store.broker.dead.purge(of.number).await? })
}

async fn find(store: &Store, number: &str) -> Result<DeadLetter, Failure> {
    let dead = &store.broker.dead;
    let found = match number {
        "last" => newest(store).await?,
        number => match number.parse() {
            Ok(n) => dead.get(n).await?,
            Err(_) => {
                let problem = Problem::new(code::BAD_VALUE, format!("\"{number}\" is not a number"));
                return Err(problem.fix("callboard dead ls").into());
            }
        },
    };
    let missing =
        || Problem::new(code::NO_DEAD_LETTER, format!("there is no dead letter {number}")).fix("callboard dead ls");
    found.ok_or_else(|| missing().into())
}

async fn newest(store: &Store) -> Result<Option<DeadLetter>, Failure> {
    const PAGE: usize = 1_000;
    let mut last: Option<DeadLetter> = None;
    loop {
        let page = store.broker.dead.list(last.as_ref().map_or(0, |letter| letter.seq), PAGE).await?;
        let more = page.len() == PAGE;
        last = page.into_iter().next_back().or(last);
        if !more {
            return Ok(last);
        }
    }
}

/// One dead letter.
#[derive(Serialize)]
struct Letter {
    n: u64,
    at: String,
    reason: &'static str,
    capability: String,
    to: String,
    from: String,
    task: Option<String>,
    error: Option<String>,
    retried_as: Option<String>,
    body: Value,
}

impl Letter {
    fn of(letter: &DeadLetter) -> Result<Letter, Failure> {
        Ok(Letter {
            n: letter.seq,
            at: time::date(letter.at),
            reason: letter.reason.as_str(),
            capability: letter.capability.clone(),
            to: letter.to.clone(),
            from: letter.from.clone(),
            task: letter.task.as_ref().map(ToString::to_string),
            error: letter.error.clone(),
            retried_as: letter.retried_as.as_ref().map(ToString::to_string),
            // What could not be decoded is still shown, as the text that it was.
            body: letter.body.value().or_else(|_| letter.body.json().map(Value::from))?,
        })
    }
}

impl Show for Letter {
    fn text(&self, page: Page) -> String {
        let line = |name: &str, value: &str| page.fit(&format!("{name:10} {value}"), page.columns) + "\n";
        let optional =
            |name: &str, value: &Option<String>| value.as_ref().map(|value| line(name, value)).unwrap_or_default();
        let mut text = line("letter", &self.n.to_string()) + &line("reason", self.reason) + &line("at", &self.at);
        text += &(line("capability", &self.capability) + &line("to", &self.to) + &line("from", &self.from));
        text += &(optional("task", &self.task) + &optional("error", &self.error));
        text += &optional("put back", &self.retried_as);
        text + &line("content", &self.body.to_string())
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Letters(Vec<Letter>);

impl Show for Letters {
    fn text(&self, page: Page) -> String {
        const COLUMNS: [Column; 6] = [
            Column::new("N").right(),
            Column::new("REASON"),
            Column::new("FOR"),
            Column::new("TASK").spare(2),
            Column::new("WHEN").spare(3),
            Column::new("ERROR").flexible().spare(1),
        ];
        let row = |letter: &Letter| {
            let task = letter.task.as_deref().map(short).unwrap_or_default().to_owned();
            let back = letter.retried_as.as_deref().map(|id| format!("put back as {}", short(id)));
            let why = back.or_else(|| letter.error.clone()).unwrap_or_default();
            vec![letter.n.to_string(), letter.reason.into(), letter.capability.clone(), task, letter.at.clone(), why]
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        if rows.is_empty() { String::new() } else { table(page, &COLUMNS, &rows) }
    }
}

#[derive(Serialize)]
struct Retried {
    n: u64,
    id: String,
}

impl Show for Retried {
    fn text(&self, _: Page) -> String {
        format!("queued  {}\n", self.id)
    }
}

#[derive(Serialize)]
struct Purged {
    purged: u64,
}

impl Show for Purged {
    fn text(&self, _: Page) -> String {
        format!("deleted {}\n", self.purged)
    }
}
