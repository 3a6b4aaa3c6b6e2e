use crate::team::{Checked, EDITOR, Edit, FACT, QA, Replan, Review, STYLE};
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
        let mut checked = Checked { draft, ..Checked::default() };
        for round in 1..=MAX_ROUNDS + 1 {
            // Words were cut since the last check, so what is left is checked again.
            let review = Review { draft: checked.draft, sources: sources.clone() };
            let fact = ctx.delegate(FACT, review).key(format!("fact-{round}"));
            let before = checked.dropped;
            checked = fact.describe("each sentence against its source").await?;
            checked.dropped.splice(0..0, before);
            if round > MAX_ROUNDS || checked.draft.sentences.is_empty() {
                break;
            }
            let draft = checked.draft.clone();
            let style =
                ctx.delegate(STYLE, draft).key(format!("style-{round}")).describe("each sentence for its reader");
            let styled = style.await?;
            checked.draft.remarks.insert(STYLE.name().to_owned(), styled.remark);
            if styled.flaws.is_empty() {
                break;
            }
            let edit = Edit { draft: checked.draft.clone(), flaws: styled.flaws };
            let edited =
                ctx.delegate(EDITOR, edit).key(format!("edit-{round}")).describe("what style remarked").await?;
            // The editor may have to leave it: the only sentence of a question, a long one without asides.
            if edited.sentences == checked.draft.sentences {
                break;
            }
            checked.draft = edited;
        }
        finish(&ctx, &mut checked, was_empty);
        Ok(checked)
    }
}

fn finish(ctx: &Context, checked: &mut Checked, was_empty: bool) {
    if checked.draft.claims.is_empty() && !was_empty {
        checked.replan = Replan::because("no claim of the text stands in its source", Vec::new());
    }
    let remark = format!(
        "{} of {} claims stand",
        checked.draft.claims.len(),
        checked.draft.claims.len() + checked.dropped.len()
    );
    ctx.progress(1.0, &remark);
    checked.draft.remarks.insert(QA.name().to_owned(), remark);
}
