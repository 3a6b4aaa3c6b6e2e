//! Lines with their numbers, and the passages that are made of them.

use super::{Locator, Passage, Unit};
use crate::extract::is_item;

/// Characters of a passage that is still compared as one paragraph; longer ones are cut at a line or sentence.
pub(super) const LONG: usize = 2_000;

/// A line without its end, and its number from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) number: u32,
    pub(super) text: &'a str,
}

/// All lines of `text`.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().enumerate().map(|(index, text)| Line { number: index as u32 + 1, text })
}

/// Collects lines into passages of at most about [`LONG`] bytes.
#[derive(Default)]
pub(super) struct Gather {
    passages: Vec<Passage>,
    text: String,
    first: u32,
    unit: Unit,
    context: String,
}

impl Gather {
    /// Adds a line to the passage that is open; `unit` and `context` hold from its first line.
    pub(super) fn line(&mut self, line: Line<'_>, unit: Unit, context: &str) {
        if self.text.is_empty() {
            if line.text.is_empty() {
                return;
            }
            (self.first, self.unit) = (line.number, unit);
            context.clone_into(&mut self.context);
        } else {
            self.text.push('\n');
        }
        self.text.push_str(line.text);
        if self.text.len() >= LONG {
            self.close();
        }
    }

    /// The line that is open, if it is a paragraph by itself so far and no list item.
    pub(super) fn take_single(&mut self) -> Option<(u32, String)> {
        let single = !self.text.is_empty() && !self.text.contains('\n') && !is_item(self.text.trim_start());
        single.then(|| (self.first, std::mem::take(&mut self.text)))
    }

    /// Ends the passage that is open.
    pub(super) fn close(&mut self) {
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            return;
        }
        let locator = Locator::Line(self.first);
        let context = self.context.clone();
        split_long(Passage { text, locator, unit: self.unit, context }, &mut self.passages);
    }

    /// A passage of its own.
    pub(super) fn alone(&mut self, line: Line<'_>, unit: Unit, context: &str) {
        self.close();
        self.line(line, unit, context);
        self.close();
    }

    pub(super) fn finish(mut self) -> Vec<Passage> {
        self.close();
        self.passages
    }
}

/// Cuts a passage far longer than [`LONG`] (a file that is one line) between sentences or else words.
pub(super) fn split_long(passage: Passage, into: &mut Vec<Passage>) {
    if passage.text.len() < 2 * LONG {
        into.push(passage);
        return;
    }
    let Passage { text, mut locator, unit, context } = passage;
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let length = if rest.len() < 2 * LONG { rest.len() } else { cut(rest) };
        let (piece, after) = rest.split_at(length);
        if !piece.trim().is_empty() {
            into.push(Passage { text: piece.to_owned(), locator: locator.clone(), unit, context: context.clone() });
        }
        locator = locator.after(piece);
        rest = after;
    }
}

/// The length of the first piece of `text`: to a sentence end before [`LONG`], else a space, else any character.
fn cut(text: &str) -> usize {
    let limit = (LONG..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let head = &text[..limit];
    let sentence = head.rfind(". ").map(|at| at + 2);
    let space = head.rfind(char::is_whitespace).map(|at| at + head[at..].chars().next().map_or(1, char::len_utf8));
    sentence.or(space).unwrap_or(limit)
}
