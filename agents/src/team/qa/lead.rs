use crate::team::problem::passed_on;
use crate::team::prompts::note;
use crate::team::{Checked, Draft, EDITOR, Edit, Engine, FACT, QA, Replan, Review, STYLE};
use crate::{Agent, Context, Grant, Result, Service};

/// How often a draft is sent back to the editor.
pub const MAX_ROUNDS: u32 = 2;

/// Has a draft checked for facts and style, and sends it back to the editor: `qa.lead`.
#[derive(Clone, Copy, Debug)]
pub struct Lead;

impl Lead {
    /// `qa.lead`, which may delegate to its two workers, to the editor and to nobody else.
    pub fn service() -> Service {
        let grants = [FACT.name(), STYLE.name(), EDITOR.name()].map(|name| Grant::Capability(name.into()));
        QA.by(Self).concurrency(4).may(grants)
    }
}

impl Agent<Review, Checked> for Lead {
    async fn handle(&self, ctx: Context, review: Review) -> Result<Checked> {
        let Review { draft, sources } = review;
        let was_empty = draft.claims.is_empty();
        let mut checked = fact(&ctx, draft, &sources, 1).await?;
        for round in 1..=MAX_ROUNDS {
            if checked.draft.sentences.is_empty() {
                break;
            }
            let Some(edited) = revise(&ctx, &mut checked.draft, round).await else { break };
            // Words were cut, so what is left is checked again.
            let mut again = fact(&ctx, edited, &sources, round + 1).await?;
            if again.draft.engine == Engine::Model && !again.dropped.is_empty() {
                // A sentence that was rewritten into something that no source says: the one before stands.
                checked.dropped.extend(again.dropped);
                checked.draft.models = again.draft.models;
                break;
            }
            again.dropped.splice(0..0, checked.dropped);
            checked = again;
        }
        let Checked { draft, dropped, .. } = &mut checked;
        let remark = format!("{} of {} claims stand", draft.claims.len(), draft.claims.len() + dropped.len());
        ctx.progress(1.0, &remark);
        draft.remarks.insert(QA.name().to_owned(), remark);
        if draft.claims.is_empty() && !was_empty {
            checked.replan = Replan::because("no claim of the text stands in its source", Vec::new());
        }
        Ok(checked)
    }
}

async fn fact(ctx: &Context, draft: Draft, sources: &[String], round: u32) -> Result<Checked> {
    let review = Review { draft, sources: sources.to_vec() };
    let fact = ctx.delegate(FACT, review).key(format!("fact-{round}")).describe("each sentence against its source");
    fact.await.map_err(passed_on)
}

/// The draft after an edit, if a reader finds flaws and the editor can mend one. A text whose facts are checked can go
/// out as it is, so nobody's failure here is more than a problem of it.
async fn revise(ctx: &Context, draft: &mut Draft, round: u32) -> Option<Draft> {
    let style =
        ctx.delegate(STYLE, draft.clone()).key(format!("style-{round}")).describe("each sentence for its reader");
    let styled = style.await.map_err(|error| draft.problems.push(error.to_string())).ok()?;
    draft.remarks.insert(STYLE.name().to_owned(), styled.remark);
    styled.models.into_iter().for_each(|used| note(&mut draft.models, used));
    if styled.flaws.is_empty() {
        return None;
    }
    let edit = Edit { draft: draft.clone(), flaws: styled.flaws };
    let edit = ctx.delegate(EDITOR, edit).key(format!("edit-{round}")).describe("what style remarked");
    let edited = edit.await.map_err(|error| draft.problems.push(error.to_string())).ok()?;
    // It may have to leave all as it is: the best sentence of a question, a long one without asides.
    (edited.sentences != draft.sentences).then_some(edited)
}
