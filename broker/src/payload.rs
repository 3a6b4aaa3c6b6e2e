//! What travels: a value, or the JSON text of one, each made from the other on demand.
//!
//! Between agents of one process the value itself is handed over; a store, a person or another node asks for the text.
//! User types never meet a binary codec, so they may be recursive or hold free-form JSON.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::Error;

/// The largest JSON text of one payload: 8 MiB. Larger things are stored elsewhere and referred to.
pub const MAX_PAYLOAD: usize = 8 << 20;

type Encode = fn(&(dyn Any + Send + Sync)) -> Result<String, serde_json::Error>;

/// A request, response, task input or result. Cheap to clone.
#[derive(Clone)]
pub struct Payload(Form);

#[derive(Clone)]
enum Form {
    Text(Arc<str>),
    Value(Arc<Value>),
}

struct Value {
    value: Box<dyn Any + Send + Sync>,
    encode: Encode,
    /// Once somebody has asked for it.
    text: OnceLock<Box<str>>,
}

impl Payload {
    /// A value, encoded only when somebody asks for its text.
    pub fn of<T: Serialize + Send + Sync + 'static>(value: T) -> Self {
        fn encode<T: Serialize + 'static>(any: &(dyn Any + Send + Sync)) -> Result<String, serde_json::Error> {
            // The pair is only ever made in `of`, so the type matches; a mismatch would encode null, never lie.
            any.downcast_ref::<T>().map_or_else(|| Ok("null".into()), serde_json::to_string)
        }
        Self(Form::Value(Arc::new(Value { value: Box::new(value), encode: encode::<T>, text: OnceLock::new() })))
    }

    /// JSON text as it came from outside; refused when it is not JSON or too large.
    pub fn from_json(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        within_limit(&text)?;
        let raw: Box<RawValue> = serde_json::from_str(&text).map_err(|e| Error::decode(format!("not JSON: {e}")))?;
        Ok(Self::trusted(raw.get().into()))
    }

    /// JSON text from another node, which has it from a serializer. It is read when somebody asks for the value, and
    /// what is no JSON after all is refused then.
    #[cfg(feature = "nats")]
    pub(crate) fn from_peer(text: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(|e| Error::decode(format!("not JSON: {e}")))?;
        within_limit(text)?;
        Ok(Self::trusted(text.into()))
    }

    /// JSON `null`.
    pub fn null() -> Self {
        Self::trusted("null".into())
    }

    /// Text that a serializer of ours has just written.
    fn trusted(text: Arc<str>) -> Self {
        Self(Form::Text(text))
    }

    /// The JSON text. Fails when the value cannot be written as JSON or its text exceeds [`MAX_PAYLOAD`].
    pub fn json(&self) -> Result<&str, Error> {
        let value = match &self.0 {
            Form::Text(text) => return Ok(text),
            Form::Value(value) => value,
        };
        if let Some(text) = value.text.get() {
            return Ok(text);
        }
        let text = (value.encode)(value.value.as_ref()).map_err(unwritable)?;
        within_limit(&text)?;
        Ok(value.text.get_or_init(|| text.into()))
    }

    /// The value as `T`: handed over when this is the last handle on a value of that very type, decoded otherwise.
    pub fn take<T: DeserializeOwned + 'static>(self) -> Result<T, Error> {
        let shared = match self.0 {
            Form::Text(text) => return decode(&text),
            Form::Value(value) => value,
        };
        match Arc::try_unwrap(shared) {
            Err(shared) => Self(Form::Value(shared)).read(),
            Ok(Value { value, encode, .. }) => match value.downcast::<T>() {
                Ok(value) => Ok(*value),
                Err(other) => decode(&encode(other.as_ref()).map_err(unwritable)?),
            },
        }
    }

    /// Whether it can be taken as `T`: free for a value of that very type, a decoding otherwise.
    pub fn fits<T: DeserializeOwned + 'static>(&self) -> Result<(), Error> {
        match &self.0 {
            Form::Value(shared) if shared.value.is::<T>() => Ok(()),
            _ => self.read::<T>().map(drop),
        }
    }

    /// The value as `T`, decoded from its text; the payload stays.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode(self.json()?)
    }

    /// The payload as free-form JSON.
    pub fn value(&self) -> Result<serde_json::Value, Error> {
        self.read()
    }

    /// A hash of the value that is the same for every spelling of it (order of keys, white space).
    pub fn content_hash(&self) -> Result<String, Error> {
        let mut value = self.value()?;
        // Whether a map is sorted by itself depends on features of a library that somebody else may have switched on, and
        // nodes of different builds must find the same children.
        value.sort_all_objects();
        let canonical = value.to_string();
        Ok(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, canonical.as_bytes()).simple().to_string())
    }
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::decode(format!("{} expected: {e}", short_type::<T>())))
}

