use crate::team::problem::passed_on;
use crate::team::words::plural;
use crate::team::{CONTENT, Draft, EDITOR, Edit, Notes, WRITER};
use crate::{Agent, Context, Grant, Result, Service};

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
        let draft = ctx.delegate(WRITER, notes).key("write").describe("claims into sentences");
        let draft = draft.await.map_err(passed_on)?;
        let edit = Edit { draft: draft.clone(), flaws: Vec::new() };
        let edited = ctx.delegate(EDITOR, edit).key("edit").describe("order and repetitions").await;
        // A text can go out unedited.
        let mut draft = edited.unwrap_or_else(|error| {
            let problems = vec![error.to_string()];
            Draft { problems, ..draft }
        });
        let remark = plural(draft.sentences.len(), "sentence");
        ctx.progress(1.0, &remark);
        draft.remarks.insert(CONTENT.name().to_owned(), remark);
        Ok(draft)
    }
}
