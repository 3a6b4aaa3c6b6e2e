use crate::team::{Checked, EDITOR, FACT, QA, Review, STYLE};
use crate::{Agent, Context, Grant, Result, Service};

/// Has a draft checked for facts and style: `qa.lead`.
#[derive(Clone, Copy, Debug)]
pub struct Lead;

impl Lead {
    /// `qa.lead`, which may delegate to its two workers and to the editor.
    pub fn service() -> Service {
        let grants = [FACT.name(), STYLE.name(), EDITOR.name()].map(|name| Grant::Capability(name.into()));
        QA.by(Self).concurrency(4).may(grants)
    }
}

impl Agent<Review, Checked> for Lead {
    async fn handle(&self, ctx: Context, review: Review) -> Result<Checked> {
        let checked = ctx.delegate(FACT, review).key("fact").describe("each sentence against its source").await?;
        Ok(checked)
    }
}