fn unwritable(e: serde_json::Error) -> Error {
    Error::decode(format!("cannot be written as JSON: {e}"))
}

fn within_limit(text: &str) -> Result<(), Error> {
    if text.len() <= MAX_PAYLOAD {
        return Ok(());
    }
    Err(Error::TooLarge { what: "payload".into(), size: text.len(), limit: MAX_PAYLOAD })
}

/// `alloc::vec::Vec<a::b::C>` is noise to a reader: the last segment of a plain path is enough.
fn short_type<T>() -> &'static str {
    let full = std::any::type_name::<T>();
    if full.contains('<') { full } else { full.rsplit("::").next().unwrap_or(full) }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.json().unwrap_or("(not JSON)");
        let cut: String = text.chars().take(200).collect();
        f.write_str(&cut)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        matches!((self.value(), other.value()), (Ok(a), Ok(b)) if a == b)
    }
}

impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Self {
        Self::of(value)
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::null()
    }
}

/// Verbatim JSON inside a JSON document. Only `serde_json` can carry it.
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let text = self.json().map_err(serde::ser::Error::custom)?;
        let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
        raw.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(d)?;
        Ok(Self::trusted(raw.get().into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Doc {
        text: String,
    }

    #[test]
    fn the_last_handle_hands_the_value_over_unencoded() {
        #[derive(Debug)]
        struct Opaque;
        impl Serialize for Opaque {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("must not be encoded"))
            }
        }
        impl<'de> Deserialize<'de> for Opaque {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Err(de_error())
            }
        }
        fn de_error<E: serde::de::Error>() -> E {
            E::custom("must not be decoded")
        }
        assert!(Payload::of(Opaque).take::<Opaque>().is_ok());
        let kept = Payload::of(Opaque);
        assert!(kept.clone().take::<Opaque>().is_err(), "a shared value has to go through its text");
    }

    #[test]
    fn a_value_and_its_text_are_the_same_payload() {
        let value = Payload::of(Doc { text: "x".into() });
        let text = Payload::from_json(r#" {"text": "x"} "#).unwrap();
        assert_eq!(value, text);
        assert_eq!(value.content_hash().unwrap(), text.content_hash().unwrap());
        let hash = |text: &str| Payload::from_json(text).unwrap().content_hash().unwrap();
        assert_eq!(hash(r#"{"b": [{"d": 1, "c": 2}], "a": 3}"#), hash(r#"{"a":3,"b":[{"c":2,"d":1}]}"#));
        assert_eq!(text.take::<Doc>().unwrap(), Doc { text: "x".into() });
        assert_eq!(value.take::<serde_json::Value>().unwrap(), json!({"text": "x"}));
    }

    #[test]
    fn what_is_no_json_or_too_large_is_refused_at_the_door() {
        assert!(matches!(Payload::from_json("{"), Err(Error::Decode { .. })));
        let large = format!("\"{}\"", "x".repeat(MAX_PAYLOAD));
        assert!(matches!(Payload::from_json(large), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_refusal_to_decode_names_the_type_and_the_place() {
        let refusal = Payload::from_json(r#"{"text": 1}"#).unwrap().take::<Doc>().unwrap_err().to_string();
        assert!(refusal.contains("Doc") && refusal.contains("line 1"), "{refusal}");
    }

    #[test]
    fn inside_a_document_the_text_is_verbatim() {
        #[derive(Serialize, Deserialize)]
        struct Envelope {
            input: Payload,
        }
        let e: Envelope = serde_json::from_str(r#"{"input":{"b":1.50,"a":2}}"#).unwrap();
        assert_eq!(serde_json::to_string(&e).unwrap(), r#"{"input":{"b":1.50,"a":2}}"#);
    }
}
