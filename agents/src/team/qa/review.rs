//! A model's opinion of a draft.

use crate::llm::RoleModel;
use crate::team::prompts::{numbered, optional, request};
use crate::team::{Draft, Flaw};
use crate::{Context, Result, payload};

/// What a model objects to.
#[payload]
#[derive(Debug, Default)]
struct Reviewed {
    flaws: Vec<Flaw>,
}

/// Adds the flaws that a model sees to those that were seen without it: one for each sentence at most.
pub(super) async fn review(ctx: &Context, model: &RoleModel, draft: &Draft, flaws: &mut Vec<Flaw>) -> Result<()> {
    let asked = request(model, "reviewer", &numbered(&draft.sentences));
    let reviewed = optional(ctx, "reviewed without the model", model.named("review").extract::<Reviewed>(asked).await)?;
    for flaw in reviewed.map(|reviewed| reviewed.flaws).unwrap_or_default() {
        let is_there = (1..=draft.sentences.len()).contains(&flaw.sentence);
        if is_there && flaws.iter().all(|known| known.sentence != flaw.sentence) {
            flaws.push(flaw);
        }
    }
    flaws.sort_by_key(|flaw| flaw.sentence);
    Ok(())
}
