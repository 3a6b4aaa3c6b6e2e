//! A client's files on their way to a node that shares no file system with it.
//!
//! Each file is kept once under the hash of its bytes, and a *parcel*, which is kept the same way, lists them under the
//! names that the client sees. A source that begins with `blob:` names a parcel. The node that reads it puts the files
//! into a folder of its own and reads that as it would have read the client's: so what is quoted, and from where, does
//! not depend on who reads.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use callboard_broker::blobs::{Blobs, Hash};
use callboard_broker::error::Error;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::detect::{HEAD, detect};
use super::walk::walk;
use super::{Kind, Limits, Skipped, SourceError};

/// What the name of a parcel begins with.
const SCHEME: &str = "blob:";
/// Files that are sent or fetched at the same time.
const AT_ONCE: usize = 8;
/// What a file or folder takes on a disk at least.
const BLOCK: u64 = 4 << 10;

/// The files of one source.
#[derive(Serialize, Deserialize)]
struct Parcel {
    /// The source as the client named it.
    source: String,
    /// Whether it is a folder; otherwise the first file is the source.
    folder: bool,
    files: Vec<File>,
    /// What was left out, and why.
    skipped: Vec<Skipped>,
}

#[derive(Clone, Serialize, Deserialize)]
struct File {
    /// Relative to the source, `/` between its parts.
    name: String,
    hash: Hash,
}

/// Whether a source is a parcel.
pub fn is_parcel(source: &str) -> bool {
    source.starts_with(SCHEME)
}

/// Sends the files of a path, within `limits`; by which name a node finds them.
///
/// # Errors
/// `NotFound` for a path that is not there, `Denied` for one that may not be read, and what the room says.
pub async fn pack(source: &str, limits: &Limits, blobs: &Arc<dyn Blobs>) -> Result<String, Error> {
    let (path, within) = (PathBuf::from(source), limits.clone());
    let listed = tokio::task::spawn_blocking(move || list(&path, &within)).await;
    let listed = listed.map_err(|e| Error::unavailable(e.to_string()))?;
    let (folder, found, mut skipped) = listed.map_err(|e| unreadable(source, &e))?;
    let (mut files, mut sending) = (Vec::new(), JoinSet::new());
    for (at, (name, path)) in found.into_iter().enumerate() {
        if sending.len() >= AT_ONCE {
            settle(sending.join_next().await, &mut files, &mut skipped)?;
        }
        let (blobs, limits) = (blobs.clone(), limits.clone());
        sending.spawn(async move {
            let sent = match tokio::task::spawn_blocking(move || read(&path, &limits)).await {
                Ok(Ok(bytes)) => blobs.put(bytes).await.map(Ok),
                Ok(Err(why)) => Ok(Err(why)),
                Err(broken) => Err(Error::unavailable(broken.to_string())),
            };
            (at, name, sent)
        });
    }
    while let Some(sent) = sending.join_next().await {
        settle(Some(sent), &mut files, &mut skipped)?;
    }
    files.sort_by_key(|(at, _)| *at);
    let files = files.into_iter().map(|(_, file)| file).collect();
    keep(Parcel { source: source.to_owned(), folder, files, skipped }, blobs).await
}

/// Sends files that are in memory, each under a name without a folder; by which name a node finds them.
///
/// # Errors
/// What the room says.
pub async fn pack_files(source: &str, files: Vec<(String, Vec<u8>)>, blobs: &Arc<dyn Blobs>) -> Result<String, Error> {
    let mut kept = Vec::new();
    for (name, bytes) in files {
        kept.push(File { name, hash: blobs.put(bytes).await? });
    }
    keep(Parcel { source: source.to_owned(), folder: true, files: kept, skipped: Vec::new() }, blobs).await
}

async fn keep(parcel: Parcel, blobs: &Arc<dyn Blobs>) -> Result<String, Error> {
    let text = serde_json::to_vec(&parcel).map_err(|e| Error::decode(e.to_string()))?;
    Ok(format!("{SCHEME}{}", blobs.put(text).await?))
}

type Sent = (usize, String, Result<Result<Hash, String>, Error>);

/// Takes in what became of one file.
fn settle(
    sent: Option<Result<Sent, tokio::task::JoinError>>,
    files: &mut Vec<(usize, File)>,
    skipped: &mut Vec<Skipped>,
) -> Result<(), Error> {
    let Some(sent) = sent else { return Ok(()) };
    let (at, name, sent) = sent.map_err(|e| Error::unavailable(e.to_string()))?;
    match sent? {
        Ok(hash) => files.push((at, File { name, hash })),
        Err(why) => skipped.push(Skipped { source: name, why }),
    }
    Ok(())
}

type Listed = (bool, Vec<(String, PathBuf)>, Vec<Skipped>);

/// Whether it is a folder, its files with their names, and what is left out.
fn list(path: &Path, limits: &Limits) -> io::Result<Listed> {
    if !fs::metadata(path)?.is_dir() {
        let name = path.file_name().map_or_else(|| "source".into(), |name| name.to_string_lossy().into_owned());
        // What SQLite has not yet moved into the database itself.
        let journal = path.with_file_name(format!("{name}-wal"));
        let mut files = vec![(name.clone(), path.to_owned())];
        if journal.is_file() {
            files.push((format!("{name}-wal"), journal));
        }
        return Ok((false, files, Vec::new()));
    }
    let found = walk(path, limits)?;
    let skipped = found.skipped.into_iter().map(|(source, why)| Skipped { source, why }).collect();
    Ok((true, found.files.into_iter().map(|file| (file.name, file.path)).collect(), skipped))
}

