//! Files below a folder as tools: `NAME.list`, `NAME.read`, and `NAME.write` where the node allows it.
//!
//! The folder is opened once, as a handle, and every path is walked from there by the system (`cap-std`): `..`, absolute
//! paths and links that lead out are refused where they are met and not where they are read. Comparing the beginnings of
//! paths is what others got wrong.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use callboard_broker::code;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use serde::Serialize;

use super::{AnyTool, Does, Offer, Output, Tool, ToolCtx, definition::erased};
use crate::{Failure, Result, payload};

/// Entries of a folder that are listed; of more, the first by name.
pub const MAX_ENTRIES: usize = 1_000;
/// The longest path, in bytes.
const MAX_PATH: usize = 4_096;

/// Which folder.
#[payload]
struct Folder {
    /// The folder, from the root; empty for the root itself.
    #[serde(default)]
    path: String,
}

/// Which file.
#[payload]
struct Place {
    /// The file, from the root.
    path: String,
    /// From which byte on.
    #[serde(default)]
    from: u64,
}

/// What is written where.
#[payload]
struct Text {
    /// The file, from the root. Folders that are missing are made.
    path: String,
    /// All that it holds from then on.
    text: String,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    kind: &'static str,
    bytes: u64,
}

struct List(String, Arc<Dir>);
struct ReadFile(String, Arc<Dir>);
struct WriteFile(String, Arc<Dir>);

/// `family.list`, `family.read`, and `family.write` if `writes`.
///
/// # Errors
/// When the folder cannot be opened.
pub fn tools(family: &str, root: &Path, writes: bool) -> std::io::Result<Vec<Arc<dyn AnyTool>>> {
    let root = Arc::new(Dir::open_ambient_dir(root, ambient_authority())?);
    let mut tools = vec![
        erased(List(format!("{family}.list"), root.clone())),
        erased(ReadFile(format!("{family}.read"), root.clone())),
    ];
    if writes {
        tools.push(erased(WriteFile(format!("{family}.write"), root)));
    }
    Ok(tools)
}

impl Tool for List {
    type Arguments = Folder;

    fn offer(&self) -> Offer {
        Offer::new::<Folder>(&self.0, "Lists a folder: names, kinds and sizes", Does::Reads)
    }

    async fn call(&self, _of: &ToolCtx, folder: Folder) -> Result<Output> {
        let root = self.1.clone();
        Output::json(&blocking(move || list(&root, &folder.path)).await?)
    }
}

impl Tool for ReadFile {
    type Arguments = Place;

    fn offer(&self) -> Offer {
        Offer::new::<Place>(&self.0, "Reads a file as text", Does::Reads)
    }

    async fn call(&self, of: &ToolCtx, place: Place) -> Result<Output> {
        let (root, most) = (self.1.clone(), of.max_result);
        blocking(move || read(&root, &place, most)).await
    }
}

impl Tool for WriteFile {
    type Arguments = Text;

    fn offer(&self) -> Offer {
        // The same text once more is the same file.
        Offer::new::<Text>(&self.0, "Writes a text file, in the place of what was there", Does::WritesKeyed)
    }

    async fn call(&self, _of: &ToolCtx, text: Text) -> Result<Output> {
        let root = self.1.clone();
        blocking(move || write(&root, &text)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Failure::transient("the runtime is stopping")))
}

fn list(root: &Dir, path: &str) -> Result<Vec<Listed>> {
    let path = checked(if path.is_empty() { "." } else { path })?;
    let mut found = Vec::new();
    for entry in root.read_dir(path).map_err(|e| failed(path, &e))? {
        let entry = entry.map_err(|e| failed(path, &e))?;
        let about = entry.metadata().map_err(|e| failed(path, &e))?;
        let kind = match about.file_type() {
            kind if kind.is_dir() => "folder",
            kind if kind.is_file() => "file",
            kind if kind.is_symlink() => "link",
            _ => "other",
        };
        found.push(Listed { name: entry.file_name().to_string_lossy().into_owned(), kind, bytes: about.len() });
        // A folder without end is not read to it.
        if found.len() > 10 * MAX_ENTRIES {
            break;
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.truncate(MAX_ENTRIES);
    Ok(found)
}

fn read(root: &Dir, place: &Place, most: usize) -> Result<Output> {
    let path = checked(&place.path)?;
    // What is no file may keep whoever opens it waiting for ever.
    let about = root.metadata(path).map_err(|e| failed(path, &e))?;
    if !about.is_file() {
        return Err(Failure::permanent(format!("{path} is no file")).code(code::TOOL_PATH).not_done());
    }
    let mut file = root.open(path).map_err(|e| failed(path, &e))?;
    file.seek(SeekFrom::Start(place.from)).map_err(|e| failed(path, &e))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|e| failed(path, &e))?;
    if bytes.contains(&0) {
        return Err(Failure::permanent(format!("{path} is not text")).code(code::TOOL_FAILED).not_done());
    }
    let is_cut = bytes.len() > most;
    bytes.truncate(most);
    Ok(Output { cut: is_cut, ..Output::text(String::from_utf8_lossy(&bytes)) })
}

/// Written beside and put in its place: a reader sees the old text or the new one.
fn write(root: &Dir, text: &Text) -> Result<Output> {
    let path = checked(&text.path)?;
    let name = Path::new(path).file_name().ok_or_else(|| outside(path, "it names no file"))?;
    let folder = match Path::new(path).parent().filter(|above| !above.as_os_str().is_empty()) {
        Some(above) => {
            root.create_dir_all(above).map_err(|e| failed(path, &e))?;
            root.open_dir(above).map_err(|e| failed(path, &e))?
        }
        None => root.try_clone().map_err(|e| failed(path, &e))?,
    };
    let short: String = name.to_string_lossy().chars().take(60).collect();
    // Two that write the same file have one each, and what a process left that died is nobody's.
    let beside = format!(".{short}.{}.part", uuid::Uuid::now_v7().simple());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let written = folder.open_with(&beside, &options).and_then(|mut file| {
        file.write_all(text.text.as_bytes())?;
        file.sync_all()?;
        folder.rename(&beside, &folder, name)
    });
    if let Err(error) = written {
        // It may never have been there.
        let _ = folder.remove_file(&beside);
        return Err(failed(path, &error));
    }
    Ok(Output::text(format!("{path}: {} bytes", text.text.len())))
}

fn checked(path: &str) -> Result<&str> {
    match path.len() {
        _ if path.contains('\0') => Err(outside(path, "it has a zero in it")),
        n if n > MAX_PATH => Err(outside(&path[..0], "it is longer than 4,096 bytes")),
        _ => Ok(path),
    }
}

fn outside(path: &str, why: &str) -> Failure {
    let path: String = path.chars().filter(|c| !c.is_control()).collect();
    Failure::permanent(format!("{path}: {why}")).code(code::TOOL_PATH).not_done()
}

/// What the system says against a path. Nothing of it was written.
fn failed(path: &str, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{Interrupted, StorageFull, TimedOut};
    match error.kind() {
        Interrupted | StorageFull | TimedOut => Failure::transient(format!("{path}: {error}")).not_done(),
        _ => outside(path, &error.to_string()),
    }
}

#[cfg(test)]
mod tests;
