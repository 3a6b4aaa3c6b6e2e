use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use callboard_broker::error::{Error, Result};
use callboard_broker::state::{Key, Scope};
use callboard_broker::subject;

use super::Party;
use crate::Payload;

/// A place in shared state, and who shares it: `const PLAN: StateKey<Plan> = StateKey::run("plan")`.
pub struct StateKey<T> {
    scope: Sharers,
    name: Cow<'static, str>,
    version: u32,
    types: PhantomData<fn(T) -> T>,
}

#[derive(Clone, Copy)]
enum Sharers {
    Run,
    Team,
    Global,
}

impl<T: Payload> StateKey<T> {
    /// Shared by the agents of one run: `run.<run>.name`.
    ///
    /// # Panics
    /// Unless the name is letters, digits, `_`, `-` and dots; in a `const`, that is an error of compilation.
    pub const fn run(name: &'static str) -> Self {
        Self::new(Sharers::Run, name)
    }

    /// Shared by the agents of one team: `team.<team>.name`.
    ///
    /// # Panics
    /// As [`StateKey::run`].
    pub const fn team(name: &'static str) -> Self {
        Self::new(Sharers::Team, name)
    }

    /// Shared by all: `global.name`.
    ///
    /// # Panics
    /// As [`StateKey::run`].
    pub const fn global(name: &'static str) -> Self {
        Self::new(Sharers::Global, name)
    }

    const fn new(scope: Sharers, name: &'static str) -> Self {
        assert!(subject::is_path(name), "a state key is letters, digits, `_`, `-` and dots: write `plan`");
        Self { scope, name: Cow::Borrowed(name), version: 1, types: PhantomData }
    }

    /// Version of the type, stored with each entry. Reading a newer one is `Decode`, never a guess; an older one is read
    /// as the type is now, so give new fields a default. Default 1.
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// A key below this one: `NOTES.at("otters")`. A part that is no letters, digits, `_`, `-` and dots fails when the
    /// state is used.
    pub fn at(&self, part: &str) -> Self {
        Self { name: format!("{}.{part}", self.name).into(), ..self.clone() }
    }

    pub(super) fn type_version(&self) -> u32 {
        self.version
    }

    /// The full key, for this party.
    pub(super) fn of(&self, party: &Party) -> Result<Key> {
        let missing = |whose: &str| Error::not_found(format!("{whose} whose `{}` could be meant here", self.name));
        let scope = match self.scope {
            Sharers::Run => Scope::Run(party.run.clone().ok_or_else(|| missing("run"))?),
            Sharers::Team => Scope::Team(party.team.clone().ok_or_else(|| missing("team"))?),
            Sharers::Global => Scope::Global,
        };
        Ok(Key::new(&scope, &self.name)?)
    }
}

impl<T> Clone for StateKey<T> {
    fn clone(&self) -> Self {
        Self { scope: self.scope, name: self.name.clone(), version: self.version, types: PhantomData }
    }
}

impl<T> fmt::Debug for StateKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.scope {
            Sharers::Run => "run",
            Sharers::Team => "team",
            Sharers::Global => "global",
        };
        write!(f, "StateKey({scope} {})", self.name)
    }
}
