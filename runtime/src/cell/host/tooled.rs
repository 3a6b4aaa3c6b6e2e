//! Tools: breakers of their own, and what is told of a call.

use callboard_agents::host::ToolCalled;
use callboard_broker::clock::millis;
use callboard_broker::error::Result;
use callboard_broker::subject::CapabilityName;

use super::RequestHost;
use crate::resilience::breaker::Seen;

/// Longest name of a breaker.
const MAX_BREAKER: usize = 80;

impl RequestHost {
    /// Whether the breaker of a tool lets a call pass.
    pub(super) async fn may_call(&self, tool: &str) -> Result<()> {
        match breaker(tool) {
            Some(breaker) => self.within(self.hub.breakers.admit(&breaker)).await.map(drop),
            None => self.live(),
        }
    }

    /// What became of it.
    pub(super) async fn called(&self, call: &ToolCalled<'_>) {
        if let Some(breaker) = breaker(call.tool) {
            let began = self.hub.broker.clock.now().saturating_sub(millis(call.took));
            self.hub.breakers.seen(&breaker, call.class.map_or(Seen::Success, Seen::of), began).await;
        }
    }
}

/// The breaker of a tool, among those of capabilities: `docs.read_text` has `tool.docs.readtext`. Two tools of one such
/// name share it, which costs them no more than a rest.
fn breaker(tool: &str) -> Option<CapabilityName> {
    let words = tool.split('.').map(|word| {
        let kept = word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
        kept.collect::<String>()
    });
    let mut name = words.filter(|word| !word.is_empty()).fold("tool".to_owned(), |name, word| format!("{name}.{word}"));
    name.truncate(MAX_BREAKER);
    CapabilityName::parse(name.trim_end_matches('.')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_breaker() {
        for (tool, name) in
            [("docs.read", "tool.docs.read"), ("fs.read_text-File", "tool.fs.readtextfile"), ("a.__", "tool.a")]
        {
            assert_eq!(breaker(tool).unwrap().as_str(), name);
        }
        assert!(breaker(&format!("a.{}.b", "x".repeat(73))).is_some());
    }
}
