//! Values that are stored once: cut into pieces by their content, each kept once and pressed, and referred to.
//!
//! An agent that talks to a model records its whole conversation again and again, each time a little longer. Stored as it
//! stands, a log would grow with the square of the conversation. So a value over [`INLINE`] bytes is cut into
//! pieces that two values have in common where their text is the same; a store keeps each piece once, and the record holds
//! a reference in the place of the value. Whoever reads a record through the contracts sees the value.
//!
//! Where the pieces are is a matter of the wing: a table of a SQLite file; beside the log of their run on NATS, where they
//! go with it. In memory nothing is kept on a disk, and nothing is cut.

#[cfg(feature = "nats")]
mod bundle;
mod cut;
mod numbers;
mod press;

#[cfg(feature = "nats")]
pub(crate) use bundle::{IN_ONE, bundles, tie, untie};
pub(crate) use cut::cut;
pub(crate) use press::{press, unpress};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::payload::{MAX_PAYLOAD, Payload};

/// Values up to this size stand in their record: 4 KiB.
pub const INLINE: usize = 4 << 10;

/// How a reference begins. A value that begins so itself is never stored inline, whatever its size.
const BEGINS: &str = r#"{"$value":"#;

/// What stands in the place of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// The length of the value in bytes.
    pub(crate) size: usize,
    /// The CRC-32 of the value.
    pub(crate) sum: u32,
    /// The numbers of its pieces in order, as `numbers` writes them.
    pub(crate) pieces: String,
}

#[derive(Serialize, Deserialize)]
struct Outer {
    #[serde(rename = "$value")]
    value: Reference,
}

/// Whether a value is stored in pieces.
pub(crate) fn is_cut(value: &Payload) -> Result<bool> {
    let text = value.json()?;
    Ok(text.len() > INLINE || text.starts_with(BEGINS))
}

impl Reference {
    /// To a value that has these pieces.
    pub(crate) fn new(value: &[u8], pieces: &[u64]) -> Self {
        Self { size: value.len(), sum: crc32fast::hash(value), pieces: numbers::write(pieces) }
    }

    /// As what stands in the place of the value.
    pub(crate) fn payload(self) -> Result<Payload> {
        let text = serde_json::to_string(&Outer { value: self });
        Payload::from_json(text.map_err(|e| Error::decode(format!("a reference cannot be written: {e}")))?)
    }

    /// The reference that stands in the place of a value; none for a value.
    pub(crate) fn of(value: &Payload) -> Option<Self> {
        let text = value.json().ok().filter(|text| text.starts_with(BEGINS))?;
        serde_json::from_str::<Outer>(text).ok().map(|outer| outer.value)
    }

    /// The numbers of its pieces, one for each place; none when they cannot be read.
    pub(crate) fn numbers(&self) -> Option<Vec<u64>> {
        numbers::read(&self.pieces)
    }

    /// The value that these pieces are.
    ///
    /// # Errors
    /// `Decode` when they are not the value that was stored.
    pub(crate) fn assemble<'p>(&self, pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Payload> {
        let mut text = Vec::with_capacity(self.size.min(MAX_PAYLOAD));
        for piece in pieces {
            text.extend_from_slice(piece);
            if text.len() > MAX_PAYLOAD {
                break;
            }
        }
        let is_whole = text.len() == self.size && crc32fast::hash(&text) == self.sum;
        let text = String::from_utf8(text).ok().filter(|_| is_whole);
        match text {
            Some(text) => Payload::from_json(text),
            None => Err(Error::decode(format!("a value of {} bytes is not what was stored", self.size))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_comes_back_and_no_value_is_one() {
        let value = br#"{"a":1}"#;
        let reference = Reference::new(value, &[3, 4, 5, 9, 1]);
        assert_eq!(reference.numbers().unwrap(), [3, 4, 5, 9, 1]);
        let payload = reference.clone().payload().unwrap();
        assert_eq!(Reference::of(&payload), Some(reference.clone()));
        assert!(is_cut(&payload).unwrap(), "a value that looks like a reference is stored behind one");
        assert_eq!(reference.assemble([&value[..3], &value[3..]]).unwrap().json().unwrap().as_bytes(), value);
        for wrong in [&value[..6], br#"{"a":2}"#] {
            assert!(reference.assemble([wrong]).is_err());
        }
    }
}
