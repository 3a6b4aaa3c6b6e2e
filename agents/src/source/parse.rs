//! From the bytes of one document to its passages.

use super::{Kind, Limits, Passage, markdown, text};

/// Reads what was found to be of this kind.
///
/// # Errors
/// Why nothing can be read, as a phrase.
pub(super) fn parse(kind: Kind, bytes: Vec<u8>, limits: &Limits) -> Result<Vec<Passage>, String> {
    match kind {
        Kind::Pdf => return pdf(bytes, limits),
        Kind::Sqlite => return Err("a database that is no file".to_owned()),
        _ => {}
    }
    let read = String::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    if read.contains('\0') {
        return Err("not text".to_owned());
    }
    // A byte order mark is no part of the first word.
    let read = read.strip_prefix('\u{feff}').unwrap_or(&read);
    Ok(match kind {
        Kind::Markdown => markdown::passages(read),
        Kind::Table => text::rows(read),
        Kind::Html => return html(read.to_owned(), limits),
        _ => text::passages(read),
    })
}

#[cfg(feature = "web")]
fn html(text: String, limits: &Limits) -> Result<Vec<Passage>, String> {
    use super::guard::{Readers, guarded};

    static PAGES: Readers = Readers::new();
    guarded(PAGES.place("page", limits.parse)?, "page", limits.parse, move || super::html::passages(&text))
}

#[cfg(not(feature = "web"))]
fn html(_: String, _: &Limits) -> Result<Vec<Passage>, String> {
    Err("HTML, and this build has no feature `web`".to_owned())
}

#[cfg(feature = "pdf")]
fn pdf(bytes: Vec<u8>, limits: &Limits) -> Result<Vec<Passage>, String> {
    super::apart::passages(bytes, limits)
}

#[cfg(not(feature = "pdf"))]
fn pdf(_: Vec<u8>, _: &Limits) -> Result<Vec<Passage>, String> {
    Err("PDF, and this build has no feature `pdf`".to_owned())
}
