use super::compose::compose;
use crate::team::problem::passed_on;
use crate::team::prompts::is_of_models;
use crate::team::words::plural;
use crate::team::{CONTENT, Draft, EDITOR, Edit, Notes, WRITER};
use crate::{Agent, Context, Error, Grant, Result, Service};

/// Has findings written up, then edited: `content.lead`.
#[derive(Clone, Copy, Debug)]
pub struct Lead;

impl Lead {
    /// `content.lead`, which may delegate to its two workers and to nobody else.
    pub fn service() -> Service {
        let grants = [WRITER.name(), EDITOR.name()].map(|name| Grant::Capability(name.into()));
        CONTENT.by(Self).concurrency(4).may(grants)
    }
}

impl Agent<Notes, Draft> for Lead {
    async fn handle(&self, ctx: Context, notes: Notes) -> Result<Draft> {
        let written = ctx.delegate(WRITER, notes.clone()).key("write").describe("claims into sentences").await;
        let draft = match written {
            Ok(draft) => draft,
            // It was the model that failed the writer, for good.
            Err(error) if is_of_models(&error) => quoted(&ctx, notes, &error),
            Err(error) => return Err(passed_on(error)),
        };
        let edit = Edit { draft: draft.clone(), flaws: Vec::new() };
        let edited = ctx.delegate(EDITOR, edit).key("edit").describe("order and repetitions").await;
        // A text can go out unedited.
        let mut draft = edited.unwrap_or_else(|error| {
            let problems = draft.problems.iter().cloned().chain([error.to_string()]).collect();
            Draft { problems, ..draft }
        });
        let remark = plural(draft.sentences.len(), "sentence");
        ctx.progress(1.0, &remark);
        draft.remarks.insert(CONTENT.name().to_owned(), remark);
        Ok(draft)
    }
}

/// What can be said without the model: quotations.
fn quoted(ctx: &Context, notes: Notes, error: &Error) -> Draft {
    let why = format!("quoted and not written: {error}");
    ctx.host().degrade(why.clone());
    let draft = compose(notes.question, notes.notes.into());
    Draft { problems: vec![why], ..draft }
}
