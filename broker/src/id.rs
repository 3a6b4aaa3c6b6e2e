//! The names of runs, tasks and nodes.
//!
//! A run is named by a UUIDv7 or by its caller's own token. The root task of a run carries the run's id; every other
//! task is `<run>_<hash>`, the hash derived from its parent, its key and its generation. So a parent that is run again
//! after a crash computes the same ids and finds the children that are already done.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::subject::{self, BadName};

/// The longest token that a caller may choose for a run: the length of a UUID.
pub const MAX_RUN: usize = 36;

/// Hashes of child ids are derived in this namespace; changing it would orphan every stored child.
const CHILDREN: Uuid = Uuid::from_u128(0x6ba1_5c3e_8d0b_5b1e_9a51_ca11_b0a2_d001);

/// A run: one root task and all that it delegates.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Arc<str>);

impl RunId {
    /// A fresh, time-ordered id.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }

    /// The caller's own token: 1 to 36 characters of `[A-Za-z0-9-]`.
    pub fn parse(token: &str) -> Result<Self, BadName> {
        if token.is_empty() || token.len() > MAX_RUN || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(BadName::new("run id", token, "1 to 36 letters, digits and hyphens"));
        }
        Ok(Self(token.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A task of a run.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Arc<str>);

impl TaskId {
    /// The root task of a run, in its first generation.
    pub fn root(run: &RunId) -> Self {
        Self(run.0.clone())
    }

    /// The task that `base` (the parent's id in *its* first generation) delegates under `key`, in `generation` (from 1).
    pub fn child(run: &RunId, base: &TaskId, key: &str, generation: u32) -> Self {
        Self::derived(run, &format!("{base}\0{key}\0{generation}"))
    }

    /// Generation `generation` of the root of `run`; the first is the root itself.
    pub fn root_generation(run: &RunId, generation: u32) -> Self {
        if generation <= 1 {
            return Self::root(run);
        }
        Self::derived(run, &format!("{run}\0\0{generation}"))
    }

    fn derived(run: &RunId, seed: &str) -> Self {
        Self(format!("{run}_{}", Uuid::new_v5(&CHILDREN, seed.as_bytes()).simple()).into())
    }

    /// Whether it is the root of its run in the first generation.
    pub fn is_first_root(&self) -> bool {
        !self.0.contains('_')
    }

    /// Reads an id of either form.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let (run, hash) = text.split_once('_').map_or((text, None), |(run, hash)| (run, Some(hash)));
        RunId::parse(run)?;
        match hash {
            Some(h) if h.len() != 32 || !h.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Err(BadName::new("task id", text, "a run id, or a run id, `_` and 32 hexadecimal digits"))
            }
            _ => Ok(Self(text.into())),
        }
    }

    /// The run that the task belongs to.
    pub fn run(&self) -> RunId {
        RunId(self.0.split_once('_').map_or(self.0.clone(), |(run, _)| run.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A node: a process, or one of several in it. Doubles as its name on the wire.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// One subject token.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        subject::token("node name", name)?;
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}
text_id!(RunId);
text_id!(TaskId);
text_id!(NodeName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_named_by_parent_key_and_generation_and_by_nothing_else() {
        let run = RunId::parse("pay-17").unwrap();
        let root = TaskId::root(&run);
        let first = TaskId::child(&run, &root, "mail", 1);
        assert_eq!(first, TaskId::child(&run, &root, "mail", 1));
        assert_ne!(first, TaskId::child(&run, &root, "mail", 2));
        assert_ne!(first, TaskId::child(&run, &root, "post", 1));
        assert_ne!(first, TaskId::child(&run, &first, "mail", 1));
        assert_eq!(first.run(), run);
        assert_eq!(TaskId::parse(first.as_str()).unwrap(), first);
        assert!(first.as_str().len() <= subject::MAX_TOKEN);
    }

    #[test]
    fn the_first_generation_of_a_root_has_the_id_of_its_run() {
        let run = RunId::fresh();
        assert_eq!(TaskId::root_generation(&run, 1).as_str(), run.as_str());
        assert_ne!(TaskId::root_generation(&run, 2).as_str(), run.as_str());
    }

    #[test]
    fn a_run_token_with_an_underscore_or_a_dot_is_refused() {
        for bad in ["", "a_b", "a.b", "a b", "ä", &"x".repeat(37)] {
            assert!(RunId::parse(bad).is_err(), "{bad}");
        }
        assert!(TaskId::parse("run_nothex").is_err());
    }

    /// Ids are stored for years: these bytes may never change.
    #[test]
    fn golden_child_id() {
        let run = RunId::parse("run").unwrap();
        let id = TaskId::child(&run, &TaskId::root(&run), "key", 1);
        assert_eq!(id.as_str(), "run_4b4467c4f7005dfb804c60f5f85c1d6b");
    }
}
