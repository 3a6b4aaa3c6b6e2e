//! Places of a source into which a name or number would fit.
//!
//! Where a sentence was shortened or reordered, one side of a name still has its old neighbours. Where the name was
//! changed, both sides are those of another.

use std::ops::Range;

use super::{Source, Word};

/// A name or number of a sentence, as a range of its words.
pub(super) type Mention = Range<usize>;

/// Words of a name at most; words on each side that are compared; words that may be left out beside a name.
const LONGEST: usize = 5;
const WINDOW: usize = 8;
const CUT: usize = 15;
/// What a word of grammar counts where one of content counts 1.
const FUNCTION: f32 = 0.4;
/// How much better on its good side, in words of content, a name must fit to stand although another fits its other side.
const ONE_SIDE: f32 = 1.0;

/// The runs of exact words in a sentence.
pub(super) fn mentions(said: &[Word], exact: &[bool]) -> Vec<Mention> {
    let mut found: Vec<Mention> = Vec::new();
    for (at, word) in said.iter().enumerate().filter(|(at, _)| exact[*at]) {
        match found.last_mut() {
            Some(run) if run.end == at && !word.apart && said[at - 1].kind() == word.kind() => run.end = at + 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}

/// The words of the source that stand where the mention stands, if they fit better there than the mention itself does.
/// A run of names that the source does not have as one is looked at in the longest parts that it has.
pub(super) fn better_fit(said: &[Word], mention: &Mention, source: &Source) -> Option<String> {
    let words = &source.words;
    let own_places = places(&said[mention.clone()], words);
    if own_places.is_empty() && mention.len() > 1 {
        return parts(said, mention, words).into_iter().find_map(|part| better_fit(said, &part, source));
    }
    let own: Vec<Fit> =
        own_places.iter().map(|place| fit(said, mention, words, place).or_cut(said, mention, words, place)).collect();
    let best_own = own.iter().map(Fit::sum).fold(0.0, f32::max);
    let apart = |slot: &Range<usize>| !own_places.iter().any(|own| own.start < slot.end && slot.start < own.end);
    let mut better: Option<(f32, Range<usize>)> = None;
    for slot in slots(source).filter(apart) {
        let other = fit(said, mention, words, &slot);
        let bar = better.as_ref().map_or(best_own, |(best, _)| *best);
        if other.sum() > bar + 0.01 && !own.iter().any(|own| own.holds_a_side(&other)) {
            better = Some((other.sum(), slot));
        }
    }
    better.map(|(_, slot)| words[slot].iter().map(|word| word.token.word.as_str()).collect::<Vec<_>>().join(" "))
}

/// A mention in pieces that the source has, the longest first to be taken, single words whatever the source has.
fn parts(said: &[Word], mention: &Mention, words: &[Word]) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut start = mention.start;
    while start < mention.end {
        let longest = (start + 2..=mention.end).rev().find(|end| !places(&said[start..*end], words).is_empty());
        // The whole is never a part of itself.
        let end = longest.filter(|end| *end - start < mention.len()).unwrap_or(start + 1);
        found.push(start..end);
        start = end;
    }
    found
}

/// Where the source has these words.
fn places(mention: &[Word], words: &[Word]) -> Vec<Range<usize>> {
    let here = |at: &usize| mention.iter().zip(&words[*at..]).all(|(a, b)| a.token.word == b.token.word);
    (0..(words.len() + 1).saturating_sub(mention.len())).filter(here).map(|at| at..at + mention.len()).collect()
}

/// The names and numbers of the source, with the small words inside them or without.
fn slots(source: &Source) -> impl Iterator<Item = Range<usize>> {
    let (words, exact) = (&source.words, &source.exact);
    let ends = move |start: usize| {
        let inside = (start + 1..words.len()).take(LONGEST - 1).take_while(|at| !words[*at].apart);
        std::iter::once(start).chain(inside).filter(|last| exact[*last]).map(move |last| start..last + 1)
    };
    (0..words.len()).filter(|start| exact[*start]).flat_map(ends)
}

/// How much of what stands around a mention stands around a place of the source, on each side.
struct Fit {
    left: f32,
    right: f32,
}

impl Fit {
    fn sum(&self) -> f32 {
        self.left + self.right
    }

    fn holds_a_side(&self, other: &Fit) -> bool {
        self.left >= other.left + ONE_SIDE || self.right >= other.right + ONE_SIDE
    }

    /// The fit on the right if an insertion between commas after the place was left out.
    fn or_cut(self, said: &[Word], mention: &Mention, words: &[Word], place: &Range<usize>) -> Fit {
        let from = place.end;
        if words.get(from).is_none_or(|next| !next.apart || next.opens) {
            return self;
        }
        let within = (from + 1..words.len().min(from + CUT)).take_while(|at| !words[*at].opens);
        let resumed = within.filter(|at| words[*at].apart).map(|at| run_on(said, mention, words, at));
        Fit { right: resumed.fold(self.right, f32::max), ..self }
    }
}

fn fit(said: &[Word], mention: &Mention, words: &[Word], place: &Range<usize>) -> Fit {
    // Across a sentence end of the source nothing belongs together.
    let opens = (0..place.start + 1).rev().find(|at| words[*at].opens).unwrap_or(0);
    let left = said[..mention.start].iter().rev().zip(words[opens..place.start].iter().rev());
    Fit { left: run(left), right: run_on(said, mention, words, place.end) }
}

/// What follows the mention against what follows `from` in the same sentence of the source.
fn run_on(said: &[Word], mention: &Mention, words: &[Word], from: usize) -> f32 {
    let rest = words[from..].iter().take_while(|word| !word.opens);
    run(said[mention.end..].iter().zip(rest))
}

fn run<'a>(pairs: impl Iterator<Item = (&'a Word, &'a Word)>) -> f32 {
    let same = pairs.take(WINDOW).take_while(|(a, b)| a.token.term == b.token.term);
    same.map(|(word, _)| if word.token.function { FUNCTION } else { 1.0 }).sum()
}
