//! What an answer is kept under.

use std::fmt;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::llm::{Model, Request};

/// SHA-256 over all that an answer depends on: the model and where it is asked, messages, tools, the form of the answer,
/// sampling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// Of a request to a model. None when the request cannot be written out, and then nothing is kept of it.
    pub fn of(model: &dyn Model, request: &Request) -> Option<Self> {
        let mut hash = Hashed(Sha256::new());
        serde_json::to_writer(&mut hash, &(model.origin(), request)).ok()?;
        Some(Self(hash.0.finalize().into()))
    }

    #[cfg(test)]
    pub(super) fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// In hexadecimal digits.
impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Hashed(Sha256);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::llm::{Message, Sampling, ToolChoice, ToolSpec};
    use crate::testing::Script;

    #[test]
    fn whatever_an_answer_depends_on_is_in_its_key() {
        let ask = || Request::new([Message::system("be brief"), Message::user("which town?")]);
        let tool = |name: &str| ToolSpec { name: name.into(), about: String::new(), arguments: json!({}) };
        let sampled = |sampling: Sampling| Request { sampling, ..ask() };
        let variants = [
            ask(),
            Request::new([Message::user("be brief"), Message::user("which town?")]),
            Request::new([Message::system("be briefwhich town?"), Message::user("")]),
            ask().tools([tool("a")]),
            ask().tools([tool("b")]),
            Request { tool_choice: ToolChoice::Required, ..ask().tools([tool("a")]) },
            ask().form("town", json!({ "type": "string" })),
            ask().form("town", json!({ "type": "number" })),
            sampled(Sampling { temperature: 0.1, ..Sampling::default() }),
            sampled(Sampling { max_tokens: 7, ..Sampling::default() }),
            sampled(Sampling { seed: Some(0), ..Sampling::default() }),
        ];
        let (script, other) = (Script::new(), Script::new().named("scripted/other"));
        let mut keys: Vec<_> = variants.iter().map(|request| CacheKey::of(&script, request).unwrap()).collect();
        keys.push(CacheKey::of(&other, &ask()).unwrap());
        assert_eq!(CacheKey::of(&script, &ask()).unwrap(), keys[0]);
        assert_eq!(keys[0].to_string().len(), 64);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), variants.len() + 1);
    }
}
