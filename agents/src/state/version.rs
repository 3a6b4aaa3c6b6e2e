//! How a value says of which version its type is.
//!
//! Version 1 is the value itself, so that state is plain JSON to people and to other programs, and what they put there by
//! hand can be read. Later versions are `{"$version": 2, "value": ..}`.

use callboard_broker::error::{Error, Result};
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::Key;
use serde::Deserialize;

use crate::Payload;

const MARK: &str = "\"$version\"";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    #[serde(rename = "$version")]
    version: u32,
    value: Body,
}

/// The value as it is stored.
pub(super) fn seal<T: Payload>(value: &T, version: u32) -> Result<Body> {
    let text = serde_json::to_string(value).map_err(|e| Error::decode(format!("cannot be written as JSON: {e}")))?;
    // A value that could be taken for a sealed one is sealed itself.
    if version == 1 && !text.contains(MARK) {
        return Body::from_json(text);
    }
    Body::from_json(format!("{{{MARK}:{version},\"value\":{text}}}"))
}

/// What was stored, as a value of version `version`.
pub(super) fn open<T: Payload>(key: &Key, stored: Body, version: u32) -> Result<T> {
    let sealed = if stored.json()?.contains(MARK) { stored.read::<Sealed>().ok() } else { None };
    let Some(sealed) = sealed else { return stored.take() };
    if sealed.version > version {
        return Err(Error::decode(format!("{key} is of version {}, newer than {version}", sealed.version)));
    }
    sealed.value.take()
}
