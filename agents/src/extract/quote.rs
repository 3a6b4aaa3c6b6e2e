//! What can be quoted of a passage: sentences, lines or rows of at most [`QUOTE_CHARS`] characters.

use std::ops::Range;

use super::sentence::sentences;
use crate::source::{CELL_END, Passage, Unit};

/// Characters of a quotation at most, white space counted once.
pub const QUOTE_CHARS: usize = 400;

/// What of a passage can be quoted, and by which of its words it is judged.
pub(crate) struct Piece {
    pub(crate) quote: Range<usize>,
    pub(crate) judged: Range<usize>,
}

/// The quotable pieces of a passage, as byte ranges of its text.
pub(crate) fn pieces(passage: &Passage) -> Vec<Piece> {
    let text = &passage.text;
    let whole: Vec<Range<usize>> = match passage.unit {
        Unit::Sentence => sentences(text),
        Unit::Line => lines(text),
        Unit::Whole | Unit::Title => std::iter::once(0..text.len()).collect(),
        Unit::Cell => return cells(text),
    };
    let pieces = whole.into_iter().flat_map(|range| shorten(text, range));
    pieces.map(|quote| Piece { judged: quote.clone(), quote }).collect()
}

/// Cells are judged with their column's name.
fn cells(text: &str) -> Vec<Piece> {
    let mut start = 0;
    let mut found = Vec::new();
    for cell in text.split(CELL_END) {
        let value = cell.find(": ").map_or(start, |at| start + at + 2);
        let end = start + cell.len();
        found.extend(shorten(text, value..end).into_iter().map(|quote| Piece { judged: start..quote.end, quote }));
        start = end + CELL_END.len();
    }
    found
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut found = Vec::new();
    for line in text.split('\n') {
        if !line.trim().is_empty() {
            found.push(start..start + line.trim_end().len());
        }
        start += line.len() + 1;
    }
    found
}

/// The text of a piece as it is quoted: verbatim, but white space.
pub(crate) fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts what is too long for one quotation: at the last clause end that fits, else at a word, else at a character.
fn shorten(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = range.start;
    while let Some(limit) = overflow(&text[start..range.end]) {
        let head = &text[start..start + limit];
        // A clause that leaves less than a third of the room would make a scrap.
        let clause = head
            .char_indices()
            .filter(|(at, c)| {
                matches!(c, ';' | ':' | ',' | '\u{2014}') && head[at + c.len_utf8()..].starts_with(char::is_whitespace)
            })
            .map(|(at, c)| at + c.len_utf8())
            .rfind(|at| at * 3 >= limit);
        let cut = clause.or_else(|| head.rfind(char::is_whitespace).filter(|at| *at > 0)).unwrap_or(limit);
        pieces.push(start..start + head[..cut].trim_end().len());
        start += cut;
        start += text[start..range.end].len() - text[start..range.end].trim_start().len();
    }
    if start < range.end {
        pieces.push(start..range.end);
    }
    pieces
}

/// The byte at which `text` has used up the characters of a quotation, if it is longer.
fn overflow(text: &str) -> Option<usize> {
    let (mut count, mut space) = (0, true);
    for (at, c) in text.char_indices() {
        if !(c.is_whitespace() && space) {
            count += 1;
        }
        space = c.is_whitespace();
        if count > QUOTE_CHARS {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Locator;

    fn passage(text: &str, unit: Unit) -> Passage {
        Passage { text: text.to_owned(), locator: Locator::Line(1), unit, context: String::new() }
    }

    #[test]
    fn long_sentences_are_cut_at_clauses_and_nothing_is_lost() {
        let text = "a long clause with many words in it, ".repeat(40);
        let passage = passage(&text, Unit::Sentence);
        let found: Vec<Range<usize>> = pieces(&passage).into_iter().map(|piece| piece.quote).collect();
        assert!(found.len() >= 3);
        for range in &found {
            let quote = collapse(&text[range.clone()]);
            assert!(quote.chars().count() <= QUOTE_CHARS && quote.ends_with(','), "{quote}");
        }
        let joined: Vec<String> = found.into_iter().map(|range| collapse(&text[range])).collect();
        assert_eq!(joined.join(" "), text.trim());
    }

    #[test]
    fn a_word_without_end_is_cut_between_characters() {
        let text = "\u{e9}".repeat(1_000);
        assert_eq!(pieces(&passage(&text, Unit::Whole)).len(), 3);
    }

    #[test]
    fn lines_are_quoted_one_by_one() {
        let text = "let x = 1;\n\n  y();";
        let found: Vec<&str> = pieces(&passage(text, Unit::Line)).into_iter().map(|piece| &text[piece.quote]).collect();
        assert_eq!(found, ["let x = 1;", "  y();"]);
    }

    #[test]
    fn cells_are_quoted_without_their_column_and_judged_with_it() {
        let text = ["name: Ada: a life", "born: 1815"].join(CELL_END);
        let found = pieces(&passage(&text, Unit::Cell));
        let quotes: Vec<(&str, &str)> =
            found.into_iter().map(|piece| (&text[piece.quote], &text[piece.judged])).collect();
        assert_eq!(quotes, [("Ada: a life", "name: Ada: a life"), ("1815", "born: 1815")]);
    }
}
