//! Progress where somebody can see it: redrawn in place on a terminal, one line for each task that ended elsewhere.

use callboard::broker::clock::Millis;

use super::rows::{Notes, Rows};
use crate::output::{Printer, can_redraw, redrawable_lines};

/// The lines that are on the screen, so that the next drawing can go over them.
pub(crate) struct Screen {
    out: Printer,
    redraws: bool,
    drawn: usize,
}

impl Screen {
    /// A screen that may be redrawn if standard error is a terminal that can do it.
    pub(crate) fn new(out: &Printer) -> Screen {
        Screen { out: out.clone(), redraws: can_redraw(), drawn: 0 }
    }

    /// One more fact, for who cannot see a redrawn tree.
    pub(crate) fn line(&self, line: &str) {
        if !self.redraws {
            self.out.note(&self.out.page.fit(line, self.out.page.columns));
        }
    }

    /// Draws the tree over the one before, if that can be done here.
    pub(crate) fn draw(&mut self, rows: &Rows, now: Millis, notes: &Notes) {
        if !self.redraws {
            return;
        }
        let lines = rows.tree(self.out.page, now, notes, redrawable_lines());
        let mut text = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        text.extend(lines.iter().map(|line| format!("\r\x1b[K{line}\n")));
        // A tree that has become shorter must not leave lines of the longer one below it.
        text += "\x1b[J";
        self.drawn = lines.len();
        self.out.progress(&text);
    }
}
