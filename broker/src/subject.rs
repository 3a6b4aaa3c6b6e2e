//! The grammar of names: the only place that knows what may stand in a subject.
//!
//! Names are checked here, at the door, because message servers and their clients let broken ones through. A capability
//! is `research.web`; as one subject token it is `research-web`, which is reversible because names hold no hyphen.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest token: room for a run id, `_` and a hash.
pub const MAX_TOKEN: usize = 80;

/// A name that breaks the grammar: what it was to be, what was given, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName {
    /// What the text was meant to name (`run id`, `capability`).
    pub what: &'static str,
    /// The text as given, cut at 100 characters.
    pub given: String,
    /// What is allowed instead.
    pub allowed: &'static str,
}

impl BadName {
    pub(crate) fn new(what: &'static str, given: &str, allowed: &'static str) -> Self {
        Self { what, given: given.chars().take(100).collect(), allowed }
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a {}: {}", self.given, self.what, self.allowed)
    }
}

impl std::error::Error for BadName {}

/// Checks one subject token: 1 to 80 characters of `[A-Za-z0-9_-]`.
pub fn token(what: &'static str, text: &str) -> Result<(), BadName> {
    let fits = !text.is_empty()
        && text.len() <= MAX_TOKEN
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits { Ok(()) } else { Err(BadName::new(what, text, "1 to 80 letters, digits, `_` and `-`")) }
}

/// Whether `name` is one or more tokens joined by dots, as in topics, event types and state keys. `const`, so that a bad
/// name in a contract is an error of compilation.
pub const fn is_path(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (mut i, mut length) = (0, 0);
    while i < bytes.len() {
        match bytes[i] {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' if length < MAX_TOKEN => length += 1,
            b'.' if length > 0 => length = 0,
            _ => return false,
        }
        i += 1;
    }
    length > 0
}

/// Whether `name` is a capability's name: `[a-z0-9]+(\.[a-z0-9]+)*`, at most 80 characters. `const`, so that a bad name
/// in a contract is an error of compilation.
pub const fn is_capability(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_TOKEN {
        return false;
    }
    let (mut i, mut word) = (0, false);
    while i < bytes.len() {
        match bytes[i] {
            b'a'..=b'z' | b'0'..=b'9' => word = true,
            b'.' if word => word = false,
            _ => return false,
        }
        i += 1;
    }
    word
}

/// What the capabilities of people begin with.
pub const HUMAN: &str = "human.";

/// The name of a capability. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CapabilityName(Arc<str>);

impl CapabilityName {
    /// Checks the grammar.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        if is_capability(name) {
            Ok(Self(name.into()))
        } else {
            Err(BadName::new("capability", name, "lowercase letters, digits and dots, such as `text.summarize`"))
        }
    }

    /// The name as people write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as one subject token.
    pub fn to_token(&self) -> String {
        self.0.replace('.', "-")
    }

    /// Whether people answer it, in its queue and without claiming.
    pub fn is_human(&self) -> bool {
        self.0.starts_with(HUMAN)
    }

    /// The capability that a subject token names.
    pub fn from_token(token: &str) -> Result<Self, BadName> {
        Self::parse(&token.replace('-', "."))
    }
}

impl fmt::Display for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CapabilityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for CapabilityName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CapabilityName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_and_token_are_two_spellings_of_one_name() {
        let name = CapabilityName::parse("research.web").unwrap();
        assert_eq!(name.to_token(), "research-web");
        assert_eq!(CapabilityName::from_token("research-web").unwrap(), name);
    }

    #[test]
    fn what_a_server_would_let_through_is_refused_here() {
        for bad in ["", ".", "a..b", ".a", "a.", "a.*", "A.b", "a-b", "a b", "ä", &"a".repeat(81)] {
            assert!(!is_capability(bad), "{bad}");
        }
        for bad in ["", "a.b", "a*", "a>", "a b", "\n", &"a".repeat(81)] {
            assert!(token("token", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_what_its_tokens_are() {
        for good in ["a", "A_b-1", "a.b", "a.b.c", &"a".repeat(80), &format!("{0}.{0}", "a".repeat(80))] {
            assert!(is_path(good), "{good}");
        }
        for bad in ["", ".", "a..b", ".a", "a.", "a.*", "a b", "ä", &"a".repeat(81)] {
            assert!(!is_path(bad), "{bad}");
        }
    }

    #[test]
    fn the_refusal_says_what_is_allowed() {
        let refusal = CapabilityName::parse("Research Web").unwrap_err().to_string();
        assert!(refusal.contains("Research Web") && refusal.contains("text.summarize"), "{refusal}");
    }
}
