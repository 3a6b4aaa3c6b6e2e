//! The typed contract that a caller and an agent share.
//!
//! A capability is a `const` value and not a type: one line declares it, its types flow into every call, so that no call
//! needs a turbofish, and two capabilities may share a request type.
//!
//! ```
//! use callboard_agents::{Capability, payload};
//!
//! #[payload(crate = callboard_agents)]
//! struct Doc {
//!     text: String,
//! }
//!
//! const SUMMARIZE: Capability<Doc, String> = Capability::new("text.summarize").about("says it in one sentence");
//! assert_eq!(SUMMARIZE.name(), "text.summarize");
//! ```

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Mutex;

use callboard_broker::error::Error;
use callboard_broker::subject::{self, CapabilityName};
use serde_json::Value;

use crate::Payload;
use crate::payload::schema;
use crate::service::Door;

/// How many different names [`Capability::named`] takes in the life of a process.
pub const MAX_NAMED: usize = 65_536;

/// What callers may ask for and agents serve: a name, a request type and a response type.
pub struct Capability<Req, Res> {
    name: &'static str,
    about: &'static str,
    version: u32,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req: Payload, Res: Payload> Capability<Req, Res> {
    /// A capability of this name: lowercase letters, digits and dots, such as `text.summarize`, at most 80 of them. In a
    /// `const`, another name does not compile.
    ///
    /// # Panics
    /// On any other name. Names that are known only at run time go through [`Capability::named`].
    pub const fn new(name: &'static str) -> Self {
        assert!(
            subject::is_capability(name),
            "a capability name is lowercase letters, digits and dots: write `text.summarize`"
        );
        Self { name, about: "", version: 1, types: PhantomData }
    }

    /// What it is for, in words. People read it in lists, models when it is offered to them.
    pub const fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// Version of the contract, shown where it is listed. Default 1.
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The name as the broker takes it.
    pub fn id(&self) -> CapabilityName {
        CapabilityName::parse(self.name).expect("`new` has checked the grammar")
    }

    /// What a caller may know of it.
    pub(crate) fn door(&self) -> Door {
        Door {
            capability: self.id(),
            version: self.version,
            about: self.about.into(),
            request: schema::<Req>(),
            response: schema::<Res>(),
        }
    }
}

impl Capability<Value, Value> {
    /// A capability whose name and types are known only at run time.
    ///
    /// Each different name is kept for the life of the process, so that a capability stays `Copy`.
    ///
    /// # Errors
    /// `Decode` when it is not a capability's name, and after [`MAX_NAMED`] different ones.
    pub fn named(name: &str) -> Result<Self, Error> {
        static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
        CapabilityName::parse(name)?;
        let mut names = NAMES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let names = names.get_or_insert_default();
        if let Some(known) = names.get(name) {
            return Ok(Self::new(known));
        }
        if names.len() >= MAX_NAMED {
            return Err(Error::decode(format!(
                "\"{name}\" is one capability more than the {MAX_NAMED} a process may name"
            )));
        }
        let kept: &'static str = Box::leak(name.into());
        names.insert(kept);
        Ok(Self::new(kept))
    }
}

impl<Req, Res> Clone for Capability<Req, Res> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Req, Res> Copy for Capability<Req, Res> {}

impl<Req, Res> fmt::Debug for Capability<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capability({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Capability<String, u32> = Capability::new("text.count").about("counts letters").version(2);

    #[test]
    fn a_door_tells_all_that_the_constant_says() {
        let door = COUNT.door();
        assert_eq!((door.capability.as_str(), door.version, &*door.about), ("text.count", 2, "counts letters"));
        assert_eq!((&door.request["type"], &door.response["type"]), (&"string".into(), &"integer".into()));
    }

    #[test]
    fn a_name_made_at_run_time_is_checked_and_kept_once() {
        let (one, two) = (Capability::named("text.late").unwrap(), Capability::named("text.late").unwrap());
        assert!(std::ptr::eq(one.name(), two.name()));
        assert!(matches!(Capability::named("Text Late"), Err(Error::Decode { .. })));
    }
}
