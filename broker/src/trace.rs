//! The trace that a message or task belongs to, as W3C Trace Context says it.
//!
//! It is only carried here: who makes spans and reads them is decided further up. In JSON it is the `traceparent` of the
//! standard, on a lane its 25 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A trace, the span in it that caused something, and flags: 16 + 8 + 1 bytes. Neither id is zero.
///
/// ```
/// use callboard_broker::trace::TraceContext;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context: TraceContext = text.parse().unwrap();
/// assert_eq!(context.to_string(), text);
/// assert!("00-00000000000000000000000000000000-b7ad6b7169203331-01".parse::<TraceContext>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext([u8; 25]);

/// A text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTrace;

impl TraceContext {
    /// Of its parts; none when an id is all zeros.
    pub fn new(trace: [u8; 16], span: [u8; 8], flags: u8) -> Option<Self> {
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&trace);
        bytes[16..24].copy_from_slice(&span);
        bytes[24] = flags;
        Self::from_bytes(bytes)
    }

    /// As it stands in a frame; none when an id is all zeros.
    pub fn from_bytes(bytes: [u8; 25]) -> Option<Self> {
        let is_set = |id: &[u8]| id.iter().any(|byte| *byte != 0);
        (is_set(&bytes[..16]) && is_set(&bytes[16..24])).then_some(Self(bytes))
    }

    /// As it stands in a frame.
    pub fn bytes(&self) -> [u8; 25] {
        self.0
    }

    /// The trace.
    pub fn trace(&self) -> [u8; 16] {
        std::array::from_fn(|n| self.0[n])
    }

    /// The span.
    pub fn span(&self) -> [u8; 8] {
        std::array::from_fn(|n| self.0[16 + n])
    }

    /// The flags; the lowest bit says that somebody records the trace.
    pub fn flags(&self) -> u8 {
        self.0[24]
    }

    /// Reads what stands in a document: what is no trace context is none, as the standard asks.
    pub(crate) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.and_then(|text| text.parse().ok()))
    }
}

impl FromStr for TraceContext {
    type Err = NoTrace;

    /// Reads `version-trace-span-flags`. A later version may say more after that, which is left out.
    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text.split('-');
        let mut part = |digits: usize| parts.next().filter(|part| part.len() == digits && hex(part)).ok_or(NoTrace);
        let (version, ids) = (part(2)?, [part(32)?, part(16)?, part(2)?].concat());
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(NoTrace);
        }
        let mut bytes = [0; 25];
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&ids[2 * n..2 * n + 2], 16).map_err(|_| NoTrace)?;
        }
        Self::from_bytes(bytes).ok_or(NoTrace)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00")?;
        for (n, byte) in self.0.iter().enumerate() {
            let dash = if matches!(n, 0 | 16 | 24) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| serde::de::Error::custom("not a W3C trace context"))
    }
}

impl fmt::Display for NoTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a W3C trace context")
    }
}

impl std::error::Error for NoTrace {}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn its_parts_make_it_again() {
        let context: TraceContext = TEXT.parse().unwrap();
        assert_eq!(TraceContext::new(context.trace(), context.span(), context.flags()), Some(context));
        assert_eq!(TraceContext::from_bytes(context.bytes()), Some(context));
        assert_eq!((context.trace()[0], context.span()[7], context.flags()), (0x0a, 0x31, 1));
        assert_eq!(serde_json::to_value(context).unwrap(), TEXT);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = format!("01{}-more", &TEXT[2..]);
        assert_eq!(later.parse::<TraceContext>().unwrap().to_string(), TEXT);
    }

    #[test]
    fn what_is_no_trace_context_is_refused() {
        let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        for bad in ["", "00-1-2-3", &TEXT[..54], &format!("{TEXT}-x"), &format!("ff{}", &TEXT[2..]), zero_span] {
            assert_eq!(bad.parse::<TraceContext>(), Err(NoTrace), "{bad}");
        }
        assert!(TEXT.to_uppercase().parse::<TraceContext>().is_err(), "the standard writes it small");
        assert!("é".repeat(27).parse::<TraceContext>().is_err());
    }
}
