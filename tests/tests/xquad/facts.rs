//! True sentences in other words than their paragraph's, and the same with one number or name swapped.

use super::data::Paragraph;

/// Splitmix64: every run of the test makes the same sentences.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}

/// A sentence, the number of the paragraph that it cites, and how it was made.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) text: String,
    pub(crate) paragraph: usize,
    pub(crate) how: &'static str,
}

/// `count` true sentences: half verbatim, the others merged, shortened and reordered in turn.
pub(crate) fn truths(paragraphs: &[Paragraph], count: usize, random: &mut Random) -> Vec<Sample> {
    let mut samples = Vec::new();
    while samples.len() < count {
        let paragraph = random.below(paragraphs.len());
        let sentences = sentences(&paragraphs[paragraph].text);
        let Some(at) = (!sentences.is_empty()).then(|| random.below(sentences.len())) else { continue };
        let (how, made) = match samples.len() % 6 {
            0 | 2 | 4 => ("verbatim", Some(sentences[at].clone())),
            1 => ("merged", merged(&sentences, at, random)),
            3 => ("shortened", shortened(&sentences[at], random)),
            _ => ("reordered", reordered(&sentences[at], random)),
        };
        if let Some(text) = made.filter(|text| text.split_whitespace().count() >= 5) {
            samples.push(Sample { text, paragraph, how });
        }
    }
    samples
}

fn sentences(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut found = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        open.push(word);
        let next_capital = words.get(at + 1).is_none_or(|next| next.starts_with(char::is_uppercase));
        if word.ends_with('.') && word.len() > 4 && !word[..word.len() - 1].contains('.') && next_capital {
            found.push(open.join(" "));
            open.clear();
        }
    }
    found.retain(|sentence| (6..=50).contains(&sentence.split(' ').count()));
    found
}

fn merged(sentences: &[String], at: usize, random: &mut Random) -> Option<String> {
    let (first, second) = (&sentences[at], sentences.get(at + 1 + random.below(2))?);
    let joint = random.pick(&[", and ", "; ", ", while ", " and "])?;
    Some(format!("{}{joint}{}", first.trim_end_matches('.'), lower_first(second)))
}

/// Lowercase where the first word is no name.
fn lower_first(sentence: &str) -> String {
    const COMMON: &[&str] = &[
        "The", "A", "An", "In", "It", "Its", "He", "She", "They", "This", "These", "There", "On", "At", "As", "By",
        "For", "From", "After", "During", "When", "However", "But", "Although", "His", "Her", "Their", "Some", "Many",
        "Most",
    ];
    let first = sentence.split(' ').next().unwrap_or_default();
    if COMMON.contains(&first) { sentence[..1].to_lowercase() + &sentence[1..] } else { sentence.to_owned() }
}

fn upper_first(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

fn shortened(sentence: &str, random: &mut Random) -> Option<String> {
    let clauses: Vec<&str> = sentence.trim_end_matches('.').split(", ").collect();
    let text = match random.below(4) {
        0 if clauses.len() > 1 => clauses[..clauses.len() - 1].join(", "),
        1 if clauses.len() > 1 => clauses[1..].join(", "),
        2 if clauses.len() > 2 => [clauses[0], &clauses[2..].join(", ")].join(" "),
        3 => without_small_words(sentence.trim_end_matches('.'), random)?,
        _ => return None,
    };
    Some(upper_first(&text) + ".")
}

/// Leaves out an adverb or adjective, as far as a machine can tell one.
fn without_small_words(sentence: &str, random: &mut Random) -> Option<String> {
    let words: Vec<&str> = sentence.split(' ').collect();
    let droppable = |word: &&str| {
        ["ly", "al", "ous", "ive", "ary"].iter().any(|end| word.ends_with(end)) && word.chars().all(char::is_lowercase)
    };
    let places: Vec<usize> = (1..words.len()).filter(|at| droppable(&words[*at])).collect();
    let out = *random.pick(&places)?;
    Some(words.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, word)| *word).collect::<Vec<_>>().join(" "))
}

fn reordered(sentence: &str, random: &mut Random) -> Option<String> {
    let bare = sentence.trim_end_matches('.');
    let joint = *random.pick(&[", ", " and ", ", ", "; "])?;
    let at = bare.match_indices(joint).map(|(at, _)| at).collect::<Vec<_>>();
    let at = *random.pick(&at)?;
    let (head, tail) = (&bare[..at], &bare[at + joint.len()..]);
    let lead = head.split(' ').count() <= 4 && joint == ", ";
    let glue = if lead { " " } else { joint };
    Some(format!("{}{glue}{}.", upper_first(tail), lower_first(head)))
}

/// The sample with one number or name of it swapped for another, from its own paragraph or from anywhere.
pub(crate) fn swapped(sample: &Sample, paragraphs: &[Paragraph], random: &mut Random) -> Option<Sample> {
    let own = &paragraphs[sample.paragraph].text;
    let other = &paragraphs[random.below(paragraphs.len())].text;
    let from = if random.below(2) == 0 { own } else { other };
    let number = random.below(2) == 0;
    let find = if number { numbers } else { names };
    let old = random.pick(&find(&sample.text))?.clone();
    let pool: Vec<String> = find(from).into_iter().filter(|new| differ(&old, new)).collect();
    let new = match random.pick(&pool) {
        Some(new) => new.clone(),
        None if number => format!("{}7", old.trim_end_matches('7')),
        None => return None,
    };
    let text = sample.text.replacen(&old, &new, 1);
    (text != sample.text).then_some(Sample { text, paragraph: sample.paragraph, how: sample.how })
}

/// Whether two names share no word, so that one is not another way to say the other.
fn differ(a: &str, b: &str) -> bool {
    a.split(' ').all(|word| b.split(' ').all(|other| word != other))
}

fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn numbers(text: &str) -> Vec<String> {
    let number = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','))
    };
    text.split_whitespace().map(trimmed).filter(number).map(str::to_owned).collect()
}

/// Runs of capitalised words that do not begin a sentence.
fn names(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let (mut first, mut open) = (true, false);
    for raw in text.split_whitespace() {
        let word = trimmed(raw);
        let name =
            !first && word.len() > 2 && word.starts_with(char::is_uppercase) && word.chars().all(char::is_alphabetic);
        if name && open && raw.starts_with(char::is_alphabetic) {
            if let Some(last) = found.last_mut() {
                last.push(' ');
                last.push_str(word);
            }
        } else if name {
            found.push(word.to_owned());
        }
        open = name && raw.ends_with(word);
        first = raw.ends_with(['.', '!', '?', ':']);
    }
    found
}
