//! From what the user named to documents.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use callboard_broker::problem::closest;

use super::detect::{HEAD, detect};
use super::parse::parse;
use super::walk::walk;
use super::{Document, Kind, Limits, Loaded, Passage, Skipped, SourceError, sqlite};

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

/// Names beside a missing one that are compared with it.
const NEIGHBOURS: usize = 1_000;

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
        if is_url(source) {
            return self.url(source);
        }
        let path = Path::new(source);
        let unreadable =
            |error: io::Error| SourceError::Unreadable { path: source.to_owned(), why: error.kind().to_string() };
        let about = std::fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => missing(source),
            _ => unreadable(error),
        })?;
        if !about.is_dir() {
            if !about.is_file() {
                // A pipe or device may never end.
                return Err(SourceError::Unreadable {
                    path: source.to_owned(),
                    why: "neither a file nor a folder".to_owned(),
                });
            }
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

    fn url(&mut self, url: &str) -> Result<(), SourceError> {
        if self.only == Only::Local {
            self.loaded.unwanted += 1;
            return Ok(());
        }
        let (name, bytes) = fetch(url, self.limits)?;
        self.files += 1;
        let read = self.room(bytes.len() as u64).and_then(|()| {
            let kind = detect(&name, &bytes[..bytes.len().min(HEAD)])?;
            Ok((kind, parse(kind, bytes, self.limits)?))
        });
        self.keep(url, read.map(Some));
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) {
        self.files += 1;
        let read = if self.files > self.limits.files {
            Err(format!("more than {} files", self.limits.files))
        } else {
            self.read(path, name)
        };
        self.keep(name, read);
    }

    fn keep(&mut self, source: &str, read: Result<Option<(Kind, Vec<Passage>)>, String>) {
        let (kind, mut passages) = match read {
            Ok(Some(read)) => read,
            Ok(None) => {
                self.loaded.unwanted += 1;
                return;
            }
            Err(why) => return self.skip(source, why),
        };
        let room = self.limits.passages - self.passages;
        if passages.is_empty() {
            return self.skip(source, "no text in it".to_owned());
        }
        if passages.len() > room {
            self.skip(source, format!("cut: more than {} passages", self.limits.passages));
            passages.truncate(room);
        }
        if !passages.is_empty() {
            self.passages += passages.len();
            self.loaded.documents.push(Document { source: source.to_owned(), kind, passages });
        }
    }

    fn skip(&mut self, source: &str, why: String) {
        self.loaded.skipped.push(Skipped { source: source.to_owned(), why });
    }

    /// The passages of a file, or none if its kind is not wanted.
    fn read(&mut self, path: &Path, name: &str) -> Result<Option<(Kind, Vec<Passage>)>, String> {
        let unreadable = |error: io::Error| format!("not readable: {}", error.kind());
        let mut file = File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.by_ref().take(HEAD as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.is_empty() {
            return Err("empty".to_owned());
        }
        let kind = detect(name, &bytes)?;
        if !self.only.wants(kind) {
            return Ok(None);
        }
        if kind == Kind::Sqlite {
            return self.database(path, name).map(|passages| Some((kind, passages)));
        }
        let left = self.limits.file_bytes.saturating_add(1).saturating_sub(HEAD as u64);
        file.take(left).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > self.limits.file_bytes {
            return Err(format!("larger than {} bytes", self.limits.file_bytes));
        }
        self.room(bytes.len() as u64)?;
        Ok(Some((kind, parse(kind, bytes, self.limits)?)))
    }

    fn database(&mut self, path: &Path, name: &str) -> Result<Vec<Passage>, String> {
        let room = self.left.min(self.limits.file_bytes);
        let rows = sqlite::rows(path, room, self.limits).map_err(|why| format!("not readable: {why}"))?;
        self.left -= rows.bytes.min(self.left);
        for (table, why) in rows.skipped {
            self.skip(&format!("{name}, table {table}"), why);
        }
        Ok(rows.passages)
    }

    /// Takes `bytes` off what may still be read.
    fn room(&mut self, bytes: u64) -> Result<(), String> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| format!("more than {} bytes in all sources", self.limits.total_bytes))?;
        Ok(())
    }
}

#[cfg(feature = "web")]
fn fetch(url: &str, limits: &Limits) -> Result<(String, Vec<u8>), SourceError> {
    super::fetch::fetch(url, limits).map(|fetched| (fetched.name, fetched.bytes))
}

#[cfg(not(feature = "web"))]
fn fetch(url: &str, _: &Limits) -> Result<(String, Vec<u8>), SourceError> {
    Err(SourceError::Fetch { url: url.to_owned(), status: None, why: "this build has no feature `web`".to_owned() })
}

/// Whether a source is a URL and no path.
pub fn is_url(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

fn missing(source: &str) -> SourceError {
    let path = Path::new(source);
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().take(NEIGHBOURS);
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let nearest = closest(&wanted, names).map(|name| path.with_file_name(name).to_string_lossy().into_owned());
    SourceError::Missing { path: source.to_owned(), nearest }
}

#[cfg(test)]
mod tests;
