//! Quotations as a reader sees them: without markup.

/// A quotation without list marks, quotation prefixes, headings' and table marks, emphasis and link targets. Words stay.
pub fn clean(quote: &str) -> String {
    let mut text = quote.trim();
    while let Some(rest) = text.strip_prefix(['>', '#', '|']) {
        text = rest.trim_start();
    }
    for mark in ["- ", "* ", "+ ", "\u{2022} "] {
        text = text.strip_prefix(mark).unwrap_or(text);
    }
    let text = links(text.trim_end_matches(['|', ' ']));
    text.replace("**", "").replace("__", "").replace(" | ", "; ")
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
        assert_eq!(clean("| Ada | 1815 |"), "Ada; 1815");
        assert_eq!(clean("## Title"), "Title");
        assert_eq!(clean("a [b c"), "a [b c");
    }
}
