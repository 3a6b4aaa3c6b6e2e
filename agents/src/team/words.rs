//! Sentences as bags of words, for comparisons that need no index.

use std::collections::HashSet;

/// The words of a text in lowercase, without marks.
pub(super) fn words(text: &str) -> Vec<String> {
    let plain = text.to_lowercase();
    plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The words that tell: numbers, and those of more than three letters.
pub(super) fn telling(text: &str) -> HashSet<String> {
    let tells = |word: &String| word.chars().count() > 3 || is_number(word);
    words(text).into_iter().filter(tells).collect()
}

/// Whether a word has a digit in it.
pub(super) fn is_number(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_digit())
}

/// The share (0 to 1) of the smaller set that is in the other; 0 when it is empty.
pub(super) fn shared(a: &HashSet<String>, b: &HashSet<String>) -> f32 {
    a.intersection(b).count() as f32 / a.len().min(b.len()).max(1) as f32
}

/// Words that stand for something said before.
const PRONOUNS: &[&str] =
    &["it", "its", "he", "his", "him", "she", "her", "they", "their", "them", "this", "these", "those", "such"];

/// Whether a word stands for something said before.
pub(super) fn is_pronoun(word: &str) -> bool {
    PRONOUNS.contains(&word)
}

/// `1 quote`, `2 quotes`.
pub(super) fn plural(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
