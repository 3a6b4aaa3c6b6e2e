//! Web pages: what a reader sees of them, block by block.
//!
//! The text is taken from the parsed page and not from a rendering, so that it can be found again in the page once its
//! tags are gone: no bullets, borders or link marks are put in. What the page says beside its article (menus, footers)
//! is left out where the article makes up most of it; where a page is no article, all of it is taken.

use dom_smoothie::{Config, Readability, TextMode};

use super::{Locator, Passage, Unit};

/// The share of a page's text that must be in its article for the rest to be left out.
const ARTICLE: usize = 2;

/// Elements at most; a larger page is refused.
const ELEMENTS: usize = 200_000;

/// What is no text for a reader.
const UNSEEN: &str = "head, script, style, noscript, template, svg, iframe, select, button";

/// Elements that stand apart on the page and would run together in its text, and the letter (of no script) that is put
/// behind them until the text is cut into blocks.
const RUN_TOGETHER: &str = "dt, dd, figcaption, caption, summary, header, main, nav, footer, aside";
const MARK: char = '\u{e000}';

/// Bytes of a page that are searched for the first letters of its next block and for its first word, and blocks that may
/// not be found before the search is given up: a page of many blocks must not be read once for each.
const NEAR: usize = 32 << 10;
const FAR: usize = 512 << 10;
const MISSES: usize = 1_000;

/// Between items and rows: white space that ends a sentence (see `sentence.rs`) but is no line of the file.
const BREAK: char = '\u{2029}';

/// The blocks of a page, each under its headings and at the line of the file where it begins.
///
/// # Errors
/// A page of too many elements.
pub(super) fn passages(html: &str) -> Result<Vec<Passage>, String> {
    let page = Readability::from(html);
    if page.doc.select("*").length() > ELEMENTS {
        return Err(format!("more than {ELEMENTS} elements"));
    }
    let headings = headings(&page);
    let title = page.doc.select("title").text().trim().to_owned();
    page.doc.select(UNSEEN).remove();
    page.doc.select(RUN_TOGETHER).append_html(MARK.to_string());
    let whole = page.doc.formatted_text().to_string();
    page.doc.select("nav, footer, aside").remove();
    let body = page.doc.formatted_text().to_string();
    let is_most = |part: &str, all: &str| part.len() <= all.len() && part.len() * ARTICLE >= all.len();
    let article = if page.is_probably_readable() { article(page.doc.html().to_string()) } else { None };
    let article = article.filter(|article| is_most(article, &body));
    let text = article.unwrap_or(if is_most(&body, &whole) { body } else { whole });
    Ok(blocks(&text, &title, &headings, html))
}

fn article(html: String) -> Option<String> {
    let config = Config { text_mode: TextMode::Formatted, max_elements_to_parse: ELEMENTS, ..Config::default() };
    let mut page = Readability::new(html, None, Some(config)).ok()?;
    page.parse().ok().map(|article| article.text_content.to_string())
}

/// Level and text of the headings in order of their levels.
fn headings(page: &Readability) -> Vec<(usize, String)> {
    let of_level = |level: usize| {
        let found = page.doc.select(&format!("h{level}"));
        found.iter().map(move |heading| (level, heading.formatted_text().trim().to_owned())).collect::<Vec<_>>()
    };
    (1..=6).flat_map(of_level).collect()
}

fn blocks(text: &str, title: &str, headings: &[(usize, String)], html: &str) -> Vec<Passage> {
    let mut above: Vec<(usize, &str)> = vec![(0, title)];
    let mut place = Place { html, at: 0, line: 1, misses: 0 };
    let mut passages = Vec::new();
    let around = |c: char| c.is_whitespace() || c == MARK;
    for block in text.split("\n\n").map(|block| block.trim_matches(around)).filter(|block| !block.is_empty()) {
        let heading = headings.iter().find(|(_, heading)| heading == block);
        if let Some((level, _)) = heading {
            above.retain(|(other, _)| other < level);
        }
        let context = above.iter().map(|(_, title)| *title).collect::<Vec<_>>().join("\n").trim().to_owned();
        if let Some((level, heading)) = heading {
            above.push((*level, heading));
        }
        let unit = if heading.is_some() { Unit::Title } else { Unit::Sentence };
        let text = block.replace(['\n', MARK], &BREAK.to_string());
        let passage = Passage { text, locator: Locator::Line(place.of(block)), unit, context };
        super::lines::split_long(passage, &mut passages);
    }
    passages
}

/// Where in the page the search for the next block goes on.
struct Place<'a> {
    html: &'a str,
    at: usize,
    line: u32,
    misses: usize,
}

impl Place<'_> {
    /// The line on which a block begins: where its first letters are, or else its first word of some length. That of the
    /// block before if neither is there as it is, for instance because of entities.
    fn of(&mut self, block: &str) -> u32 {
        let start = block.char_indices().nth(24).map_or(block.len(), |(at, _)| at);
        let found = self.ahead(NEAR).find(&block[..start]).or_else(|| {
            let mut words = block.split([' ', '\n', MARK]).take(6).filter(|word| word.len() > 3);
            words.next().and_then(|word| self.ahead(FAR).find(word))
        });
        match found {
            None if self.misses == MISSES => {}
            None => self.misses += 1,
            Some(found) => {
                self.line += self.html[self.at..self.at + found].matches('\n').count() as u32;
                self.at += found;
            }
        }
        self.line
    }

    fn ahead(&self, bytes: usize) -> &str {
        if self.misses == MISSES {
            return "";
        }
        let end = (self.at + bytes..self.html.len()).find(|end| self.html.is_char_boundary(*end));
        &self.html[self.at..end.unwrap_or(self.html.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<!doctype html>\n<html><head><title>Mills</title><style>p { color: red }</style></head>\n\
        <body><nav><a href=/>Home</a></nav>\n<h1>The Mill</h1>\n<p>The <b>old</b> mill was\nbuilt in 1843 &amp; burnt.</p>\n\
        <ul><li>One wheel</li><li>Two stones</li></ul>\n<h2>Owners</h2>\n<dl><dt>Now</dt><dd>Nobody</dd></dl><table><tr><td>Ada</td> <td>1850</td></tr>\
        <tr><td>Charles</td> <td>1860</td></tr></table><script>var x = 'no';</script></body></html>";

    #[test]
    fn text_is_what_a_reader_sees_without_tags() {
        let found = passages(PAGE).expect("a small page");
        let texts: Vec<String> = found.iter().map(|passage| passage.text.replace(BREAK, "|")).collect();
        let expected = [
            "The Mill",
            "The old mill was built in 1843 & burnt.",
            "One wheel|Two stones",
            "Owners",
            "Now|Nobody",
            "Ada 1850|Charles 1860",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn blocks_know_their_headings_and_their_line() {
        let found = passages(PAGE).expect("a small page");
        assert_eq!(found[1].locator, Locator::Line(5));
        assert_eq!(found[1].context, "Mills\nThe Mill");
        assert_eq!(found[5].context, "Mills\nThe Mill\nOwners");
    }

    #[test]
    fn broken_markup_is_still_text() {
        let found = passages("<html><p>Open <b>ends <p>everywhere").expect("a small page");
        assert_eq!(found.iter().map(|passage| passage.text.as_str()).collect::<Vec<_>>(), ["Open ends", "everywhere"]);
    }
}
