//! PDFs, page by page.

use super::lines::split_long;
use super::text;
use super::{Locator, Passage};

/// The paragraphs of a PDF, each with its page. May panic or loop, overflow its stack, or fill all memory: to be guarded,
/// and done apart for whoever is not trusted.
///
/// # Errors
/// When it is broken, encrypted, or has no text (scanned pages).
pub(super) fn passages(bytes: &[u8]) -> Result<Vec<Passage>, String> {
    let pages = pdf_extract::extract_text_from_mem_by_pages(bytes);
    let pages = pages.map_err(|error| format!("broken PDF: {}", plain(&error.to_string())))?;
    let mut found = Vec::new();
    for (page, text) in (1..).zip(&pages) {
        for passage in text::passages(text) {
            split_long(Passage { locator: Locator::Page(page), ..passage }, &mut found);
        }
    }
    if found.is_empty() { Err("PDF without text".to_owned()) } else { Ok(found) }
}

/// An error of others as one phrase, without the kinds that it names first.
fn plain(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default().trim_end_matches('.');
    line.trim_start_matches("PDF error: ").trim_start_matches("IO error: ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::guard::{Readers, guarded};
    use super::*;

    /// A PDF whose pages have one line of text each.
    fn pdf(pages: &[&str]) -> Vec<u8> {
        let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
        let mut objects = vec![
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()),
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        ];
        for (page, text) in pages.iter().enumerate() {
            let font = "/Resources << /Font << /F1 3 0 R >> >>";
            let content = 5 + 2 * page;
            objects.push(format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {font} /Contents {content} 0 R >>"
            ));
            let stream = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
            objects.push(format!("<< /Length {} >>\nstream\n{stream}\nendstream", stream.len()));
        }
        let mut file = "%PDF-1.4\n".to_owned();
        let mut places = Vec::new();
        for (at, object) in objects.iter().enumerate() {
            places.push(file.len());
            file += &format!("{} 0 obj\n{object}\nendobj\n", at + 1);
        }
        let table = file.len();
        file += &format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
        places.iter().for_each(|place| file += &format!("{place:010} 00000 n \n"));
        file += &format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1);
        file.into_bytes()
    }

    fn passages(bytes: Vec<u8>) -> Result<Vec<Passage>, String> {
        static READERS: Readers = Readers::new();
        let limit = Duration::from_secs(60);
        guarded(READERS.place("PDF", limit)?, "PDF", limit, move || super::passages(&bytes))
    }

    #[test]
    fn text_comes_with_its_page() {
        let found = passages(pdf(&["The mill was built in 1843.", "It burnt in 1901."])).expect("text");
        let found: Vec<(String, &str)> =
            found.iter().map(|passage| (passage.locator.to_string(), passage.text.trim())).collect();
        let expected = [("p. 1", "The mill was built in 1843."), ("p. 2", "It burnt in 1901.")];
        assert_eq!(found, expected.map(|(page, text)| (page.to_owned(), text)));
    }

    #[test]
    fn broken_and_empty_files_are_errors_and_no_panics() {
        let whole = pdf(&["The mill was built in 1843."]);
        for cut in [9, 60, whole.len() / 2] {
            let why = passages(whole[..cut].to_vec()).expect_err("broken");
            assert!(why.starts_with("broken PDF"), "{why}");
        }
        assert_eq!(passages(pdf(&[""])), Err("PDF without text".to_owned()));
    }

    #[test]
    fn bytes_changed_anywhere_never_escape_as_a_panic() {
        let whole = pdf(&["The mill was built in 1843."]);
        for at in (0..whole.len()).step_by(37) {
            let mut broken = whole.clone();
            broken[at] = b'<';
            // Either outcome is right: what matters is that there is one.
            let _ = passages(broken);
        }
    }
}
