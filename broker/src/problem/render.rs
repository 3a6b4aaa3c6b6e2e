//! A problem as lines of text.
//!
//! The text may hold anything a file, a peer or a command line held, so what could steer a terminal is replaced, every
//! part has its share of the lines, and what does not fit ends in dots.

use super::{Place, Problem};

/// The width for which [`LINES`] is promised.
pub(super) const COLUMNS: usize = 80;
/// The most lines that a problem takes.
const LINES: usize = 8;
/// Narrower than this, words would be cut to pieces: the terminal may wrap such lines itself.
const NARROWEST: usize = 30;
/// An option list on the caret's line needs at least this much room; otherwise it gets a line of its own.
const ROOM_AT_CARET: usize = 24;

/// At most [`LINES`] lines. The parts that are dropped first when they do not all fit are the pointer to the page (its
/// code stands in the first line) and then the note.
pub(super) fn lines(problem: &Problem, columns: usize) -> Vec<String> {
    let columns = columns.max(NARROWEST);
    let mut head = wrap(&format!("error[{}]: {}", problem.code, problem.what), "", columns, 2);
    let allowed: Vec<String> =
        problem.allowed.iter().map(|value| clean(value)).filter(|value| !value.is_empty()).collect();
    let (place, told) = problem.at.as_ref().map_or_else(Default::default, |at| point(at, &allowed, columns));
    head.extend(place);
    if !told && !allowed.is_empty() {
        head.push(format!("  known: {}", list(&allowed, columns - "  known: ".len())));
    }
    let note = problem.note.as_ref().map(|note| wrap(note, "  ", columns, 1)).unwrap_or_default();
    let fix = problem.fix.as_ref().map(|fix| wrap(fix, "  fix: ", columns, 2)).unwrap_or_default();
    let more = vec![format!("  more: callboard explain {}", problem.code)];

    let needed = head.len() + fix.len();
    let keep_note = needed + note.len() <= LINES;
    let keep_more = needed + if keep_note { note.len() } else { 0 } < LINES;
    head.extend(note.into_iter().filter(|_| keep_note));
    head.extend(fix);
    head.extend(more.into_iter().filter(|_| keep_more));
    head
}

/// The lines that show a place, and whether they tell what is allowed.
fn point(at: &Place, allowed: &[String], columns: usize) -> (Vec<String>, bool) {
    let arrow = format!("  --> {}", tail(&format!("{}:{}:{}", clean(&at.file), at.line, at.column), columns - 6));
    if at.text.trim().is_empty() {
        return (vec![arrow], false);
    }
    let number = at.line.to_string();
    let gutter = format!("  {number} | ");
    let room = columns.saturating_sub(gutter.chars().count()).max(10);
    let (text, column) = window(&clean(&at.text), at.column.max(1), room);
    let width = at.width.clamp(1, (room + 1).saturating_sub(column).max(1));
    let mut caret = format!("  {:1$} | ", "", number.len()) + &" ".repeat(column - 1) + &"^".repeat(width);
    let left = columns.saturating_sub(caret.chars().count() + 1);
    let told = !allowed.is_empty() && (left >= ROOM_AT_CARET || sentence(allowed).chars().count() <= left);
    if told {
        caret = format!("{caret} {}", list(allowed, left));
    }
    (vec![arrow, format!("{gutter}{text}").trim_end().to_owned(), caret], told)
}

/// The part of a line around a column that fits the room, and where the column is in it.
fn window(text: &str, column: usize, room: usize) -> (String, usize) {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= room {
        return (text.to_owned(), column.min(letters.len() + 1));
    }
    let from = column.saturating_sub(room / 3).min(letters.len().saturating_sub(room));
    let shown: String = letters[from..letters.len().min(from + room)].iter().collect();
    (shown, (column.saturating_sub(from)).clamp(1, room))
}

/// `a, b or c`.
fn sentence(values: &[String]) -> String {
    match values {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

/// As many of the values as fit, and how many there are beside them.
fn list(values: &[String], room: usize) -> String {
    let all = sentence(values);
    if all.chars().count() <= room {
        return all;
    }
    for shown in (1..values.len()).rev() {
        let some = format!("{} and {} more", values[..shown].join(", "), values.len() - shown);
        if some.chars().count() <= room {
            return some;
        }
    }
    head(&values.join(", "), room)
}

/// Words in at most `most` lines, each after the first indented below its beginning.
fn wrap(text: &str, prefix: &str, columns: usize, most: usize) -> Vec<String> {
    let text = clean(text);
    let indent = " ".repeat(prefix.len().max(2));
    let mut lines = Vec::new();
    let mut line = prefix.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > columns {
            if lines.len() + 1 == most {
                line.push_str(" ...");
                break;
            }
            lines.push(std::mem::replace(&mut line, indent.clone()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines.into_iter().map(|line| head(&line, columns)).collect()
}

/// The beginning of a text that is too long.
fn head(text: &str, room: usize) -> String {
    match text.chars().count() > room {
        true => text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect(),
        false => text.to_owned(),
    }
}

/// The end of a text that is too long: of a path the end says more.
fn tail(text: &str, room: usize) -> String {
    let long = text.chars().count();
    match long > room {
        true => "...".chars().chain(text.chars().skip(long + 3 - room)).collect(),
        false => text.to_owned(),
    }
}

/// The text without what could steer a terminal or hide a part of it; one character stays one character, so that carets
/// keep their column.
fn clean(text: &str) -> String {
    let safe = |c: char| match c {
        '\t' | '\n' | '\r' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => '?',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(safe).collect()
}
