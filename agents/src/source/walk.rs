//! The files of a folder, by name, within limits.
//!
//! Links are not followed, so that nothing outside the folder is read and no walk runs in circles.

use std::io;
use std::path::{Path, PathBuf};

use super::Limits;

/// A file below the folder that was named.
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Relative to the folder, `/` between its parts.
    pub(super) name: String,
}

/// The files below a folder and the folders that were not entered.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) files: Vec<Found>,
    /// Names and reasons.
    pub(super) skipped: Vec<(String, String)>,
}

/// Walks `root`, hidden names and links left out, at most `limits.files` files and `limits.depth` deep.
///
/// # Errors
/// When `root` itself cannot be listed; a folder below it that cannot is listed as skipped.
pub(super) fn walk(root: &Path, limits: &Limits) -> io::Result<Walk> {
    let mut walk = Walk::default();
    let mut open = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, name, depth)) = open.pop() {
        let entries = match list(&folder) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            Err(error) => {
                walk.skipped.push((name, format!("folder not readable: {}", error.kind())));
                continue;
            }
        };
        let mut below = Vec::new();
        for (entry, kind) in entries {
            let name = if name.is_empty() { entry.clone() } else { format!("{name}/{entry}") };
            let path = folder.join(&entry);
            if entry.starts_with('.') {
                continue;
            } else if kind.is_symlink() {
                walk.skipped.push((name, "a link".to_owned()));
            } else if kind.is_dir() && depth >= limits.depth {
                walk.skipped.push((name, format!("more than {} folders deep", limits.depth)));
            } else if kind.is_dir() {
                below.push((path, name, depth + 1));
            } else if !kind.is_file() {
                walk.skipped.push((name, "not a file".to_owned()));
            } else if walk.files.len() >= limits.files {
                walk.skipped.push((name, format!("more than {} files", limits.files)));
                return Ok(walk);
            } else {
                walk.files.push(Found { path, name });
            }
        }
        open.extend(below.into_iter().rev());
    }
    Ok(walk)
}

/// Names that are not Unicode are shown with replacement characters, and then not found: skipped like missing files.
fn list(folder: &Path) -> io::Result<Vec<(String, std::fs::FileType)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}
