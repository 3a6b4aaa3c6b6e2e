//! What an agent may use while it works on a request.

use std::fmt;
use std::sync::Arc;

use crate::host::Host;

/// What an agent may use. Owned, cheap to clone; useless (`Error::Cancelled`) once its request has ended.
#[derive(Clone)]
pub struct Context {
    host: Arc<dyn Host>,
}

impl Context {
    /// A context over a host: for runtimes and test kits.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host }
    }

    /// The host, for calls whose names and types are known only at run time.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.host.facts();
        write!(f, "Context({} of {:?}, attempt {})", facts.capability, facts.run, facts.attempt)
    }
}
