//! What text has to fit: so many columns, and perhaps only ASCII.

use std::env;
use std::io::IsTerminal;

/// What is assumed where nobody knows how wide the output is.
const COLUMNS: usize = 80;
/// Narrower than this nothing useful fits: the terminal may wrap.
const NARROWEST: usize = 20;

/// The form of the paper that text is written on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// How many characters fit into a line.
    pub(crate) columns: usize,
    /// Whether only ASCII may be used for what is drawn. Content stays as it is.
    pub(crate) ascii: bool,
}

impl Page {
    /// The page that the environment and the terminal give: `COLUMNS`, else the terminal's width, else 80.
    pub(crate) fn from_environment() -> Page {
        let asked = || terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0));
        let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).or_else(asked);
        let named = env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok()).filter(|n| *n > 0);
        let columns = named.or_else(asked).filter(|n| *n > 0).unwrap_or(COLUMNS).max(NARROWEST);
        let locale = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = locale("LC_ALL").or_else(|| locale("LC_CTYPE")).or_else(|| locale("LANG"));
        Page { columns, ascii: !locale.is_some_and(|name| is_utf8(&name)) }
    }

    /// What stands before the branches of a tree: one that has more below it, the last one, and what is below the first.
    pub(crate) fn branches(self) -> [&'static str; 3] {
        if self.ascii { ["|- ", "`- ", "|  "] } else { ["├─ ", "└─ ", "│  "] }
    }

    /// At most `room` characters of a text, with dots where some are left out, on one line and harmless to a terminal.
    pub(crate) fn fit(self, text: &str, room: usize) -> String {
        let text = plain(text);
        if text.chars().count() <= room {
            return text;
        }
        let dots = if self.ascii { "..." } else { "…" };
        let dots = if room < 8 { "" } else { dots };
        let kept: String = text.chars().take(room.saturating_sub(dots.chars().count())).collect();
        kept.trim_end().to_owned() + dots
    }

    /// A name in a column of `wide` characters and words beside it, wrapped there.
    pub(crate) fn field(self, name: &str, wide: usize, words: &str) -> String {
        format!("{name:wide$} {}\n", self.wrap(words, wide + 1))
    }

    /// Words in lines of at most `columns`, each line after the first indented by `indent`.
    pub(crate) fn wrap(self, text: &str, indent: usize) -> String {
        let mut lines = vec![String::new()];
        let mut used = indent;
        for word in text.split_whitespace().map(plain) {
            let wide = word.chars().count();
            if used > indent && used + 1 + wide > self.columns {
                lines.push(" ".repeat(indent));
                used = indent;
            }
            if let Some(line) = lines.last_mut() {
                if used > indent {
                    line.push(' ');
                    used += 1;
                }
                line.push_str(&word);
            }
            used += wide;
        }
        lines.join("\n")
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The text on one line, without what could steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    let safe = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(safe).collect()
}

/// How many lines can be drawn over again: what has left the screen at its top cannot be reached.
pub(crate) fn redrawable_lines() -> usize {
    const LINES: usize = 24;
    let height = terminal_size::terminal_size_of(std::io::stderr()).map_or(LINES, |(_, height)| usize::from(height.0));
    height.saturating_sub(2).max(3)
}

/// Whether progress may be redrawn in place: only on a terminal that can move its cursor.
pub(crate) fn can_redraw() -> bool {
    let able = env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
    able && std::io::stderr().is_terminal()
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Page = Page { columns: 20, ascii: true };

    #[test]
    fn a_text_that_is_too_long_ends_in_dots_and_cannot_steer_a_terminal() {
        assert_eq!(PAGE.fit("\u{1b}[31mred\nsecond line", 14), "?[31mred se...");
        assert_eq!(PAGE.fit("short", 14), "short");
        assert_eq!(Page { ascii: false, ..PAGE }.fit("a long sentence", 10), "a long se…");
    }

    #[test]
    fn words_are_wrapped_below_the_first() {
        assert_eq!(PAGE.wrap("one two three four five six", 4), "one two three\n    four five six");
        assert_eq!(PAGE.wrap("", 4), "");
    }

    #[test]
    fn a_locale_says_whether_it_is_utf8() {
        assert!(is_utf8("de_DE.UTF-8") && is_utf8("C.utf8"));
        assert!(!is_utf8("C") && !is_utf8("de_DE.ISO-8859-1"));
    }
}
