//! Markdown: the same blocks that a reader sees, with their markup left in.
//!
//! This is no renderer: only where blocks begin and end matters, and that can be told line by line.

use super::lines::{Gather, Line, lines};
use super::{Passage, Unit};

/// The paragraphs, lists, code blocks and table rows of a Markdown file, each under its headings.
pub(super) fn passages(text: &str) -> Vec<Passage> {
    let mut scan = Scan::default();
    for line in lines(text) {
        scan.line(line);
    }
    scan.end_table();
    scan.gather.finish()
}

#[derive(Default)]
struct Scan<'a> {
    gather: Gather,
    /// The headings above, by level.
    headings: Vec<(usize, String)>,
    /// The fence that closes the code block we are in.
    fence: Option<&'a str>,
    table: Table<'a>,
    /// The front matter between `---` lines at the top.
    front: bool,
}

/// What is known of the table we are in.
#[derive(Clone, Copy, Default)]
enum Table<'a> {
    #[default]
    None,
    /// One row, which is its head if the line below says so.
    First(Line<'a>),
    /// Rows below this head, which is empty where there is none.
    Rows(&'a str),
}

impl<'a> Scan<'a> {
    fn line(&mut self, line: Line<'a>) {
        let trimmed = line.text.trim();
        if self.front || (line.number == 1 && trimmed == "---") {
            self.front = line.number == 1 || trimmed != "---";
            return;
        }
        if let Some(fence) = self.fence {
            if trimmed.starts_with(fence) && trimmed.trim_start_matches(&fence[..1]).is_empty() {
                self.fence = None;
                self.gather.close();
            } else {
                self.gather.line(line, Unit::Line, &self.context());
            }
            return;
        }
        if trimmed.starts_with('|') && opening_fence(trimmed).is_none() {
            return self.row(line, trimmed);
        }
        self.end_table();
        if let Some(fence) = opening_fence(trimmed) {
            self.gather.close();
            self.fence = Some(fence);
        } else if trimmed.is_empty() || is_definition(trimmed) {
            self.gather.close();
        } else if let Some((level, title)) = heading(trimmed) {
            self.gather.close();
            self.title(level, title.to_owned(), line.number, line.text);
        } else if let Some(level) = underline(trimmed) {
            match self.gather.take_single() {
                Some((number, text)) => self.title(level, text.trim().to_owned(), number, &text),
                None => self.gather.close(),
            }
        } else {
            self.gather.line(line, Unit::Sentence, &self.context());
        }
    }

    /// A heading: a passage of its own, and context of what is below it.
    fn title(&mut self, level: usize, title: String, number: u32, text: &str) {
        self.headings.retain(|(above, _)| *above < level);
        self.gather.alone(Line { number, text }, Unit::Title, &self.context());
        self.headings.push((level, title));
    }

    fn row(&mut self, line: Line<'a>, trimmed: &str) {
        self.gather.close();
        let delimits = trimmed.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
        self.table = match self.table {
            Table::First(head) if delimits => Table::Rows(head.text.trim()),
            table if delimits => table,
            Table::None => Table::First(line),
            Table::First(first) => {
                self.gather.alone(first, Unit::Whole, &self.context());
                self.gather.alone(line, Unit::Whole, &self.context());
                Table::Rows("")
            }
            Table::Rows(head) => {
                let context = format!("{}\n{head}", self.context());
                self.gather.alone(line, Unit::Whole, context.trim());
                Table::Rows(head)
            }
        };
    }

    fn end_table(&mut self) {
        if let Table::First(line) = std::mem::take(&mut self.table) {
            self.gather.alone(line, Unit::Whole, &self.context());
        }
    }

    fn context(&self) -> String {
        let titles: Vec<&str> = self.headings.iter().map(|(_, title)| title.as_str()).collect();
        titles.join("\n")
    }
}

/// The run of backticks or tildes that opens a code block.
fn opening_fence(trimmed: &str) -> Option<&str> {
    let mark = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let run = trimmed.len() - trimmed.trim_start_matches(mark).len();
    // Backticks later in the line make it an inline code span.
    (run >= 3 && !(mark == '`' && trimmed[run..].contains('`'))).then(|| &trimmed[..run])
}

/// Level and title of an ATX heading.
fn heading(trimmed: &str) -> Option<(usize, &str)> {
    let level = trimmed.len() - trimmed.trim_start_matches('#').len();
    let title = &trimmed[level..];
    ((1..=6).contains(&level) && title.starts_with([' ', '\t']))
        .then(|| (level, title.trim().trim_end_matches('#').trim()))
}

/// The level of the heading that this line would make of the line before.
fn underline(trimmed: &str) -> Option<usize> {
    let all = |mark: char| trimmed.len() >= 2 && trimmed.chars().all(|c| c == mark);
    if all('=') { Some(1) } else { all('-').then_some(2) }
}

/// Whether a line only gives a link its target.
fn is_definition(trimmed: &str) -> bool {
    trimmed.strip_prefix('[').and_then(|rest| rest.split_once("]:")).is_some_and(|(label, target)| {
        !label.starts_with('^') && !label.contains(']') && target.split_whitespace().count() <= 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Locator;

    const PAGE: &str = "---\ntitle: x\n---\n# Guide\n\nIntro *text*\nover two lines.\n\n## Table\n| a | b |\n|---|:-:|\n\
        | 1 | 2 |\n\n```rust\n# not a heading\n\nlet x = 1;\n```\n- item one\n- item two\n# End\nLast.\n[a]: http://b.c\n";

    #[test]
    fn blocks_are_told_apart() {
        let texts: Vec<String> = passages(PAGE).into_iter().map(|passage| passage.text).collect();
        let expected = [
            "# Guide",
            "Intro *text*\nover two lines.",
            "## Table",
            "| 1 | 2 |",
            "# not a heading\n\nlet x = 1;",
            "- item one\n- item two",
            "# End",
            "Last.",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn blocks_know_their_line_and_what_stands_above() {
        let found = passages(PAGE);
        assert_eq!(found[1].locator, Locator::Line(6));
        assert_eq!(found[3].context, "Guide\nTable\n| a | b |");
        assert_eq!(found[4].unit, Unit::Line);
        assert_eq!(found[7].context, "End");
    }

    #[test]
    fn underlined_headings_and_tables_without_head_are_known() {
        let found = passages("Title\n=====\nText\n\n| 1 | 2 |\n| 3 | 4 |\n\n- item\n---\nend\n");
        let shown: Vec<(&str, Unit, &str)> =
            found.iter().map(|passage| (passage.text.as_str(), passage.unit, passage.context.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("Title", Unit::Title, ""),
                ("Text", Unit::Sentence, "Title"),
                ("| 1 | 2 |", Unit::Whole, "Title"),
                ("| 3 | 4 |", Unit::Whole, "Title"),
                ("- item", Unit::Sentence, "Title"),
                ("end", Unit::Sentence, "Title"),
            ]
        );
    }
}
