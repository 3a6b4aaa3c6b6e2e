//! From what the user named to documents.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::detect::{HEAD, detect};
use super::walk::walk;
use super::{Document, Kind, Limits, Loaded, Passage, Skipped, SourceError, markdown, text};

/// Which documents are wanted, so that two readers can share the sources between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// Every kind.
    #[default]
    All,
    /// Web pages: HTML files and URLs.
    Web,
    /// Everything but web pages.
    Local,
}

impl Only {
    fn wants(self, kind: Kind) -> bool {
        match self {
            Only::All => true,
            Only::Web => kind == Kind::Html,
            Only::Local => kind != Kind::Html,
        }
    }
}

/// Reads every source: folders, files, and http(s) URLs. Blocks on files and network up to the limits.
///
/// # Errors
/// A source that is missing, unreadable or cannot be fetched; and sources that together give not one passage, wanted
/// or not. A single file of a folder that cannot be read is no error: it is listed in [`Loaded::skipped`].
pub fn load<S: AsRef<str>>(sources: &[S], only: Only, limits: &Limits) -> Result<Loaded, SourceError> {
    if sources.is_empty() {
        return Err(SourceError::NoneNamed);
    }
    let mut reader =
        Reader { limits, only, left: limits.total_bytes, files: 0, passages: 0, loaded: Loaded::default() };
    for source in sources {
        reader.source(source.as_ref())?;
    }
    let Reader { loaded, .. } = reader;
    if loaded.documents.is_empty() && loaded.unwanted == 0 {
        let names: Vec<&str> = sources.iter().map(AsRef::as_ref).collect();
        let first = loaded.skipped.first().map(|skipped| format!("{}: {}", skipped.source, skipped.why));
        return Err(SourceError::Nothing { sources: names.join(", "), skipped: loaded.skipped.len(), first });
    }
    Ok(loaded)
}

struct Reader<'a> {
    limits: &'a Limits,
    only: Only,
    left: u64,
    files: usize,
    passages: usize,
    loaded: Loaded,
}

impl Reader<'_> {
    fn source(&mut self, source: &str) -> Result<(), SourceError> {
        let path = Path::new(source);
        let unreadable =
            |error: io::Error| SourceError::Unreadable { path: source.to_owned(), why: error.kind().to_string() };
        let about = std::fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => missing(source),
            _ => unreadable(error),
        })?;
        if !about.is_dir() {
            let name = path.file_name().map_or_else(|| source.into(), |name| name.to_string_lossy());
            // A named file must be readable; what is in it may still be skipped.
            File::open(path).map_err(unreadable)?;
            self.file(path, &name);
            return Ok(());
        }
        let found = walk(path, self.limits).map_err(unreadable)?;
        self.loaded.skipped.extend(found.skipped.into_iter().map(|(source, why)| Skipped { source, why }));
        for file in found.files {
            self.file(&file.path, &file.name);
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) {
        self.files += 1;
        let read = if self.files > self.limits.files {
            Err(format!("more than {} files", self.limits.files))
        } else {
            self.read(path, name)
        };
        match read {
            Ok(Some((kind, passages))) => self.keep(name, kind, passages),
            Ok(None) => self.loaded.unwanted += 1,
            Err(why) => self.loaded.skipped.push(Skipped { source: name.to_owned(), why }),
        }
    }

    fn keep(&mut self, source: &str, kind: Kind, mut passages: Vec<Passage>) {
        let room = self.limits.passages - self.passages;
        let why = if passages.is_empty() {
            Some("no text in it".to_owned())
        } else if passages.len() > room {
            Some(format!("cut: more than {} passages", self.limits.passages))
        } else {
            None
        };
        passages.truncate(room);
        if let Some(why) = why {
            self.loaded.skipped.push(Skipped { source: source.to_owned(), why });
        }
        if !passages.is_empty() {
            self.passages += passages.len();
            self.loaded.documents.push(Document { source: source.to_owned(), kind, passages });
        }
    }

    /// The passages of a file, or none if its kind is not wanted.
    fn read(&mut self, path: &Path, name: &str) -> Result<Option<(Kind, Vec<Passage>)>, String> {
        let mut file = File::open(path).map_err(|error| format!("not readable: {}", error.kind()))?;
        let mut bytes = Vec::new();
        let mut take = |bytes: &mut Vec<u8>, limit: u64| {
            file.by_ref().take(limit).read_to_end(bytes).map_err(|error| format!("not readable: {}", error.kind()))
        };
        take(&mut bytes, HEAD as u64)?;
        if bytes.is_empty() {
            return Err("empty".to_owned());
        }
        let kind = detect(name, &bytes)?;
        if !self.only.wants(kind) {
            return Ok(None);
        }
        take(&mut bytes, self.limits.file_bytes.saturating_add(1).saturating_sub(HEAD as u64))?;
        if bytes.len() as u64 > self.limits.file_bytes {
            return Err(format!("larger than {} bytes", self.limits.file_bytes));
        }
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| format!("more than {} bytes in all sources", self.limits.total_bytes))?;
        let passages = parse(kind, bytes)?;
        Ok(Some((kind, passages)))
    }
}

fn parse(kind: Kind, bytes: Vec<u8>) -> Result<Vec<Passage>, String> {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => return Err("not UTF-8".to_owned()),
    };
    if text.contains('\0') {
        return Err("not text".to_owned());
    }
    // A byte order mark is no part of the first word.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(match kind {
        Kind::Markdown => markdown::passages(text),
        Kind::Table => text::rows(text),
        _ => text::passages(text),
    })
}

fn missing(source: &str) -> SourceError {
    SourceError::Missing { path: source.to_owned(), nearest: None }
}

#[cfg(test)]
mod tests;
