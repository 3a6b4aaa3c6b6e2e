//! What a request may use, as whoever runs it knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use callboard_broker::error::Error;

use super::rules::covers;
use super::{Taint, Toolbox};
use crate::Grant;

/// The tools of one request: the grants of its agent, what it knows, and what it has called. Made by whoever runs the
/// request, so that nothing an agent holds can widen it.
#[derive(Debug, Default)]
pub struct Desk {
    toolbox: Toolbox,
    granted: Vec<String>,
    taint: Taint,
    called: Mutex<Called>,
}

#[derive(Debug, Default)]
struct Called {
    /// How often the same was called, by name and arguments.
    twins: HashMap<String, u32>,
    /// How often each tool was called.
    calls: HashMap<String, u32>,
}

impl Desk {
    /// The tools of this box that these grants name.
    pub fn new(toolbox: Toolbox, grants: &[Grant], taint: Taint) -> Arc<Self> {
        let granted = grants.iter().filter_map(|grant| match grant {
            Grant::Tool(pattern) => Some(pattern.clone()),
            _ => None,
        });
        Arc::new(Self { toolbox, granted: granted.collect(), taint, called: Mutex::default() })
    }

    /// The tools of the node.
    pub fn toolbox(&self) -> &Toolbox {
        &self.toolbox
    }

    /// Where what the request knows comes from.
    pub fn taint(&self) -> &Taint {
        &self.taint
    }

    /// Whether the agent was granted a tool.
    pub fn grants(&self, tool: &str) -> bool {
        self.granted.iter().any(|pattern| covers(pattern, tool))
    }

    /// Takes a call of a tool from what one attempt may call.
    pub(super) fn count(&self, tool: &str, limit: u32) -> Result<(), u32> {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = called.calls.entry(tool.to_owned()).or_default();
        if *calls >= limit {
            return Err(limit);
        }
        *calls += 1;
        Ok(())
    }

    /// The name under which a call is recorded: of tool and arguments, and how many identical calls came before in this
    /// attempt. So the order of different calls need not be the same in each attempt.
    pub(super) fn name(&self, tool: &str, arguments: &serde_json::Value) -> Result<String, Error> {
        let hash = callboard_broker::payload::Payload::from(arguments.clone()).content_hash()?;
        let work = format!("tool.{tool}.{hash}");
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let before = called.twins.entry(work.clone()).or_default();
        *before += 1;
        Ok(if *before == 1 { work } else { format!("{work}:{before}") })
    }
}
