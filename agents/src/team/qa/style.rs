use super::read::flaws;
use super::review::review;
use crate::team::prompts::note;
use crate::team::words::plural;
use crate::team::{Draft, STYLE, Styled};
use crate::{Agent, Context, Result, Service};

/// Reads a draft as its reader will: `qa.style`.
#[derive(Clone, Copy, Debug)]
pub struct Style;

impl Style {
    /// `qa.style`.
    pub fn service() -> Service {
        STYLE.by(Self).workers(2).may([])
    }
}

impl Agent<Draft, Styled> for Style {
    async fn handle(&self, ctx: Context, draft: Draft) -> Result<Styled> {
        let (mut flaws, mut models) = (flaws(&draft), Vec::new());
        if let Some(model) = ctx.model(STYLE.name()) {
            review(&ctx, &model, &draft, &mut flaws).await?;
            note(&mut models, model.used());
        }
        let remark = if flaws.is_empty() { "ok".to_owned() } else { plural(flaws.len(), "flaw") };
        ctx.progress(1.0, &remark);
        Ok(Styled { flaws, models, remark })
    }
}
