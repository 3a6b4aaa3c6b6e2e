//! The lock file beside a store: who owns its writes, and how to reach him.
//!
//! The lock is the operating system's and goes with its process, however that ends; the text in the file only says whom
//! to ask. Who finds the lock free *is* the next owner. The file itself is never deleted, so that no two processes can
//! hold locks on two files of one name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{fault, file};
use crate::error::{Error, Result};

/// The longest text that is read from a lock file.
const MAX_TEXT: u64 = 4_096;

/// Who owns a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The process.
    pub pid: u32,
    /// Where it takes writes from others; none while it only does a write of its own, or is about to be ready.
    #[serde(default)]
    pub socket: Option<PathBuf>,
}

/// A lock that is held. Given up when it is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

/// What came of an attempt to own a store.
pub(super) enum Taken {
    /// It is ours, and the one before us may have left this behind.
    Ours(Lock, Option<Owner>),
    /// It is somebody else's, who may not have written his name yet.
    Theirs(Option<Owner>),
}

fn path_of(store: &Path) -> PathBuf {
    file::beside(store, "-lock")
}

impl Lock {
    /// Takes the lock of a store if it is free.
    ///
    /// # Errors
    /// When there can be no lock file there (CB0204).
    pub(super) fn take(store: &Path) -> Result<Taken> {
        let refused = |e: std::io::Error| fault::not_writable(store, &format!("its lock: {e}"));
        let path = path_of(store);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {
                let before = read(&file);
                let lock = Self(file);
                lock.name(&Owner { pid: std::process::id(), socket: None }).map_err(refused)?;
                Ok(Taken::Ours(lock, before))
            }
            Err(TryLockError::WouldBlock) => Ok(Taken::Theirs(read(&file))),
            Err(TryLockError::Error(e)) => Err(refused(e)),
        }
    }

    /// Says who holds it.
    pub(super) fn name(&self, owner: &Owner) -> std::io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(owner)?)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The name is a courtesy. The lock is given up in so many words, because closing the file is not enough: a
        // process that is just being started from this one has a copy of it until it runs its own program.
        let _ = self.0.set_len(0);
        let _ = self.0.unlock();
    }
}

fn read(file: &File) -> Option<Owner> {
    let mut text = String::new();
    file.take(MAX_TEXT).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The process that owns a store at this moment, if any. Leaves no trace.
///
/// # Errors
/// When the lock file cannot be looked at.
pub(super) fn owner(store: &Path) -> Result<Option<Owner>> {
    let refused = |e: std::io::Error| Error::unavailable(format!("the lock of {}: {e}", store.display()));
    let file = match File::open(path_of(store)) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refused(e)),
    };
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| None).map_err(refused),
        Err(TryLockError::WouldBlock) => Ok(Some(read(&file).unwrap_or_default())),
        Err(TryLockError::Error(e)) => Err(refused(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_names_him_and_goes_with_him() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        assert_eq!(owner(&store).unwrap(), None);
        let Taken::Ours(lock, None) = Lock::take(&store).unwrap() else { panic!("a lock that nobody holds") };
        let me = Owner { pid: std::process::id(), socket: Some("/tmp/s".into()) };
        lock.name(&me).unwrap();
        assert!(matches!(Lock::take(&store).unwrap(), Taken::Theirs(Some(ref owner)) if *owner == me));
        assert_eq!(owner(&store).unwrap(), Some(me));
        drop(lock);
        assert_eq!(owner(&store).unwrap(), None);
        assert!(matches!(Lock::take(&store).unwrap(), Taken::Ours(_, None)));
    }

    /// A process that is started while a lock is held has a copy of the file for a moment, as here.
    #[test]
    fn a_lock_that_was_given_up_is_free_whoever_else_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        let Taken::Ours(lock, None) = Lock::take(&store).unwrap() else { panic!("a lock that nobody holds") };
        let copy = lock.0.try_clone().unwrap();
        drop(lock);
        assert_eq!(owner(&store).unwrap(), None);
        assert!(matches!(Lock::take(&store).unwrap(), Taken::Ours(..)));
        drop(copy);
    }
}
