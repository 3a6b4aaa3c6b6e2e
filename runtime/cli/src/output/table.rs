//! Rows in columns that fit a page.
//!
//! A narrow page first shortens the columns that may be shortened, the widest first, and then leaves out the columns that matter least,
//! so that what a row is about survives at 40 columns.

use super::page::Page;

/// What a column that may be shortened keeps at least.
const SHORTEST: usize = 14;
/// Between two columns.
const GAP: usize = 2;

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    flexible: bool,
    /// The greater, the earlier it goes; 0 stays.
    spare: u8,
}

impl Column {
    /// A column that always stays.
    pub(crate) const fn new(title: &'static str) -> Self {
        Column { title, right: false, flexible: false, spare: 0 }
    }

    /// A column of numbers.
    pub(crate) const fn right(self) -> Self {
        Column { right: true, ..self }
    }

    /// A column that is shortened when the page is narrow.
    pub(crate) const fn flexible(self) -> Self {
        Column { flexible: true, ..self }
    }

    /// A column that is left out when the page is narrow; the one with the greatest number first.
    pub(crate) const fn spare(self, order: u8) -> Self {
        Column { spare: order, ..self }
    }
}

/// Rows of text under titles. A cell that is missing is empty.
pub(crate) fn table(page: Page, columns: &[Column], rows: &[Vec<String>]) -> String {
    let cell = |row: &[String], at: usize| row.get(at).map(|text| super::page::plain(text)).unwrap_or_default();
    let natural = |at: usize, title: &str| {
        let cells = rows.iter().map(|row| cell(row, at).chars().count());
        cells.max().unwrap_or(0).max(title.chars().count())
    };
    let mut shown: Vec<(usize, Column, usize)> =
        columns.iter().enumerate().map(|(at, column)| (at, *column, natural(at, column.title))).collect();
    // A column that says nothing is no column.
    shown.retain(|(at, column, _)| column.spare == 0 || rows.iter().any(|row| !cell(row, *at).is_empty()));
    narrow(&mut shown, page.columns);
    let line = |text: &dyn Fn(usize, &Column) -> String| {
        let mut line = String::new();
        for (n, (at, column, wide)) in shown.iter().enumerate() {
            let text = page.fit(&text(*at, column), *wide);
            let pad = " ".repeat(wide.saturating_sub(text.chars().count()));
            line.push_str(&" ".repeat(if n == 0 { 0 } else { GAP }));
            line.push_str(&if column.right { pad + &text } else { text + &pad });
        }
        page.fit(line.trim_end(), page.columns)
    };
    let head = line(&|_, column| column.title.to_owned());
    let body = rows.iter().map(|row| line(&|at, _| cell(row, at)));
    std::iter::once(head).chain(body).map(|line| line + "\n").collect()
}

/// Takes width away until the columns fit, or nothing can be taken. Each time a column goes, the others are as wide again
/// as they would like to be.
fn narrow(shown: &mut Vec<(usize, Column, usize)>, room: usize) {
    loop {
        let mut fitted = shown.clone();
        if shorten(&mut fitted, room) {
            *shown = fitted;
            return;
        }
        let least = shown.iter().enumerate().filter(|(_, (_, column, _))| column.spare > 0);
        match least.max_by_key(|(_, (_, column, _))| column.spare).map(|(place, _)| place) {
            Some(place) => drop(shown.remove(place)),
            None => {
                *shown = fitted;
                return;
            }
        }
    }
}

/// Shortens the columns that may be shortened, the widest first; whether all fit then.
fn shorten(shown: &mut [(usize, Column, usize)], room: usize) -> bool {
    loop {
        let needed = shown.iter().map(|(_, _, wide)| wide + GAP).sum::<usize>().saturating_sub(GAP);
        if needed <= room {
            return true;
        }
        let flexible = shown.iter_mut().filter(|(_, column, wide)| column.flexible && *wide > SHORTEST);
        match flexible.max_by_key(|(_, _, wide)| *wide) {
            Some((_, _, wide)) => *wide -= 1,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("TASK"),
        Column::new("FOR").flexible(),
        Column::new("MS").right().spare(1),
        Column::new("NODE").spare(2),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![row(["1a2b", "find what supervisors restart", "7", "lap-1"]), row(["3c4d", "short", "1200", ""])]
    }

    #[test]
    fn what_matters_least_goes_first() {
        let at = |columns| table(Page { columns, ascii: true }, &COLUMNS, &rows());
        assert_eq!(
            at(80),
            "TASK  FOR                              MS  NODE\n\
             1a2b  find what supervisors restart     7  lap-1\n\
             3c4d  short                          1200\n"
        );
        assert_eq!(
            at(28),
            "TASK  FOR                 MS\n1a2b  find what sup...     7\n3c4d  short             1200\n"
        );
        assert_eq!(at(20), "TASK  FOR\n1a2b  find what s...\n3c4d  short\n");
    }

    #[test]
    fn a_spare_column_without_content_is_left_out() {
        let text = table(Page { columns: 80, ascii: true }, &COLUMNS, &[vec!["x".into(), "y".into()]]);
        assert_eq!(text, "TASK  FOR\nx     y\n");
    }
}
