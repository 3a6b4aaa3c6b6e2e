//! The tools of a node.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use callboard_broker::error::Error;
use tokio::time::Instant;

use super::definition::erased;
use super::rate::Bucket;
use super::rules::covers;
use super::{AnyTool, Offer, Rules, Tool};
use crate::Result;

/// The most tools of one node.
pub const MAX_TOOLS: usize = 2_000;

/// A tool with the rules that it has on this node.
pub struct Entry {
    tool: Arc<dyn AnyTool>,
    rules: Rules,
    offer: Offer,
    bucket: Mutex<Bucket>,
    /// The family that it came with, and goes with.
    family: Option<String>,
}

impl Entry {
    fn new(tool: Arc<dyn AnyTool>, rules: Rules) -> Self {
        let mut offer = tool.offer().clone();
        offer.risk = rules.risk.unwrap_or(offer.risk);
        Self { tool, rules, offer, bucket: Mutex::default(), family: None }
    }

    /// What is offered: as the tool says, under the rules of the node.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Its rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The tool itself, for whoever has checked that it may be called.
    pub(super) fn tool(&self) -> &dyn AnyTool {
        &*self.tool
    }

    /// Takes a call from its rate.
    pub(super) fn take(&self) -> std::result::Result<(), Duration> {
        let Some(rate) = self.rules.limits.rate else { return Ok(()) };
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(rate, Instant::now())
    }
}

/// The tools of a node by name, each with its rules. Cheap to clone; clones are the same, so that tools which are found
/// while the node runs (those of an MCP server) are there for all.
#[derive(Clone, Default)]
pub struct Toolbox {
    tools: Arc<RwLock<BTreeMap<String, Arc<Entry>>>>,
    /// By pattern, in the order in which they count: for tools whose names are not known before they are there.
    rules: Arc<RwLock<Vec<(String, Rules)>>>,
}

impl Toolbox {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this tool, under the rules that are given for its name, else under the default ones.
    ///
    /// # Errors
    /// `Decode` for a name that is none or is taken, and for more than [`MAX_TOOLS`].
    pub fn with(self, tool: impl Tool) -> Result<Self, Error> {
        self.add(erased(tool)).map(|()| self)
    }

    /// With this tool under these rules.
    ///
    /// # Errors
    /// As for [`with`](Self::with).
    pub fn with_rules(self, tool: impl Tool, rules: Rules) -> Result<Self, Error> {
        let tool = erased(tool);
        self.rule(&tool.offer().name, rules);
        self.add(tool).map(|()| self)
    }

    /// These rules for all tools of a name or a family (`docs.*`) that are added from now on; the first that fit count.
    pub fn rule(&self, pattern: &str, rules: Rules) {
        self.rules.write().unwrap_or_else(PoisonError::into_inner).push((pattern.to_owned(), rules));
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// As for [`with`](Self::with).
    pub fn add(&self, tool: Arc<dyn AnyTool>) -> Result<(), Error> {
        let name = tool.offer().name.clone();
        tool.offer().check()?;
        let rules = self.rules_of(&name);
        let mut tools = self.tools.write().unwrap_or_else(PoisonError::into_inner);
        if tools.contains_key(&name) {
            return Err(Error::decode(format!("there are two tools \"{name}\"")));
        }
        if tools.len() >= MAX_TOOLS {
            return Err(Error::decode(format!("\"{name}\" is one tool more than the {MAX_TOOLS} of a node")));
        }
        tools.insert(name, Arc::new(Entry::new(tool, rules)));
        Ok(())
    }

    /// Puts these tools in the place of all that came with this family before: `fs` for `fs.read` and the like. A name that is none
    /// or is not of the family is left out, and so is what goes over [`MAX_TOOLS`]; how many were.
    pub fn replace(&self, family: &str, found: Vec<Arc<dyn AnyTool>>) -> usize {
        let pattern = format!("{family}.*");
        let entries: Vec<_> = found.iter().map(|tool| (tool.clone(), self.rules_of(&tool.offer().name))).collect();
        let mut tools = self.tools.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = BTreeMap::new();
        tools.retain(|name, entry| match entry.family.as_deref() == Some(family) {
            true => {
                before.insert(name.clone(), entry.clone());
                false
            }
            false => true,
        });
        let mut left_out = 0;
        for (tool, rules) in entries {
            let name = tool.offer().name.clone();
            let is_one = tool.offer().check().is_ok() && covers(&pattern, &name);
            if !is_one || tools.len() >= MAX_TOOLS || tools.contains_key(&name) {
                left_out += 1;
                continue;
            }
            let entry = Entry { family: Some(family.to_owned()), ..Entry::new(tool, rules) };
            if let Some(before) = before.get(&name) {
                // A server that was started again does not get its rate anew.
                let bucket = *before.bucket.lock().unwrap_or_else(PoisonError::into_inner);
                *entry.bucket.lock().unwrap_or_else(PoisonError::into_inner) = bucket;
            }
            tools.insert(name, Arc::new(entry));
        }
        left_out
    }

    /// All tools of another box, with their rules.
    ///
    /// # Errors
    /// `Decode` for a name that is taken; then none of them.
    pub fn take_from(&self, other: &Self) -> Result<(), Error> {
        let theirs = other.list();
        let mut tools = self.tools.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(twice) = theirs.iter().map(|entry| &entry.offer.name).find(|name| tools.contains_key(*name)) {
            return Err(Error::decode(format!("there are two tools \"{twice}\"")));
        }
        tools.extend(theirs.into_iter().map(|entry| (entry.offer.name.clone(), entry)));
        Ok(())
    }

    /// The tool of a name.
    pub fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.tools.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        self.tools.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn rules_of(&self, name: &str) -> Rules {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.iter().find(|(pattern, _)| covers(pattern, name)).map(|(_, rules)| rules.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.list().iter().map(|entry| entry.offer.name.clone()).collect();
        f.debug_tuple("Toolbox").field(&names).finish()
    }
}
