use super::edit::{mend, tidy};
use super::rewrite::rewrite;
use crate::team::prompts::note;
use crate::team::words::plural;
use crate::team::{Draft, EDITOR, Edit, Engine};
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
        let Edit { mut draft, mut flaws } = edit;
        let is_first = flaws.is_empty();
        if let Some(model) = ctx.model(EDITOR.name()).filter(|_| draft.engine == Engine::Model) {
            flaws = rewrite(&ctx, &model, &mut draft, flaws).await?;
            note(&mut draft.models, model.used());
        }
        let cut = if is_first { tidy(&mut draft) } else { mend(&mut draft, &flaws) };
        let remark = match cut {
            0 => "nothing to cut".to_owned(),
            n => format!("{} cut", plural(n, "sentence")),
        };
        ctx.progress(1.0, &remark);
        draft.remarks.insert(EDITOR.name().to_owned(), remark);
        Ok(draft)
    }
}
