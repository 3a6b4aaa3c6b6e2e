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
    scan.gather.finish()
}

#[derive(Default)]
struct Scan<'a> {
    gather: Gather,
    /// The headings above, by level.
    headings: Vec<(usize, &'a str)>,
    /// The fence that closes the code block we are in.
    fence: Option<&'a str>,
    /// The head of the table we are in.
    head: Option<&'a str>,
    /// The front matter between `---` lines at the top.
    front: bool,
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
            } else if !trimmed.is_empty() {
                self.gather.line(line, Unit::Line, &self.context());
            }
            return;
        }
        if let Some(fence) = opening_fence(trimmed) {
            self.gather.close();
            self.fence = Some(fence);
        } else if trimmed.is_empty() {
            self.head = None;
            self.gather.close();
        } else if let Some((level, title)) = heading(trimmed) {
            self.headings.retain(|(above, _)| *above < level);
            let context = self.context();
            self.headings.push((level, title));
            self.gather.alone(line, Unit::Whole, &context);
        } else if trimmed.starts_with('|') {
            self.row(line, trimmed);
        } else {
            self.head = None;
            self.gather.line(line, Unit::Sentence, &self.context());
        }
    }

    fn row(&mut self, line: Line<'a>, trimmed: &'a str) {
        if trimmed.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ')) {
            return;
        }
        let mut context = self.context();
        match self.head {
            Some(head) => {
                context.push('\n');
                context.push_str(head);
            }
            None => self.head = Some(trimmed),
        }
        self.gather.alone(line, Unit::Whole, &context);
    }

    fn context(&self) -> String {
        let titles: Vec<&str> = self.headings.iter().map(|(_, title)| *title).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Locator;

    const PAGE: &str = "---\ntitle: x\n---\n# Guide\n\nIntro *text*\nover two lines.\n\n## Table\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\n```rust\n# not a heading\n\nlet x = 1;\n```\n- item one\n- item two\n# End\nLast.\n";

    #[test]
    fn blocks_are_told_apart() {
        let texts: Vec<String> = passages(PAGE).into_iter().map(|passage| passage.text).collect();
        let expected = [
            "# Guide",
            "Intro *text*\nover two lines.",
            "## Table",
            "| a | b |",
            "| 1 | 2 |",
            "# not a heading\nlet x = 1;",
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
        assert_eq!(found[4].context, "Guide\nTable\n| a | b |");
        assert_eq!(found[5].unit, Unit::Line);
        assert_eq!(found[8].context, "End");
    }
}
