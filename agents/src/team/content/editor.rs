use super::edit::{mend, tidy};
use crate::team::words::plural;
use crate::team::{Draft, EDITOR, Edit};
use crate::{Agent, Context, Result, Service};

/// Orders sentences, cuts repetitions and mends what a reader stumbled over: `content.editor`.
#[derive(Clone, Copy, Debug)]
pub struct Editor;

impl Editor {
    /// `content.editor`.
    pub fn service() -> Service {
        EDITOR.by(Self).workers(2).may([])
    }
}

impl Agent<Edit, Draft> for Editor {
    async fn handle(&self, ctx: Context, edit: Edit) -> Result<Draft> {
        let Edit { mut draft, flaws } = edit;
        let cut = if flaws.is_empty() { tidy(&mut draft) } else { mend(&mut draft, &flaws) };
        let remark = match cut {
            0 => "nothing to cut".to_owned(),
            n => format!("{} cut", plural(n, "sentence")),
        };
        ctx.progress(1.0, &remark);
        draft.remarks.insert(EDITOR.name().to_owned(), remark);
        Ok(draft)
    }
}
