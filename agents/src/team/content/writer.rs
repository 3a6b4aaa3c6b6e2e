use super::compose::compose;
use super::write::write;
use crate::team::words::plural;
use crate::team::{Draft, Notes, WRITER};
use crate::{Agent, Context, Result, Service};

/// Composes sentences with citations out of findings, by quoting or with a model: `content.writer`.
#[derive(Clone, Copy, Debug)]
pub struct Writer;

impl Writer {
    /// `content.writer`.
    pub fn service() -> Service {
        WRITER.by(Self).workers(2).may([])
    }
}

impl Agent<Notes, Draft> for Writer {
    async fn handle(&self, ctx: Context, notes: Notes) -> Result<Draft> {
        let mut draft = match ctx.model(WRITER.name()) {
            Some(model) => write(&model, notes.question, notes.notes.into()).await?,
            None => compose(notes.question, notes.notes.into()),
        };
        let remark = plural(draft.sentences.len(), "sentence");
        ctx.progress(1.0, &remark);
        draft.remarks.insert(WRITER.name().to_owned(), remark);
        Ok(draft)
    }
}
