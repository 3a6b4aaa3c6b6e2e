//! What stands of a draft. Pure over what was read.

use std::sync::Arc;

use crate::extract::{Claim, clean, collapse};
use crate::source::Passage;
use crate::team::{Checked, Draft, Dropped, Sentence, Shelf};

/// Keeps the claims that stand in their sources, then the sentences that the claims they cite cover.
pub(super) fn judge(draft: Draft, shelves: &[Arc<Shelf>]) -> Checked {
    let mut dropped = Vec::new();
    let mut kept: Vec<(usize, Claim, &Passage)> = Vec::new();
    for (at, claim) in draft.claims.into_iter().enumerate() {
        match passage(&claim, shelves) {
            Ok(passage) => kept.push((at + 1, claim, passage)),
            Err(why) => dropped.push(Dropped { claim, why }),
        }
    }
    let mut sentences = Vec::new();
    for Sentence { text, cites, answers } in draft.sentences {
        let cited: Vec<usize> = (0..kept.len()).filter(|at| cites.contains(&kept[*at].0)).collect();
        let Some(first) = cited.first() else { continue };
        let paragraphs: Vec<&Passage> = cited.iter().map(|at| kept[*at].2).collect();
        match objection(&text, &paragraphs) {
            None => sentences.push(Sentence { text, cites: cited.iter().map(|at| at + 1).collect(), answers }),
            Some(why) => dropped.push(Dropped { claim: Claim { text, ..kept[*first].1.clone() }, why }),
        }
    }
    let claims = kept.into_iter().map(|(_, claim, _)| claim).collect();
    Checked { draft: Draft { sentences, claims, ..draft }, dropped, ..Checked::default() }
}

/// Where the quotation of a claim stands, if it stands there and the claim says no more than it.
fn passage<'a>(claim: &Claim, shelves: &'a [Arc<Shelf>]) -> Result<&'a Passage, String> {
    if !shelves.iter().any(|shelf| shelf.has(&claim.source)) {
        return Err("its source was not read".to_owned());
    }
    let found = shelves.iter().find_map(|shelf| shelf.find(&claim.source, &claim.quote));
    let passage = found.ok_or_else(|| "its quotation is not in its source".to_owned())?;
    match objection(&claim.text, &[passage]) {
        None => Ok(passage),
        Some(why) => Err(why),
    }
}

/// Why these paragraphs do not cover a sentence.
fn objection(text: &str, paragraphs: &[&Passage]) -> Option<String> {
    let said = collapse(text.trim_end_matches('.'));
    let verbatim = |passage: &&Passage| clean(&collapse(&passage.text)).contains(&said);
    if paragraphs.iter().any(verbatim) { None } else { Some("its source does not say it".to_owned()) }
}
