//! Documents that are too large for a message: the message refers to them.
//!
//! A task's input and its outcome may be larger than what a server takes as one message. Such a document is kept as a
//! blob, and its message says which; whoever reads the stream through this wing sees the document itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::blobs;
use super::link::Link;
use crate::blobs::Hash;
use crate::error::Result;

/// Documents up to this size stand in their message: 256 KiB.
pub(crate) const INLINE: usize = 256 << 10;
/// How a reference begins, and how long it is at most: no other document of ours looks like it.
const BEGINS: &[u8] = br#"{"$blob":"#;
const LONGEST: usize = 300;

#[derive(Serialize, Deserialize)]
struct Reference {
    #[serde(rename = "$blob")]
    blob: Hash,
    size: usize,
    /// The mark of the write, as in the document.
    writer: String,
}

impl Link {
    /// The body of a message that holds this document, or refers to it.
    pub(crate) async fn pack(&self, document: String, mark: &str) -> Result<Bytes> {
        if document.len() <= INLINE {
            return Ok(document.into());
        }
        let blob = blobs::put(self, document.as_bytes()).await?;
        let reference = Reference { blob, size: document.len(), writer: mark.to_owned() };
        let text = serde_json::to_vec(&reference).map_err(|e| crate::error::Error::decode(e.to_string()))?;
        Ok(text.into())
    }

    /// The document that a body holds or refers to.
    ///
    /// # Errors
    /// `NotFound` when what it refers to is gone; `Decode` when that is not what it was.
    pub(crate) async fn unpack(&self, body: Bytes) -> Result<Bytes> {
        if let Some(document) = self.in_pieces(&body).await? {
            return Ok(document);
        }
        match reference(&body) {
            None => Ok(body),
            // Reading a blob reads messages, which may not refer to anything in turn.
            Some(Reference { blob, .. }) => Box::pin(blobs::get(self, &blob)).await.map(Bytes::from),
        }
    }
}

/// The blob that a body refers to.
pub(super) fn refers_to(body: &[u8]) -> Option<Hash> {
    reference(body).map(|reference| reference.blob)
}

fn reference(body: &[u8]) -> Option<Reference> {
    let may_be = body.len() <= LONGEST && body.starts_with(BEGINS);
    if may_be { serde_json::from_slice(body).ok() } else { None }
}
