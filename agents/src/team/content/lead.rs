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
        let draft = ctx.delegate(WRITER, notes).key("write").describe("claims into sentences").await?;
        let edit = Edit { draft, flaws: Vec::new() };
        let mut draft = ctx.delegate(EDITOR, edit).key("edit").describe("order and repetitions").await?;
        let remark = plural(draft.sentences.len(), "sentence");
        ctx.progress(1.0, &remark);
        draft.remarks.insert(CONTENT.name().to_owned(), remark);
        Ok(draft)
    }
}
