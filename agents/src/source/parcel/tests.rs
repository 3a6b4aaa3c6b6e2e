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

/// A parcel that is read by itself.
async fn opened(name: &str, limits: &Limits, blobs: &Arc<dyn Blobs>) -> Result<Unpacked, SourceError> {
    unpack(name, limits, &Room::new(limits), blobs).await
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
        let there = opened(&name, &limits, &blobs).await.unwrap();
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
    let there = opened(&name, &limits, &blobs).await.unwrap();
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
        assert!(opened(&format!("blob:{parcel}"), &limits, &blobs).await.is_err(), "{name}");
    }
    for name in ["blob:", "blob:xyz", &format!("blob:{}", "0".repeat(64)), &format!("blob:{hash}")] {
        assert!(opened(name, &limits, &blobs).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_named_and_the_rest_is_sent() {
    let (folder, blobs) = (folder(), shelf());
    let limits = Limits { file_bytes: 20, ..Limits::default() };
    let name = pack(&folder.path().display().to_string(), &limits, &blobs).await.unwrap();
    let there = opened(&name, &limits, &blobs).await.unwrap();
    assert!(there.skipped.iter().any(|one| one.source == "a.md" && one.why == "larger than 20 bytes"));
    assert!(Path::new(&there.path).join("deep/er/b.txt").exists());
    assert!(matches!(pack("/nowhere/at/all", &limits, &blobs).await, Err(Error::NotFound { .. })));
}

/// A parcel as somebody may write one by hand.
async fn forged(folder: bool, files: Vec<File>, blobs: &Arc<dyn Blobs>) -> String {
    keep(Parcel { source: "forged".into(), folder, files, skipped: Vec::new() }, blobs).await.unwrap()
}

/// What lies below a folder: its files, and their bytes.
fn lies(path: &str) -> (usize, u64) {
    let found = walk(Path::new(path), &Limits::default()).unwrap().files;
    (found.len(), found.iter().map(|file| file.path.metadata().unwrap().len()).sum())
}

/// Once all that a parcel listed was written before anybody counted: a text of 112 kB that was listed 3,000 times took
/// 336 MB, and the next task the same again.
#[tokio::test]
async fn no_more_is_laid_on_the_disk_than_there_is_room_for() {
    let (blobs, limits) = (shelf(), Limits { parcel_bytes: 1 << 20, ..Limits::default() });
    let hash = blobs.put(vec![b'x'; 100 << 10]).await.unwrap();
    let files = (0..300).map(|n| File { name: format!("{n}.txt"), hash: hash.clone() }).collect();
    let parcel = forged(true, files, &blobs).await;
    let room = Room::new(&limits);
    let there = unpack(&parcel, &limits, &room, &blobs).await.unwrap();
    let (files, bytes) = lies(&there.path);
    assert_eq!(files, 9, "{bytes}");
    assert!((1..=AT_ONCE + 1).contains(&there.skipped.len()), "{:?}", there.skipped);
    assert_eq!(there.skipped[0].why, "more than 1048576 bytes on disk for all parcels");
    // What is read together shares the room; a name in many folders takes some, too.
    let again = unpack(&parcel, &limits, &room, &blobs).await.unwrap();
    assert_eq!((lies(&again.path).0, again.skipped.len()), (0, 1));
    let hash = blobs.put(b"x".to_vec()).await.unwrap();
    let deep = forged(true, vec![File { name: format!("{}a.txt", "a/".repeat(300)), hash }], &blobs).await;
    let there = opened(&deep, &limits, &blobs).await.unwrap();
    assert_eq!((fs::read_dir(&there.path).unwrap().count(), there.skipped.len()), (0, 1));
}

#[tokio::test]
async fn what_a_node_would_skip_is_not_laid_on_its_disk() {
    let (blobs, limits) = (shelf(), Limits { file_bytes: 20_000, ..Limits::default() });
    let (long, noise) = (blobs.put(vec![b'x'; 30_000]).await.unwrap(), blobs.put(vec![0; 19_000]).await.unwrap());
    let files =
        [("long.txt", &long), ("noise.bin", &noise)].map(|(name, hash)| File { name: name.into(), hash: hash.clone() });
    let there = opened(&forged(true, files.to_vec(), &blobs).await, &limits, &blobs).await.unwrap();
    assert_eq!(there.skipped, [Skipped { source: "long.txt".into(), why: "larger than 20000 bytes".into() }]);
    assert_eq!(lies(&there.path), (1, HEAD as u64), "as much as shows what it is");
    let alone = opened(&forged(false, files[..1].to_vec(), &blobs).await, &limits, &blobs).await;
    assert!(
        matches!(&alone, Err(SourceError::Unreadable { why, .. }) if why == "larger than 20000 bytes"),
        "{alone:?}"
    );
}
