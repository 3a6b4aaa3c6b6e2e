//! What the content of a file is.
//!
//! The first bytes decide where they can (SQLite, PDF, anything with a NUL in it); the name decides only between kinds
//! of text, because a renamed file must not be read as what it is not.

use super::Kind;

/// Enough of a file to tell what it is.
pub(super) const HEAD: usize = 8 << 10;

/// The kind of a file with these first bytes (at most [`HEAD`]) and this name, or why it cannot be read.
pub(super) fn detect(name: &str, head: &[u8]) -> Result<Kind, &'static str> {
    if head.starts_with(b"SQLite format 3\0") {
        return Ok(Kind::Sqlite);
    }
    // Readers of PDF accept up to 1024 bytes of other matter before the mark.
    if head[..head.len().min(1024)].windows(5).any(|window| window == b"%PDF-") {
        return Ok(Kind::Pdf);
    }
    if head.contains(&0) {
        return Err("not text");
    }
    Ok(match extension(name).as_str() {
        "md" | "markdown" | "mdx" => Kind::Markdown,
        "csv" | "tsv" => Kind::Table,
        "html" | "htm" | "xhtml" => Kind::Html,
        _ if looks_like_html(head) => Kind::Html,
        _ => Kind::Text,
    })
}

fn extension(name: &str) -> String {
    name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

fn looks_like_html(head: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&head[..head.len().min(256)]).trim_start().to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_wins_over_the_name() {
        assert_eq!(detect("notes.txt", b"SQLite format 3\0rest"), Ok(Kind::Sqlite));
        assert_eq!(detect("notes.md", b"\n%PDF-1.7\n"), Ok(Kind::Pdf));
        assert_eq!(detect("notes.md", b"a\0b"), Err("not text"));
        assert_eq!(detect("page", b"  <!DOCTYPE HTML><p>x"), Ok(Kind::Html));
    }

    #[test]
    fn the_name_decides_between_kinds_of_text() {
        assert_eq!(detect("A.MD", b"# x"), Ok(Kind::Markdown));
        assert_eq!(detect("a.csv", b"x,y"), Ok(Kind::Table));
        assert_eq!(detect("Makefile", b"all:"), Ok(Kind::Text));
    }
}
