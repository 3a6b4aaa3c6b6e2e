//! What a tool may be reached with: the rules of a node, over what a tool says of itself.

use std::time::Duration;

use super::{Rate, Risk};
use crate::human::Approval;

/// What bounds a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How often it is called on this node. Default: as often as wanted.
    pub rate: Option<Rate>,
    /// How often one attempt at a request calls it, what is recorded included. Default 100.
    pub calls: u32,
    /// What a call costs, in millionths, out of the budget of the run. Default 0.
    pub cost_micros: u64,
    /// How long a call may take. Default 30 s; of what another agent serves, as long as the request has.
    pub timeout: Option<Duration>,
    /// How much of a result is kept, in bytes. Default 64 KiB.
    pub max_result: usize,
    /// How large arguments may be as JSON, in bytes. Default 64 KiB.
    pub max_arguments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rate: None, calls: 100, cost_micros: 0, timeout: None, max_result: 64 << 10, max_arguments: 64 << 10 }
    }
}

/// How long a call takes at most that has no time of its own.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Limits {
    /// How long a call takes at most that is made here.
    pub(super) fn time(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

/// What happens when a tainted request calls a tool.
#[derive(Clone, Debug, PartialEq)]
pub enum WhenTainted {
    /// It is called: the policy of whoever runs the node.
    Allow,
    /// A person is shown the arguments, and where what the request knows comes from.
    Ask(Box<Approval>),
    /// It is refused.
    Refuse,
}

/// The rules of one tool on one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Instead of the risk that the tool says of itself.
    pub risk: Option<Risk>,
    /// Default: nothing for a normal risk; for a high one a person of `human.default` is asked.
    pub tainted: Option<WhenTainted>,
    /// Origins that taint nothing here, such as `agent workflow` or `tool docs.*`.
    pub trusts: Vec<String>,
    /// Who approves each call, whatever the request knows. Default: nobody is asked.
    pub approval: Option<Box<Approval>>,
    /// Bounds.
    pub limits: Limits,
}

impl Rules {
    /// Whether it makes a difference for a tool of this risk what a request knows.
    pub(super) fn minds_origins(&self, risk: Risk) -> bool {
        let is_asked = match &self.tainted {
            Some(said) => *said != WhenTainted::Allow,
            None => self.risk.unwrap_or(risk) == Risk::High,
        };
        is_asked || self.approval.is_some()
    }

    /// What happens when a request with these origins calls a tool of this risk.
    pub(super) fn when(&self, risk: Risk, origins: &[String]) -> WhenTainted {
        let is_trusted = |origin: &String| self.trusts.iter().any(|trusted| covers(trusted, origin));
        if origins.iter().all(is_trusted) {
            return WhenTainted::Allow;
        }
        match (&self.tainted, self.risk.unwrap_or(risk)) {
            (Some(said), _) => said.clone(),
            (None, Risk::Normal) => WhenTainted::Allow,
            (None, Risk::High) => WhenTainted::Ask(Box::default()),
        }
    }
}

/// Whether a name is meant by a pattern: by itself, or as one of all below a prefix that ends in `.*`; `*` is all.
pub(crate) fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(prefix) if prefix.ends_with('.') => name.starts_with(prefix),
        _ => pattern == name,
    }
}

/// Whether a pattern may mean a tool, or one of a family of tools, of this name.
pub fn may_cover(pattern: &str, family: &str) -> bool {
    covers(pattern, family) || pattern.strip_prefix(family).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_a_family_and_no_other_beginning() {
        for (pattern, name, is) in [
            ("docs.read", "docs.read", true),
            ("docs.*", "docs.read", true),
            ("*", "docs.read", true),
            ("docs.*", "docsx.read", false),
            ("doc*", "docs.read", false),
            ("docs.*", "docs", false),
            ("docs", "docs.read", false),
        ] {
            assert_eq!(covers(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn high_risk_and_anything_that_is_not_trusted_is_a_matter_for_people() {
        let (none, web) = (Vec::new(), vec!["tool web.get".to_owned()]);
        let both = vec!["tool web.get".to_owned(), "agent workflow".to_owned()];
        let plain = Rules::default();
        let trusting = Rules { trusts: vec!["tool web.*".into()], ..Rules::default() };
        assert_eq!(plain.when(Risk::High, &none), WhenTainted::Allow);
        assert_eq!(plain.when(Risk::Normal, &web), WhenTainted::Allow);
        assert!(matches!(plain.when(Risk::High, &web), WhenTainted::Ask(_)));
        assert_eq!(trusting.when(Risk::High, &web), WhenTainted::Allow);
        assert!(matches!(trusting.when(Risk::High, &both), WhenTainted::Ask(_)));
        let risky = Rules { risk: Some(Risk::High), tainted: Some(WhenTainted::Refuse), ..Rules::default() };
        assert_eq!(risky.when(Risk::Normal, &web), WhenTainted::Refuse);
    }
}