/// The bytes of a file that a node will read; of one that it will skip only as many as it takes to see why.
fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("not readable: {}", error.kind());
    let mut file = fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err("not a file".to_owned());
    }
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD as u64).read_to_end(&mut bytes).map_err(failed)?;
    let Some(most) = most(path, &bytes, limits) else { return Ok(bytes) };
    if about.len() > most {
        return Err(format!("larger than {most} bytes"));
    }
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The largest file with this name and these first bytes that is read; none for one that is skipped for what it is.
fn most(path: &Path, head: &[u8], limits: &Limits) -> Option<u64> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match detect(&name, head) {
        // Of a database only rows are read, so its file may be larger than a text.
        Ok(Kind::Sqlite) => Some(u64::MAX),
        Err(_) if !name.ends_with("-wal") => None,
        _ => Some(limits.file_bytes),
    }
}

fn unreadable(source: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::not_found(format!("file or folder {source}")),
        kind => Error::Denied { who: "this process".into(), what: format!("read {source}: {kind}").into() },
    }
}

/// A parcel on a node: files in a folder that goes with this value.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// What the client called it.
    pub(crate) source: String,
    /// What is to be read in its place.
    pub(crate) path: String,
    /// What the client left out, and what was too much for this node.
    pub(crate) skipped: Vec<Skipped>,
    _folder: TempDir,
}

/// How much more may be laid on the disk for parcels that are read together.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<AtomicU64>);

impl Room {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Arc::new(AtomicU64::new(limits.parcel_bytes)))
    }

    /// Takes what a file of this size takes, and its folders. Where one finds no room there is none for others.
    fn take(&self, name: &Path, bytes: usize) -> bool {
        let takes = bytes as u64 + BLOCK * name.components().count() as u64;
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(takes));
        if taken.is_err() {
            self.0.store(0, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Fetches a parcel and its files, as far as there is room for them. Who packed it may have had other limits, or none, and
/// may list one large body under many names: so what arrives is measured before it is written.
///
/// # Errors
/// When it is none, or not all of it is there.
pub(crate) async fn unpack(
    source: &str,
    limits: &Limits,
    room: &Room,
    blobs: &Arc<dyn Blobs>,
) -> Result<Unpacked, SourceError> {
    let lost = |why: String| SourceError::Unreadable { path: source.to_owned(), why };
    let hash = Hash::parse(source.strip_prefix(SCHEME).unwrap_or_default()).map_err(|e| lost(e.to_string()))?;
    let text = blobs.get(&hash).await.map_err(|e| lost(e.to_string()))?;
    let parcel: Parcel = serde_json::from_slice(&text).map_err(|e| lost(e.to_string()))?;
    if parcel.files.len() > limits.files + 1 {
        return Err(lost(format!("more than {} files", limits.files)));
    }
    let folder = TempDir::with_prefix("callboard-").map_err(|e| lost(e.kind().to_string()))?;
    let path = match (parcel.folder, parcel.files.first()) {
        (false, Some(file)) => folder.path().join(&file.name),
        _ => folder.path().to_owned(),
    };
    let (mut skipped, mut fetching) = (parcel.skipped, JoinSet::new());
    for file in parcel.files {
        if fetching.len() >= AT_ONCE {
            fetched(fetching.join_next().await, &mut skipped).map_err(lost)?;
        }
        let full = format!("more than {} bytes on disk for all parcels", limits.parcel_bytes);
        if room.is_full() {
            skipped.push(Skipped { source: file.name, why: full });
            break;
        }
        let to = inside(folder.path(), &file.name);
        let to = to.ok_or_else(|| lost(format!("\"{}\" is not a name in a folder", file.name)))?;
        fetching.spawn(fetch(file, to, full, limits.clone(), room.clone(), blobs.clone()));
    }
    while let Some(one) = fetching.join_next().await {
        fetched(Some(one), &mut skipped).map_err(lost)?;
    }
    // A file that is the source itself is not left out silently.
    if !parcel.folder
        && let Some(it) = skipped.iter().rfind(|one| !path.exists() && path.ends_with(&one.source))
    {
        return Err(lost(it.why.clone()));
    }
    let path = path.display().to_string();
    Ok(Unpacked { source: parcel.source, path, skipped, _folder: folder })
}

/// Lays one file where it belongs, unless it is skipped.
async fn fetch(
    File { name, hash }: File,
    to: PathBuf,
    full: String,
    limits: Limits,
    room: Room,
    blobs: Arc<dyn Blobs>,
) -> Result<Option<Skipped>, String> {
    let mut bytes = blobs.get(&hash).await.map_err(|e| e.to_string())?;
    match most(&to, &bytes[..bytes.len().min(HEAD)], &limits) {
        Some(most) if bytes.len() as u64 > most => {
            return Ok(Some(Skipped { source: name, why: format!("larger than {most} bytes") }));
        }
        Some(_) => {}
        None => bytes.truncate(HEAD),
    }
    if !room.take(Path::new(&name), bytes.len()) {
        return Ok(Some(Skipped { source: name, why: full }));
    }
    let written = tokio::task::spawn_blocking(move || write(&to, &bytes)).await;
    written.map_err(|e| e.to_string())?.map_err(|e| format!("{name}: {}", e.kind()))?;
    Ok(None)
}

fn fetched(
    one: Option<Result<Result<Option<Skipped>, String>, tokio::task::JoinError>>,
    skipped: &mut Vec<Skipped>,
) -> Result<(), String> {
    let Some(one) = one else { return Ok(()) };
    skipped.extend(one.map_err(|e| e.to_string())??);
    Ok(())
}

/// A place below a folder; none for a name that leads out of it.
fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let name = Path::new(name);
    let stays = name.components().all(|part| matches!(part, Component::Normal(_)));
    (stays && name.components().next().is_some()).then(|| folder.join(name))
}

fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(to, bytes)
}

#[cfg(test)]
mod tests;
