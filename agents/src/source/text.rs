//! Plain text: paragraphs between blank lines.

use super::lines::{Gather, lines};
use super::{Passage, Unit};

/// From this many characters on, a line is a paragraph of its own: nobody wraps lines that late.
const UNWRAPPED: usize = 240;

/// The paragraphs of a plain text.
pub(super) fn passages(text: &str) -> Vec<Passage> {
    let mut gather = Gather::default();
    for line in lines(text) {
        if line.text.trim().is_empty() {
            gather.close();
        } else if line.text.len() >= UNWRAPPED {
            gather.alone(line, Unit::Sentence, "");
        } else {
            gather.line(line, Unit::Sentence, "");
        }
    }
    gather.finish()
}

/// The rows of a table of text. A first row without a digit is taken for its head: what the others mean, and no row itself.
pub(super) fn rows(text: &str) -> Vec<Passage> {
    let mut gather = Gather::default();
    let mut rows = lines(text).filter(|line| !line.text.trim().is_empty()).peekable();
    let head = rows.next_if(|line| !line.text.contains(|c: char| c.is_ascii_digit()));
    let context = head.map_or("", |line| line.text);
    // A head without rows is better than nothing.
    if let Some(head) = head.filter(|_| rows.peek().is_none()) {
        gather.alone(head, Unit::Whole, "");
    }
    rows.for_each(|line| gather.alone(line, Unit::Whole, context));
    gather.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Locator;

    #[test]
    fn paragraphs_keep_their_lines_and_numbers() {
        let found = passages("One\ntwo.\n\n\nThree.\n");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].text.as_str(), &found[0].locator), ("One\ntwo.", &Locator::Line(1)));
        assert_eq!((found[1].text.as_str(), &found[1].locator), ("Three.", &Locator::Line(5)));
    }

    #[test]
    fn a_file_that_is_one_line_is_cut_between_sentences() {
        let text = "This is a sentence of some length, and it goes on. ".repeat(200);
        let found = passages(&text);
        assert!(found.len() > 3);
        assert!(found.iter().all(|passage| passage.text.len() < 4_000 && passage.text.trim_end().ends_with('.')));
        assert_eq!(found.iter().map(|passage| passage.text.as_str()).collect::<String>(), text.trim_end_matches('\n'));
    }

    #[test]
    fn rows_know_their_head() {
        let found = rows("name,born\nAda,1815\n");
        assert_eq!((found.len(), found[0].context.as_str(), found[0].unit), (1, "name,born", Unit::Whole));
        assert_eq!(rows("Ada,1815\nCharles,1791\n").len(), 2);
        assert_eq!(rows("name,born\n").len(), 1);
    }
}
