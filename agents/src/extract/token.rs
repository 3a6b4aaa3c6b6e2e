//! Words as the engine compares them.

use std::borrow::Cow;
use std::ops::Range;

use rust_stemmers::{Algorithm, Stemmer};

/// A word or number of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Lowercase, without accents' case, without the possessive; the digits of a number without thousands separators.
    pub(crate) word: String,
    /// What it is found by: the stem of a word, a number as it is.
    pub(crate) term: String,
    /// Its place in the text, in bytes.
    pub(crate) at: Range<usize>,
    /// Whether it began with a capital letter.
    pub(crate) capital: bool,
    /// Whether it has a digit in it.
    pub(crate) digit: bool,
    /// Whether it carries grammar rather than content.
    pub(crate) function: bool,
}

thread_local! {
    static STEMMER: Stemmer = Stemmer::create(Algorithm::English);
}

/// The words and numbers of `text` in order.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::with_capacity(text.len() / 6);
    let mut chars = text.char_indices().peekable();
    while let Some((start, first)) = chars.next() {
        if !first.is_alphanumeric() {
            continue;
        }
        let mut end = start + first.len_utf8();
        if !is_ideograph(first) {
            while let Some(&(at, c)) = chars.peek() {
                let inside = c.is_alphanumeric() && !is_ideograph(c) || joins(text, at, c);
                if !inside {
                    break;
                }
                end = at + c.len_utf8();
                chars.next();
            }
        }
        found.push(token(text, start..end, first));
    }
    found
}

/// Whether `c` at `at` binds what is before and after it into one token: an apostrophe between letters, a point or
/// comma between digits.
fn joins(text: &str, at: usize, c: char) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at + c.len_utf8()..].chars().next();
    let both = |is: fn(char) -> bool| before.is_some_and(is) && after.is_some_and(is);
    match c {
        '\'' | '\u{2019}' => both(char::is_alphabetic),
        '.' => both(|c| c.is_ascii_digit()),
        ',' => both(|c| c.is_ascii_digit()) && thousands(&text[at + 1..]),
        _ => is_combining(c),
    }
}

/// Whether three digits and no more follow a comma.
fn thousands(after: &str) -> bool {
    after.bytes().take_while(u8::is_ascii_digit).count() == 3
}

fn is_combining(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

fn token(text: &str, at: Range<usize>, first: char) -> Token {
    let raw = &text[at.clone()];
    let digit = raw.bytes().any(|byte| byte.is_ascii_digit());
    let mut word: String = raw.chars().filter(|c| !is_combining(*c)).flat_map(char::to_lowercase).map(plain).collect();
    if digit {
        word.retain(|c| c != ',');
    }
    for possessive in ["'s", "'"] {
        if let Some(base) = word.strip_suffix(possessive) {
            word.truncate(base.len());
            break;
        }
    }
    let term = if digit { word.clone() } else { stem(&word).into_owned() };
    let capital = first.is_uppercase();
    let function = is_function(&word) && !is_name(&word, raw, capital);
    Token { word, term, at, capital, digit, function }
}

/// The stem of a lowercase word.
pub(crate) fn stem(word: &str) -> Cow<'_, str> {
    STEMMER.with(|stemmer| stemmer.stem(word))
}

/// Whether two words begin alike for so long that they are likely of one family (`popular`, `popularity`).
pub(crate) fn akin(a: &Token, b: &Token) -> bool {
    if a.digit || b.digit {
        return false;
    }
    let length = |text: &str| text.chars().count();
    let shared = a.word.chars().zip(b.word.chars()).take_while(|(a, b)| a == b).count();
    let stem = length(&a.term).min(length(&b.term));
    shared >= 5 && shared >= stem && shared + 5 >= length(&a.word).max(length(&b.word))
}

/// Letters with marks as their base letters, as people type them in questions.
fn plain(c: char) -> char {
    match c {
        '\u{2019}' => '\'',
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' => 'd',
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'ı' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'ş' | 'š' => 's',
        'ť' | 'ţ' => 't',
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

/// Whether a lowercase word carries grammar rather than content.
fn is_function(word: &str) -> bool {
    FUNCTION.binary_search(&word).is_ok()
}

/// Whether capitals make a name of what else is a function word: a month, a country, an organisation.
fn is_name(word: &str, raw: &str, capital: bool) -> bool {
    match word {
        "may" | "will" => capital,
        "us" | "it" | "who" => raw.chars().all(char::is_uppercase),
        _ => false,
    }
}

/// Sorted, for the search above.
const FUNCTION: &[&str] = &[
    "a",
    "about",
    "above",
    "after",
    "again",
    "against",
    "all",
    "also",
    "although",
    "am",
    "among",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "being",
    "below",
    "between",
    "both",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "doing",
    "down",
    "during",
    "each",
    "either",
    "etc",
    "for",
    "from",
    "further",
    "had",
    "has",
    "have",
    "having",
    "he",
    "her",
    "here",
    "hers",
    "herself",
    "him",
    "himself",
    "his",
    "how",
    "however",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "itself",
    "just",
    "may",
    "me",
    "might",
    "more",
    "most",
    "much",
    "must",
    "my",
    "myself",
    "nor",
    "of",
    "off",
    "on",
    "once",
    "only",
    "onto",
    "or",
    "other",
    "our",
    "ours",
    "out",
    "over",
    "own",
    "per",
    "same",
    "shall",
    "she",
    "should",
    "since",
    "so",
    "some",
    "such",
    "than",
    "that",
    "the",
    "their",
    "theirs",
    "them",
    "themselves",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "though",
    "through",
    "thus",
    "to",
    "too",
    "under",
    "until",
    "up",
    "upon",
    "us",
    "very",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "within",
    "without",
    "would",
    "you",
    "your",
    "yours",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.word).collect()
    }

    #[test]
    fn numbers_stay_whole_and_words_lose_their_dress() {
        assert_eq!(words("In 1,234.5 cafés, Ada's don't"), ["in", "1234.5", "cafes", "ada", "don't"]);
        assert_eq!(words("3,14 and 1990,1991"), ["3", "14", "and", "1990", "1991"]);
        assert_eq!(words("well-known U.S. dogs\u{2019} life"), ["well", "known", "u", "s", "dogs", "life"]);
    }

    #[test]
    fn inflections_meet_in_one_term() {
        let terms: Vec<String> =
            tokens("supervise supervised supervises").into_iter().map(|token| token.term).collect();
        assert!(terms.iter().all(|term| *term == terms[0]));
    }

    #[test]
    fn scripts_without_spaces_are_taken_by_the_letter() {
        assert_eq!(words("日本語 abc"), ["日", "本", "語", "abc"]);
    }

    #[test]
    fn the_function_words_are_sorted() {
        assert!(FUNCTION.is_sorted());
        let function = |text| tokens(text).iter().map(|token| token.function).collect::<Vec<_>>();
        assert_eq!(function("the theory may give us"), [true, false, true, false, true]);
        assert_eq!(function("in May the US"), [true, false, true, false]);
    }
}
