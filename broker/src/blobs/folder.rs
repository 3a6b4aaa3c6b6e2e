//! Large bodies in a folder, each a file under its hash: for a process that takes in files of others beside an embedded
//! wing.
//!
//! A body appears whole or not at all: it is written under another name and renamed. What nobody has put for
//! [`KEPT`] is removed when the folder is opened.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use uuid::Uuid;

use super::{Blobs, Hash, MAX_BLOB};
use crate::BoxFuture;
use crate::clock::Clock;
use crate::error::{Error, Result};

/// The most bytes that are kept together: 4 GiB. Beyond it a body is `Busy`.
pub const MAX_KEPT: u64 = 4 << 30;
/// How long a body may take to be written; what is half-written then was left by a process that died.
const WRITTEN: Duration = Duration::from_secs(3_600);
/// How long a body is kept after it was last put: 30 days.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// When another try makes sense while there is no room.
const RETRY: Duration = Duration::from_secs(60);

/// Bodies in a folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    most: u64,
    /// How many bytes there are.
    kept: Mutex<u64>,
    /// Whether it goes with this value.
    is_temporary: bool,
}

impl Folder {
    /// Opens a folder, made when missing, and removes what is old.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be written.
    pub fn open(path: impl Into<PathBuf>) -> Result<Arc<Self>> {
        Self::with(path.into(), false, MAX_KEPT)
    }

    /// One that is removed with its last user.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn temporary() -> Result<Arc<Self>> {
        let name = format!("callboard-{}", Uuid::now_v7().simple());
        Self::with(std::env::temp_dir().join(name), true, MAX_KEPT)
    }

    fn with(path: PathBuf, is_temporary: bool, most: u64) -> Result<Arc<Self>> {
        let kept = open(&path, now()).map_err(|e| away(&path, &e))?;
        Ok(Arc::new(Self { path, most, kept: Mutex::new(kept), is_temporary }))
    }

    fn keep(&self, bytes: &[u8]) -> Result<Hash> {
        let (size, limit) = (bytes.len(), MAX_BLOB);
        if size > limit {
            return Err(Error::TooLarge { what: "a body".into(), size, limit });
        }
        let hash = hash(bytes);
        let place = self.path.join(hash.as_str());
        // One writer at a time, so that the room is counted right.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if place.exists() {
            // As if it had been written now.
            let touched = File::options().append(true).open(&place).and_then(|file| file.set_modified(now()));
            return touched.map(|()| hash).map_err(|e| away(&place, &e));
        }
        if *kept + size as u64 > self.most {
            return Err(Error::Busy { to: format!("the folder {}", self.path.display()).into(), retry_after: RETRY });
        }
        let part = self.path.join(format!("{}.part", Uuid::now_v7().simple()));
        let written = write(&part, bytes).and_then(|()| fs::rename(&part, &place));
        if let Err(e) = written {
            let _ = fs::remove_file(&part);
            return Err(away(&place, &e));
        }
        *kept += size as u64;
        Ok(hash)
    }

    fn read(&self, name: &Hash) -> Result<Vec<u8>> {
        let place = self.path.join(name.as_str());
        let bytes = fs::read(&place).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("body {name}")),
            _ => away(&place, &e),
        })?;
        if hash(&bytes) != *name {
            return Err(Error::decode(format!("{} is not what its name says: it is damaged", place.display())));
        }
        Ok(bytes)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Blobs for Arc<Folder> {
    fn put(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Hash>> {
        let folder = self.clone();
        Box::pin(async move { blocking(move || folder.keep(&bytes)).await })
    }

    fn get(&self, hash: &Hash) -> BoxFuture<'_, Result<Vec<u8>>> {
        let (folder, hash) = (self.clone(), hash.clone());
        Box::pin(async move { blocking(move || folder.read(&hash)).await })
    }
}

/// How many bytes are in the folder once what is old, or was left half-written, is gone.
fn open(path: &Path, at: SystemTime) -> io::Result<u64> {
    fs::create_dir_all(path)?;
    let mut kept = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let about = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = about.modified().ok().and_then(|put| at.duration_since(put).ok()).unwrap_or_default();
        // Only files that are ours are ever removed; one that is being written may be another process's.
        let (is_ours, is_part) = (Hash::parse(&name).is_ok(), name.ends_with(".part"));
        if about.is_file() && (is_part && age > WRITTEN || is_ours && age > KEPT) {
            fs::remove_file(entry.path())?;
        } else if is_ours {
            kept += about.len();
        }
    }
    Ok(kept)
}

/// The time as files have it.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(Clock::system().now())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Hash::of_bytes(&hash)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::unavailable(e.to_string())))
}

fn away(path: &Path, why: &io::Error) -> Error {
    Error::unavailable(format!("{}: {}", path.display(), why.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_as_it_was_put_also_by_the_next_who_opens_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().join("a/b")).unwrap();
        let hash = folder.put(b"otters".to_vec()).await.unwrap();
        assert_eq!(folder.put(b"otters".to_vec()).await.unwrap(), hash);
        drop(folder);
        let folder = Folder::open(place.path().join("a/b")).unwrap();
        assert_eq!((folder.get(&hash).await.unwrap(), *folder.kept.lock().unwrap()), (b"otters".to_vec(), 6));
        let other = Hash::of_bytes(&[7; 32]);
        assert!(matches!(folder.get(&other).await, Err(Error::NotFound { .. })));
        fs::write(folder.path.join(hash.as_str()), b"badgers").unwrap();
        assert!(matches!(folder.get(&hash).await, Err(Error::Decode { .. })), "damage is seen");
    }

    #[tokio::test]
    async fn what_is_old_goes_and_what_is_not_ours_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let hash = folder.put(b"otters".to_vec()).await.unwrap();
        for name in ["x.part", "notes.md"] {
            fs::write(place.path().join(name), "x").unwrap();
        }
        let later = now() + KEPT;
        let names = || fs::read_dir(place.path()).unwrap().count();
        assert_eq!((open(place.path(), now()).unwrap(), names()), (6, 3), "another process may be writing it");
        assert_eq!((open(place.path(), later - Duration::from_secs(60)).unwrap(), names()), (6, 2));
        assert_eq!(open(place.path(), later + Duration::from_secs(60)).unwrap(), 0);
        assert!(matches!(folder.get(&hash).await, Err(Error::NotFound { .. })));
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.md"]);
    }

    #[tokio::test]
    async fn there_is_a_limit_to_what_is_kept_and_a_temporary_folder_goes() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::with(place.path().join("t"), true, 10).unwrap();
        folder.put(b"otters".to_vec()).await.unwrap();
        folder.put(b"otters".to_vec()).await.expect("it is there already");
        assert!(matches!(folder.put(b"badgers".to_vec()).await, Err(Error::Busy { .. })));
        drop(folder);
        assert!(!place.path().join("t").exists());
    }
}
