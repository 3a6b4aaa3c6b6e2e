//! A folder is sent through a room in memory and read on the other side as it was on this one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use callboard_broker::BoxFuture;

use super::*;
use crate::source::{Only, load};

/// A room of large bodies that names them by their length and first bytes: enough to tell those of these tests apart.
#[derive(Debug, Default)]
struct Shelf(Mutex<HashMap<Hash, Vec<u8>>>);

impl Blobs for Shelf {
    fn put(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Hash, Error>> {
        let sum = bytes.iter().fold(bytes.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
        let mut name = [0; 32];
        name[..8].copy_from_slice(&sum.to_le_bytes());
        let name = Hash::of_bytes(&name);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), bytes);
        Box::pin(async move { Ok(name) })
    }

    fn get(&self, hash: &Hash) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned();
        let found = found.ok_or_else(|| Error::not_found(format!("blob {hash}")));
        Box::pin(async move { found })
    }
}

fn shelf() -> Arc<dyn Blobs> {
    Arc::new(Shelf::default())
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| super::write(&folder.path().join(name), bytes).unwrap();
    write("a.md", b"# Otters\n\nOtters hold hands.\n");
    write("deep/er/b.txt", b"Rivers run.\n");
    write("table.csv", b"name,age\nann,3\n");
    write("photo.jpg", &[0xff, 0xd8, 0, 1, 2]);
    write(".hidden", b"a secret\n");
    write("empty.txt", b"");
    let database = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    database.execute_batch("create table t (a text); insert into t values ('a row of its own');").unwrap();
    folder
}

#[tokio::test]
async fn what_arrives_is_read_as_what_was_sent() {
    let (folder, blobs, limits) = (folder(), shelf(), Limits::default());
    let here = folder.path().display().to_string();
    for source in [here.clone(), format!("{here}/a.md"), format!("{here}/shop.db")] {
        let name = pack(&source, &limits, &blobs).await.unwrap();
        assert!(is_parcel(&name) && !is_parcel(&source));
        let there = unpack(&name, &limits, &blobs).await.unwrap();
        assert_eq!(there.source, source);
        let (sent, read) = (load(&[source], Only::All, &limits), load(&[&there.path], Only::All, &limits));
        assert_eq!(sent.unwrap(), read.unwrap());
        let path = there.path.clone();
        drop(there);
        assert!(!Path::new(&path).exists(), "the folder goes with what was read");
    }
}

#[tokio::test]
async fn a_database_arrives_with_what_is_only_in_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.db");
    let open = rusqlite::Connection::open(&path).unwrap();
    open.pragma_update(None, "journal_mode", "wal").unwrap();
    open.execute_batch("create table t (a text); insert into t values ('written a moment ago');").unwrap();
    let (blobs, limits) = (shelf(), Limits::default());
    let name = pack(&path.display().to_string(), &limits, &blobs).await.unwrap();
    let there = unpack(&name, &limits, &blobs).await.unwrap();
    let read = load(&[&there.path], Only::All, &limits).unwrap();
    assert!(read.documents[0].passages[0].text.contains("written a moment ago"), "{read:?}");
}

#[tokio::test]
async fn a_parcel_that_leads_out_of_its_folder_is_refused() {
    let (blobs, limits) = (shelf(), Limits::default());
    let hash = blobs.put(b"evil".to_vec()).await.unwrap();
    for name in ["../out", "/etc/out", "a/../../out", "", "."] {
        let files = vec![File { name: name.into(), hash: hash.clone() }];
        let parcel = Parcel { source: "s".into(), folder: true, files, skipped: Vec::new() };
        let parcel = blobs.put(serde_json::to_vec(&parcel).unwrap()).await.unwrap();
        assert!(unpack(&format!("blob:{parcel}"), &limits, &blobs).await.is_err(), "{name}");
    }
    for name in ["blob:", "blob:xyz", &format!("blob:{}", "0".repeat(64)), &format!("blob:{hash}")] {
        assert!(unpack(name, &limits, &blobs).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_named_and_the_rest_is_sent() {
    let (folder, blobs) = (folder(), shelf());
    let limits = Limits { file_bytes: 20, ..Limits::default() };
    let name = pack(&folder.path().display().to_string(), &limits, &blobs).await.unwrap();
    let there = unpack(&name, &limits, &blobs).await.unwrap();
    assert!(there.skipped.iter().any(|one| one.source == "a.md" && one.why == "larger than 20 bytes"));
    assert!(Path::new(&there.path).join("deep/er/b.txt").exists());
    assert!(matches!(pack("/nowhere/at/all", &limits, &blobs).await, Err(Error::NotFound { .. })));
}
