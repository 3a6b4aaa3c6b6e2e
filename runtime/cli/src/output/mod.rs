//! What is shown: answers on standard output, everything else on standard error.
//!
//! A command hands over a value and the [`Printer`] decides what may be printed of it: with `--json` the value itself,
//! otherwise its text. Nothing else in this crate writes anywhere, so no command can forget `--json`, print a log line
//! into its data, or fail because the reader of a pipe has gone.

mod page;
mod printer;
mod table;
pub(crate) mod time;

pub(crate) use page::{Page, can_redraw, count, redrawable_lines};
pub(crate) use printer::Printer;
pub(crate) use table::{Column, table};

use callboard::exit::Exit;
use serde::Serialize;

use crate::failure::Failure;

/// A value that a command answers with: the value is the JSON, the text is for people.
pub(crate) trait Show: Serialize {
    /// Lines for a person, each ending in a line break; may be empty.
    fn text(&self, page: Page) -> String;

    /// What the process ends with after this answer.
    fn exit(&self) -> Exit {
        Exit::Ok
    }

    /// What stands in the way of a success, told after the answer.
    fn failure(&self) -> Option<Failure> {
        None
    }
}

/// [`Show`] without its type.
pub(crate) trait Answer {
    fn text(&self, page: Page) -> String;
    fn json(&self) -> serde_json::Result<String>;
    fn exit(&self) -> Exit;
    fn failure(&self) -> Option<Failure>;
}

impl<T: Show> Answer for T {
    fn text(&self, page: Page) -> String {
        Show::text(self, page)
    }

    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    fn exit(&self) -> Exit {
        Show::exit(self)
    }

    fn failure(&self) -> Option<Failure> {
        Show::failure(self)
    }
}

/// An answer, and what is said beside the data once it is printed.
pub(crate) struct Reply {
    pub(crate) answer: Box<dyn Answer>,
    pub(crate) after: String,
}

/// What a command ends with: its answer, nothing when it has answered in pieces, or why it could not.
pub(crate) type Done = Result<Option<Reply>, Failure>;

/// The answer of a command.
pub(crate) fn answer(value: impl Show + 'static) -> Done {
    Ok(Some(Reply { answer: Box::new(value), after: String::new() }))
}

/// The same answer, with more lines said after it; none when there are none.
pub(crate) fn then(done: Done, lines: &str) -> Done {
    let more = |reply: Reply| {
        let after = if reply.after.is_empty() { lines.to_owned() } else { format!("{}\n{lines}", reply.after) };
        Reply { after, ..reply }
    };
    Ok(done?.map(|reply| if lines.is_empty() { reply } else { more(reply) }))
}
