use std::time::Duration;

use callboard_agents::call::fallback::Fallback;
use callboard_agents::human;
use callboard_broker::error::Result;
use callboard_broker::subject::CapabilityName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::TaskDoc;
use crate::period::Period;

/// One thing to try when a task failed for good: exactly one of these keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackDoc {
    /// Another capability, with the same input, retries and times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The newest response of the same capability to the same input, of any run, when it is not older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<Period>,
    /// What the agent had kept when it gave up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// The people who answer this queue, `default` for instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<String>,
    /// Nothing: the workflow goes on, and references to the task are null. Always the last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
}

impl FallbackDoc {
    /// The keys that are set.
    pub(super) fn keys(&self) -> Vec<&'static str> {
        let set = [
            ("capability", self.capability.is_some()),
            ("cached", self.cached.is_some()),
            ("partial", self.partial),
            ("human", self.human.is_some()),
            ("skip", self.skip),
        ];
        set.into_iter().filter_map(|(key, is_set)| is_set.then_some(key)).collect()
    }

    /// What a delegation tries; none for `skip`, which is a matter of the graph.
    fn tried(&self) -> Result<Option<Fallback>> {
        Ok(if let Some(name) = &self.capability {
            Some(Fallback::Capability(CapabilityName::parse(name)?))
        } else if let Some(queue) = &self.human {
            Some(Fallback::Human(human::queue(queue)?.id(), Value::Null))
        } else if let Some(age) = self.cached {
            Some(Fallback::Cached(age.length()))
        } else {
            self.partial.then_some(Fallback::Partial)
        })
    }
}

impl TaskDoc {
    /// What is tried when it failed for good.
    pub(super) fn fallbacks(&self) -> Result<Vec<Fallback>> {
        let tried = self.fallback.iter().map(FallbackDoc::tried).collect::<Result<Vec<_>>>()?;
        Ok(tried.into_iter().flatten().collect())
    }
}

/// The same from Rust.
impl<Res> super::builder::Task<Res> {
    /// When it failed for good, this capability is tried with the same input, retries and times.
    pub fn or<Req: callboard_agents::Payload>(self, other: callboard_agents::Capability<Req, Res>) -> Self
    where
        Res: callboard_agents::Payload,
    {
        self.instead(FallbackDoc { capability: Some(other.name().to_owned()), ..FallbackDoc::default() })
    }

    /// When it failed for good, the newest response of any run to the same input is taken if it is not older than this.
    pub fn or_cached(self, max_age: Duration) -> Self {
        self.instead(FallbackDoc { cached: Some(max_age.into()), ..FallbackDoc::default() })
    }

    /// When it failed for good, what the agent had kept is taken.
    pub fn or_partial(self) -> Self {
        self.instead(FallbackDoc { partial: true, ..FallbackDoc::default() })
    }

    /// When it failed for good, the people of this queue are asked.
    pub fn or_human(self, queue: &str) -> Self {
        self.instead(FallbackDoc { human: Some(queue.to_owned()), ..FallbackDoc::default() })
    }

    fn instead(self, fallback: FallbackDoc) -> Self {
        self.set(|doc| doc.fallback.push(fallback))
    }
}
