//! Where sentences begin and end.
//!
//! Cutting too often is worse than cutting too seldom (half a sentence misquotes its author), so a full stop ends a
//! sentence only where neither the word before it nor the one after speaks against that.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

/// The sentences of `text` as byte ranges without surrounding white space. Items of a list, and what is set apart by a
/// blank line, count as sentences.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        if at < start {
            continue;
        }
        let end = match c {
            '.' | '!' | '?' | '\u{2026}' => {
                let end = closers(text, at + c.len_utf8());
                ends(text, at, c, end).then_some(end)
            }
            '\u{3002}' | '\u{ff01}' | '\u{ff1f}' => Some(at + c.len_utf8()),
            '\n' if breaks(&text[at + 1..]) => Some(at + 1),
            // Unicode's paragraph separator: between items and rows of web pages, which have no line ends of their own.
            '\u{2029}' => Some(at + c.len_utf8()),
            _ => None,
        };
        if let Some(end) = end {
            push(text, start..end, &mut found);
            start = end;
        }
    }
    push(text, start..text.len(), &mut found);
    found
}

fn push(text: &str, range: Range<usize>, into: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let trimmed = piece.trim();
    if !trimmed.is_empty() {
        let start = range.start + (piece.len() - piece.trim_start().len());
        into.push(start..start + trimmed.len());
    }
}

/// The end of what closes with a sentence: further stops, quotation marks, brackets, emphasis, and notes such as `[12]`.
fn closers(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        let Some(c) = rest.chars().next() else { return at };
        if matches!(
            c,
            '.' | '!' | '?' | '\u{2026}' | '"' | '\'' | ')' | ']' | '*' | '_' | '\u{201d}' | '\u{2019}' | '\u{bb}'
        ) {
            at += c.len_utf8();
        } else if let Some(note) = note(rest) {
            at += note;
        } else {
            return at;
        }
    }
}

/// The length of a note such as `[12]` or `[a]` that `rest` begins with.
fn note(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('[')?.split_once(']')?.0;
    (inside.len() <= 4 && inside.chars().all(char::is_alphanumeric)).then_some(inside.len() + 2)
}

/// Whether the stop `c` at `at`, closed at `end`, ends a sentence.
fn ends(text: &str, at: usize, c: char, end: usize) -> bool {
    let after = &text[end..];
    if after.is_empty() {
        return true;
    }
    // "3.14", "file.rs", "e.g.," and "Yahoo!'s" go on.
    let Some(next) = after.trim_start().chars().next().filter(|_| after.starts_with(char::is_whitespace)) else {
        return after.trim().is_empty();
    };
    if next.is_lowercase() || matches!(next, ',' | ';' | ':' | '\u{2013}' | '\u{2014}') {
        return false;
    }
    if c != '.' || end > at + 1 && !text[at + 1..end].chars().all(|c| matches!(c, '*' | '_' | ')')) {
        return true;
    }
    let word = word_before(&text[..at]);
    let bare: String = word.chars().filter(|c| *c != '.').flat_map(char::to_lowercase).collect();
    let following: String = after.trim_start().chars().take_while(|c| c.is_alphanumeric()).collect();
    if word.contains('.') && !bare.is_empty() && bare.chars().count() <= 4 {
        // "U.S. Army" goes on, "the U.S. The army" does not.
        return STARTERS.contains(following.as_str()) && bare != "eg" && bare != "ie";
    }
    if word.chars().count() == 1 && word.chars().all(char::is_uppercase) {
        // An initial, unless a sentence ends in a letter ("vitamin C").
        return STARTERS.contains(following.as_str());
    }
    if NEVER.contains(bare.as_str()) {
        return false;
    }
    if BEFORE_NUMBER.contains(bare.as_str()) && next.is_numeric() {
        return false;
    }
    if SOMETIMES.contains(bare.as_str()) {
        return STARTERS.contains(following.as_str());
    }
    // The number of a list item.
    !(bare.len() <= 2 && bare.chars().all(|c| c.is_ascii_digit()) && opens_line(&text[..at - bare.len()]))
}

/// The letters, digits and inner points that `before` ends with.
fn word_before(before: &str) -> &str {
    let start = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric() || *c == '.')
        .last()
        .map_or(before.len(), |(at, _)| at);
    &before[start..]
}

fn opens_line(before: &str) -> bool {
    before.rsplit('\n').next().is_none_or(|line| line.trim().is_empty())
}

/// Whether a line end before `rest` separates: a blank line or a list item follows.
fn breaks(rest: &str) -> bool {
    let line = rest.split('\n').next().unwrap_or_default().trim_start();
    line.trim().is_empty() || is_item(line)
}

/// Whether a line begins a list item.
pub(crate) fn is_item(line: &str) -> bool {
    if let Some(rest) = line.strip_prefix(['-', '*', '+', '\u{2022}']) {
        return rest.starts_with([' ', '\t']);
    }
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    (1..=3).contains(&digits)
        && line[digits..].strip_prefix(['.', ')']).is_some_and(|rest| rest.starts_with([' ', '\t']))
}

/// Abbreviations that something always follows.
static NEVER: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "mr mrs ms dr prof st gen col lt sgt capt rev hon sen rep gov pres vs cf eg ie al ca approx dept fig figs eq viz \
     mt ft adm cmdr maj"
        .split(' ')
        .collect()
});
/// Abbreviations of what is counted.
static BEFORE_NUMBER: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "no nos vol p pp ch sec art jan feb mar apr jun jul aug sept sep oct nov dec c".split(' ').collect()
});
/// Abbreviations that may also stand last.
static SOMETIMES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| "inc ltd co corp jr sr etc bros ave blvd univ assn bc ad".split(' ').collect());
/// Capitalised words that hardly ever follow an abbreviation inside a sentence.
static STARTERS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "The A An In It Its He She They This These That Those There We His Her Their On At As By For From After Before \
     During When While However But And Although Since If Some Many Most Other With To One Another Such Both According"
        .split(' ')
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn stops_inside_a_sentence_do_not_end_it() {
        for whole in [
            "Dr. J. R. Smith of the U.S. Army paid $3.5 million, e.g. in Washington, D.C., for it.",
            "See No. 5 and pp. 12 of Vol. 2 (cf. Fig. 3) in file.rs.",
            "Apple Inc. Chairman Jones vs. Yahoo! in court.",
            "\"Is it?\" he asked.",
        ] {
            assert_eq!(split(whole), [whole]);
        }
    }

    #[test]
    fn sentences_end_at_stops_with_all_that_closes_them() {
        assert_eq!(
            split("He said \"Go.\" Then he left.[12] Was it (really?) Yes!"),
            ["He said \"Go.\"", "Then he left.[12]", "Was it (really?)", "Yes!"]
        );
        assert_eq!(split("He lived in the U.S. The army did not."), ["He lived in the U.S.", "The army did not."]);
        assert_eq!(split("It rose in 1990. 1991 was worse."), ["It rose in 1990.", "1991 was worse."]);
        assert_eq!(split("終わり。次の文。"), ["終わり。", "次の文。"]);
    }

    #[test]
    fn list_items_and_blank_lines_separate() {
        assert_eq!(
            split("Two things:\n- one\n  goes on\n- two\n\nEnd"),
            ["Two things:", "- one\n  goes on", "- two", "End"]
        );
        assert_eq!(split("1. First item. More.\n2. Second"), ["1. First item.", "More.", "2. Second"]);
    }
}
