use crate::team::{CONTENT, Draft, EDITOR, Notes, WRITER};
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
        Ok(draft)
    }
}
