//! Words as the engine compares them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

/// A word or number of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Lowercase, without accents' case, without the possessive; the digits of a number without thousands separators.
    pub(crate) word: String,
    /// What it is found by: the stem of a word of content, anything else as it is.
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
    spans(text).map(|at| token(text, at)).collect()
}

/// The words of content of `text`, unstemmed: a stem costs more than all else, and who reads whole libraries meets each
/// word many times.
pub(crate) fn content(text: &str) -> impl Iterator<Item = Word> {
    spans(text).map(|at| word(&text[at])).filter(|word| !word.function)
}

/// The places of words and numbers.
fn spans(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, first) = chars.find(|(_, c)| c.is_alphanumeric())?;
        let mut end = start + first.len_utf8();
        if is_ideograph(first) {
            return Some(start..end);
        }
        let inside = |at: usize, c: char| {
            c.is_ascii_alphanumeric() || c.is_alphanumeric() && !is_ideograph(c) || joins(text, at, c)
        };
        while let Some((at, c)) = chars.next_if(|(at, c)| inside(*at, *c)) {
            end = at + c.len_utf8();
        }
        Some(start..end)
    })
}

/// Whether `c` at `at` binds what is before and after it into one token: an apostrophe between letters, a point or
/// comma between digits.
fn joins(text: &str, at: usize, c: char) -> bool {
    if !matches!(c, '\'' | '\u{2019}' | '.' | ',') {
        return is_combining(c);
    }
    let before = text[..at].chars().next_back();
    let after = text[at + c.len_utf8()..].chars().next();
    let both = |is: fn(char) -> bool| before.is_some_and(is) && after.is_some_and(is);
    match c {
        '\'' | '\u{2019}' => both(char::is_alphabetic),
        '.' => both(|c| c.is_ascii_digit()),
        _ => both(|c| c.is_ascii_digit()) && thousands(&text[at + 1..]),
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

/// A word without its place and stem.
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) digit: bool,
    function: bool,
}

impl Word {
    /// What it is found by.
    pub(crate) fn term(&self) -> Cow<'_, str> {
        // Half of all words are function words, and nothing is found by them.
        if self.digit || self.function { Cow::Borrowed(&self.text) } else { stem(&self.text) }
    }
}

fn word(raw: &str) -> Word {
    let digit = raw.bytes().any(|byte| byte.is_ascii_digit());
    let mut text = if raw.is_ascii() {
        raw.to_ascii_lowercase()
    } else {
        raw.chars().filter(|c| !is_combining(*c)).flat_map(char::to_lowercase).map(plain).collect()
    };
    if digit {
        text.retain(|c| c != ',');
    }
    let base = text.strip_suffix("'s").or_else(|| text.strip_suffix('\'')).map(str::len);
    text.truncate(base.unwrap_or(text.len()));
    let function = is_function(&text) && !is_name(&text, raw);
    Word { text, digit, function }
}

fn token(text: &str, at: Range<usize>) -> Token {
    let raw = &text[at.clone()];
    let word = word(raw);
    let term = word.term().into_owned();
    Token { term, capital: is_capital(raw), digit: word.digit, function: word.function, word: word.text, at }
}

fn is_capital(raw: &str) -> bool {
    raw.starts_with(char::is_uppercase)
}

/// The stem of a lowercase word.
fn stem(word: &str) -> Cow<'_, str> {
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
    FUNCTION.contains(word)
}

/// Whether capitals make a name of what else is a function word: a month, a country, an organisation.
fn is_name(word: &str, raw: &str) -> bool {
    match word {
        "may" | "will" => is_capital(raw),
        "us" | "it" | "who" => raw.chars().all(char::is_uppercase),
        _ => false,
    }
}

static FUNCTION: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "a about above after again against all also although am among an and any are as at be because been before being \
     below between both but by can could did do does doing down during each either etc for from further had has have \
     having he her here hers herself him himself his how however i if in into is it its itself just may me might more \
     most much must my myself nor of off on once only onto or other our ours out over own per same shall she should \
     since so some such than that the their theirs them themselves then there these they this those though through \
     thus to too under until up upon us very was we were what when where whether which while who whom whose why will \
     with within without would you your yours"
        .split(' ')
        .collect()
});

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
    fn capitals_make_names_of_function_words() {
        let function = |text| tokens(text).iter().map(|token| token.function).collect::<Vec<_>>();
        assert_eq!(function("the theory may give us"), [true, false, true, false, true]);
        assert_eq!(function("in May the US"), [true, false, true, false]);
    }
}
