//! Large bodies in an object store that other tools read too: `nats object ls cb_blobs`.
//!
//! The layout is the one that all clients of an object store share: a description under the name, and pieces under an
//! identifier of their own. It is written and read here with plain publishes and direct gets, because a client's own
//! reads make a consumer for each object, which least-privileged roles may not and which stays behind when they are cut
//! off.

use std::fmt;
use std::sync::Arc;

use async_nats::HeaderMap;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::js::Raw;
use super::link::Link;
use super::{names, purge};
use crate::BoxFuture;
use crate::blobs::{Blobs, Hash, MAX_BLOB};
use crate::clock::{Millis, millis};
use crate::error::{Error, Result};

/// The size of a piece, which is what other clients make it: 128 KiB.
const PIECE: usize = 128 << 10;
/// How old a body may be before it is kept anew when it is put again, so that nobody reads what is about to go: a day.
const FRESH: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Large bodies of one broker.
pub struct BlobRoom {
    link: Arc<Link>,
}

/// The description of an object.
#[derive(Serialize, Deserialize)]
struct Info {
    name: String,
    bucket: String,
    nuid: String,
    size: usize,
    chunks: usize,
    digest: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl BlobRoom {
    /// Over this connection.
    pub fn new(link: Arc<Link>) -> Self {
        Self { link }
    }
}

async fn info(link: &Link, hash: &Hash) -> Result<Option<(Info, Millis)>> {
    let found = link.last_of(names::BLOBS, &[names::blob(hash)], None).await?.pop();
    let Some(Raw { body, at, .. }) = found else { return Ok(None) };
    let info: Info = serde_json::from_slice(&body)
        .map_err(|e| Error::decode(format!("the description of blob {hash} in {}: {e}", names::BLOBS)))?;
    Ok((!info.deleted).then_some((info, at)))
}

async fn put_new(link: &Link, hash: &Hash, bytes: &[u8]) -> Result<()> {
    let nuid = Uuid::now_v7().simple().to_string();
    let pieces = names::pieces(&nuid);
    for piece in bytes.chunks(PIECE) {
        let stored = link.store(&pieces, HeaderMap::new(), piece.to_vec().into()).await;
        stored.map_err(|refusal| refusal.into_error(names::BLOBS_BUCKET))?;
    }
    let info = Info {
        name: hash.to_string(),
        bucket: names::BLOBS_BUCKET.into(),
        nuid,
        size: bytes.len(),
        chunks: bytes.len().div_ceil(PIECE),
        digest: format!("SHA-256={}", names::base64_url(&hash.to_bytes())),
        deleted: false,
    };
    let body = serde_json::to_vec(&info).map_err(|e| Error::decode(e.to_string()))?;
    // The pieces are there before the description, so what can be found can be read.
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Rollup", "sub");
    let stored = link.store(&names::blob(hash), headers, body.into()).await;
    stored.map(drop).map_err(|refusal| refusal.into_error(names::BLOBS_BUCKET))
}

/// Keeps a body, unless it is there already.
pub(super) async fn put(link: &Link, bytes: &[u8]) -> Result<Hash> {
    if bytes.len() > MAX_BLOB {
        return Err(Error::TooLarge { what: "a blob".into(), size: bytes.len(), limit: MAX_BLOB });
    }
    let hash = hash(bytes);
    let is_fresh = |at: Millis| link.clock.now().saturating_sub(at) < millis(FRESH);
    match info(link, &hash).await? {
        Some((_, at)) if is_fresh(at) => {}
        _ => put_new(link, &hash, bytes).await?,
    }
    Ok(hash)
}

/// The body of this name.
pub(super) async fn get(link: &Link, hash: &Hash) -> Result<Vec<u8>> {
    let (info, _) = info(link, hash).await?.ok_or_else(|| Error::not_found(format!("blob {hash}")))?;
    if info.size > MAX_BLOB {
        return Err(Error::TooLarge { what: "a blob".into(), size: info.size, limit: MAX_BLOB });
    }
    let pieces = link.all(names::BLOBS, &names::pieces(&info.nuid), 1).await?;
    let bytes: Vec<u8> = pieces.iter().flat_map(|raw| raw.body.iter().copied()).collect();
    match self::hash(&bytes) == *hash {
        true => Ok(bytes),
        false => Err(Error::decode(format!("blob {hash} is not what its name says"))),
    }
}

/// Removes a body. Whether it was there.
pub(super) async fn remove(link: &Link, hash: &Hash) -> Result<bool> {
    let Some((info, _)) = info(link, hash).await? else { return Ok(false) };
    // The pieces go first: what has a description can be found by whoever goes on with this.
    purge::clear(link, names::BLOBS, &names::pieces(&info.nuid), None).await?;
    purge::clear(link, names::BLOBS, &names::blob(hash), None).await?;
    Ok(true)
}

impl Blobs for BlobRoom {
    fn put(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Hash>> {
        Box::pin(async move { put(&self.link, &bytes).await })
    }

    fn get(&self, hash: &Hash) -> BoxFuture<'_, Result<Vec<u8>>> {
        let hash = hash.clone();
        Box::pin(async move { get(&self.link, &hash).await })
    }
}

impl fmt::Debug for BlobRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobRoom({})", self.link.address)
    }
}

/// The name of a body.
fn hash(bytes: &[u8]) -> Hash {
    let made = digest(&SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(made.as_ref());
    Hash::of_bytes(&hash)
}
