//! What stands of a draft. Pure over what was read.

use std::sync::Arc;

use crate::extract::fact::{self, Verdict};
use crate::extract::{Claim, clean};
use crate::source::Passage;
use crate::team::words::words;
use crate::team::{Checked, Draft, Dropped, Sentence, Shelf};

/// Keeps the claims that stand in their sources, then the sentences that the claims they cite cover. What was written
/// beyond bounds heads the list of what is dropped.
pub(super) fn judge(mut draft: Draft, shelves: &[Arc<Shelf>]) -> Checked {
    let mut dropped = std::mem::take(&mut draft.dropped);
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
        let Some(first) = cited.first() else {
            dropped.extend(uncited(text, &cites, &dropped));
            continue;
        };
        let paragraphs: Vec<&Passage> = cited.iter().map(|at| kept[*at].2).collect();
        let verbatim: Vec<&str> = cited.iter().map(|at| kept[*at].1.text.as_str()).collect();
        match objection(&text, &verbatim, &paragraphs) {
            None => sentences.push(Sentence { text, cites: cited.iter().map(|at| at + 1).collect(), answers }),
            Some(why) => dropped.push(Dropped { claim: Claim { text, ..kept[*first].1.clone() }, why }),
        }
    }
    let claims = kept.into_iter().map(|(_, claim, _)| claim).collect();
    Checked { draft: Draft { sentences, claims, ..draft }, dropped, ..Checked::default() }
}

/// A sentence that rests on nothing, unless it is the text of a claim that was dropped already.
fn uncited(text: String, cites: &[usize], dropped: &[Dropped]) -> Option<Dropped> {
    let said = words(&text);
    if dropped.iter().any(|one| words(&one.claim.text) == said) {
        return None;
    }
    let why = if cites.is_empty() { "it cites nothing" } else { "it cites nothing that stands" }.to_owned();
    let (source, locator, quote) = Default::default();
    Some(Dropped { claim: Claim { text, source, locator, quote, score: 0.0 }, why })
}

/// Where the quotation of a claim stands, if it stands there and the claim says no more than it.
fn passage<'a>(claim: &Claim, shelves: &'a [Arc<Shelf>]) -> Result<&'a Passage, String> {
    if !shelves.iter().any(|shelf| shelf.has(&claim.source)) {
        return Err("its source was not read".to_owned());
    }
    let found = shelves.iter().find_map(|shelf| shelf.find(claim));
    let passage = found.ok_or_else(|| format!("its quotation is not at {} of its source", claim.locator))?;
    match objection(&claim.text, &[&clean(&claim.quote)], &[passage]) {
        None => Ok(passage),
        Some(why) => Err(why),
    }
}

/// Why these paragraphs, which these verbatim sentences are taken from, do not cover a sentence.
fn objection(text: &str, verbatim: &[&str], paragraphs: &[&Passage]) -> Option<String> {
    // Verbatim sentences need no judgement, and a check that may err should not get to judge them.
    let said = words(text);
    if verbatim.iter().any(|sentence| words(sentence) == said) {
        return None;
    }
    let sources: Vec<&str> = paragraphs.iter().flat_map(|passage| [&*passage.text, &*passage.context]).collect();
    match fact::check(text, &sources) {
        Verdict::Kept => None,
        Verdict::Dropped { why } => Some(why),
    }
}
