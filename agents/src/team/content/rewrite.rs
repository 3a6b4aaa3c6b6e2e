//! Sentences written anew by a model, where a reader stumbled over them.

use crate::llm::RoleModel;
use crate::team::prompts::{numbered, optional, request};
use crate::team::{Draft, Flaw, What};
use crate::{Context, Result, payload};

/// The longest sentence that is taken, in letters.
const LONG: usize = 600;

/// What a model makes of the sentences with flaws.
#[payload]
#[derive(Debug, Default)]
struct Rewritten {
    sentences: Vec<Anew>,
}

/// One sentence, by its number.
#[payload]
#[derive(Debug)]
struct Anew {
    sentence: usize,
    text: String,
}

/// Has sentences that dangle or are too long written anew. They keep their citations, and are checked again by whoever
/// had them edited. Gives the flaws that are left.
pub(super) async fn rewrite(
    ctx: &Context,
    model: &RoleModel,
    draft: &mut Draft,
    flaws: Vec<Flaw>,
) -> Result<Vec<Flaw>> {
    let (anew, left): (Vec<Flaw>, Vec<Flaw>) =
        flaws.into_iter().partition(|flaw| matches!(flaw.what, What::Dangles | What::Long));
    if anew.is_empty() {
        return Ok(left);
    }
    let list: Vec<String> =
        anew.iter().map(|flaw| format!("{} ({:?})", flaw.sentence, flaw.what).to_lowercase()).collect();
    let work = format!("{}\nWrite anew: {}", numbered(&draft.sentences), list.join(", "));
    let asked = request(model, "editor", &work);
    let written = optional(ctx, "edited without the model", model.named("edit").extract::<Rewritten>(asked).await)?;
    for one in written.map(|written| written.sentences).unwrap_or_default() {
        let text = one.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_asked_for = anew.iter().any(|flaw| flaw.sentence == one.sentence);
        if is_asked_for
            && (1..=LONG).contains(&text.chars().count())
            && let Some(sentence) = one.sentence.checked_sub(1).and_then(|at| draft.sentences.get_mut(at))
        {
            sentence.text = text;
        }
    }
    Ok(left)
}
