//! The contract for large bodies: kept once under the hash of their bytes, and the same wherever they are read.
//!
//! What a client wants nodes to read goes here, because a node never opens a client's path. The embedded wings have no
//! such room of their own: there client and node share a file system. A process that takes in files of others beside one
//! gives it a `Folder`, and from then on opens no client's path either.

#[cfg(feature = "blobs")]
mod folder;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::error::{Error, Result};

#[cfg(feature = "blobs")]
pub use folder::{Folder, KEPT, MAX_KEPT};

/// The largest body that is kept: 256 MiB.
pub const MAX_BLOB: usize = 256 << 20;

/// The name of a body: the SHA-256 of its bytes as 64 lowercase hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(Box<str>);

impl Hash {
    /// Reads a hash.
    ///
    /// # Errors
    /// `Decode` for anything but 64 lowercase hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.len() == 64 && text.bytes().all(is_hex) {
            true => Ok(Self(text.into())),
            false => Err(Error::decode(format!("\"{text}\" is no hash: it takes 64 digits from 0 to f"))),
        }
    }

    /// From the 32 bytes themselves.
    pub fn of_bytes(bytes: &[u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
        let digits = self.0.as_bytes();
        std::array::from_fn(|at| digit(digits[2 * at]) << 4 | digit(digits[2 * at + 1]))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Hash {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.0.into()
    }
}

/// Large bodies by the hash of their bytes.
pub trait Blobs: Send + Sync + fmt::Debug {
    /// Keeps a body, unless it is there already; by which name.
    ///
    /// # Errors
    /// `TooLarge` beyond [`MAX_BLOB`]; `Busy` when there is no more room; `Unavailable`.
    ///
    /// # Cancellation
    /// Dropped half-way it leaves nothing that can be read.
    fn put(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<Hash>>;

    /// The body of this name, and no other: what does not have this hash is `Decode`.
    ///
    /// # Errors
    /// `NotFound`; `Decode`; `Unavailable`.
    fn get(&self, hash: &Hash) -> BoxFuture<'_, Result<Vec<u8>>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits_and_its_bytes_come_back() {
        let bytes: [u8; 32] = std::array::from_fn(|n| n as u8 * 8 + 3);
        let hash = Hash::of_bytes(&bytes);
        assert_eq!(Hash::parse(hash.as_str()).unwrap().to_bytes(), bytes);
        for bad in ["", "ab", &"g".repeat(64), &"A".repeat(64), "../../../etc/passwd"] {
            assert!(Hash::parse(bad).is_err(), "{bad}");
        }
    }
}
