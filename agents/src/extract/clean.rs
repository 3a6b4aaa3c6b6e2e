//! Quotations as a reader sees them: without markup.

/// A quotation without list marks, quotation prefixes, headings' and table marks, emphasis and link targets. Words stay.
pub fn clean(quote: &str) -> String {
    let mut text = quote.trim();
    let quoted = text.starts_with('>');
    while let Some(rest) = text.strip_prefix(['>', '#', '|']) {
        text = rest.trim_start();
    }
    for mark in ["- ", "* ", "+ ", "\u{2022} "] {
        text = text.strip_prefix(mark).unwrap_or(text);
    }
    let text = links(text.trim_end_matches(['|', ' ']));
    let text = if quoted { text.replace(" > ", " ") } else { text };
    plain(&text.replace(" | ", "; "))
}

/// Without the marks of emphasis: those that have a word on one side only. `2*3` and `snake_case` stay, as does code.
fn plain(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let is_mark = |at: usize| matches!(letters[at], '*' | '_');
    let word = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|c| !c.is_whitespace());
    let mut out = String::with_capacity(text.len());
    let (mut at, mut code) = (0, false);
    while at < letters.len() {
        let run = (at..letters.len()).take_while(|end| is_mark(*end) && letters[*end] == letters[at]).count();
        code ^= letters[at] == '`';
        if run == 0 || code {
            out.push(letters[at]);
            at += 1;
            continue;
        }
        let edge = |at: Option<usize>| !at.and_then(|at| letters.get(at)).is_some_and(|c| c.is_alphanumeric());
        let (before, after) = (at.checked_sub(1), Some(at + run));
        let emphasis = run <= 3 && (word(before) || word(after)) && (edge(before) || edge(after));
        if !emphasis {
            out.extend(&letters[at..at + run]);
        }
        at += run;
    }
    out
}

/// `[label](target)` as `label`.
fn links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let inside = &rest[open + 1..];
        let link =
            inside.find("](").and_then(|middle| inside[middle..].find(')').map(|end| (middle, middle + end + 1)));
        out.push_str(&rest[..open]);
        match link {
            Some((middle, end)) if !inside[..middle].contains('[') => {
                out.push_str(&inside[..middle]);
                rest = &inside[end..];
            }
            _ => {
                out.push('[');
                rest = inside;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_goes_and_words_stay() {
        assert_eq!(clean("> - See **the** [guide](docs/a.md)[1]."), "See the guide[1].");
        assert_eq!(clean("> One line > and another."), "One line and another.");
        assert_eq!(
            clean("* **Owner**: the *town* of _Gera_ since `a_b*`, 2*3 * 4"),
            "Owner: the town of Gera since `a_b*`, 2*3 * 4"
        );
        assert_eq!(clean("snake_case and __init__(x), a * b"), "snake_case and init(x), a * b");
        assert_eq!(clean("| Ada | 1815 |"), "Ada; 1815");
        assert_eq!(clean("## Title"), "Title");
        assert_eq!(clean("a [b c"), "a [b c");
    }
}
