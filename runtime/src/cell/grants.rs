//! What an agent may reach, enforced here and not by its prompt.

use std::sync::Arc;

use callboard_agents::Grant;
use callboard_agents::host::Facts;
use callboard_agents::tool::{Desk, Taint, Toolbox};
use callboard_broker::error::{Error, Result};
use callboard_broker::state::{Key, Scope};
use callboard_broker::subject::CapabilityName;

/// The grants of one agent in one request.
#[derive(Clone, Debug)]
pub(crate) struct Grants {
    pub(super) agent: Arc<str>,
    run: Option<callboard_broker::id::RunId>,
    list: Arc<[Grant]>,
}

impl Grants {
    pub(crate) fn new(facts: &Facts, list: Arc<[Grant]>) -> Self {
        Self { agent: facts.agent.clone(), run: facts.run.clone(), list }
    }

    /// The tools of the request, as far as they were granted.
    pub(crate) fn desk(&self, toolbox: &Toolbox, taint: Taint) -> Arc<Desk> {
        Desk::new(toolbox.clone(), &self.list, taint)
    }

    /// Whether it may ask, tell and delegate to a capability. A person may be asked by anybody: what is in doubt must
    /// find one.
    pub(crate) fn call(&self, capability: &CapabilityName) -> Result<()> {
        if capability.is_human() {
            return Ok(());
        }
        let covers = |grant: &Grant| match grant {
            Grant::AnyCapability => true,
            Grant::Capability(name) => match name.strip_suffix(".*") {
                Some(prefix) => is_below(capability.as_str(), prefix),
                None => name == capability.as_str(),
            },
            _ => false,
        };
        if self.list.iter().any(covers) { Ok(()) } else { Err(self.denied(format!("call {capability}"))) }
    }

    pub(super) fn read(&self, key: &Key) -> Result<()> {
        let covers = |grant: &Grant| match grant {
            Grant::Read(prefix) => is_below(key.as_str(), prefix),
            other => self.owns(other, key),
        };
        if self.list.iter().any(covers) { Ok(()) } else { Err(self.denied(format!("read {key}"))) }
    }

    pub(super) fn write(&self, key: &Key) -> Result<()> {
        if !key.is_reserved() && self.list.iter().any(|grant| self.owns(grant, key)) {
            Ok(())
        } else {
            Err(self.denied(format!("write {key}")))
        }
    }

    fn owns(&self, grant: &Grant, key: &Key) -> bool {
        match (grant, key.scope()) {
            (Grant::OwnRun, Scope::Run(run)) => self.run.as_ref() == Some(&run),
            (Grant::Team(team), Scope::Team(of)) => **team == *of,
            (Grant::Global(prefix), Scope::Global) => {
                let name = key.as_str().strip_prefix("global.").unwrap_or_default();
                prefix.is_empty() || is_below(name, prefix)
            }
            _ => false,
        }
    }

    /// A prefix is read as the key it would be: it must lie wholly inside what is granted.
    pub(super) fn read_below(&self, prefix: &str) -> Result<()> {
        match Key::parse(prefix) {
            Ok(key) => self.read(&key),
            Err(_) => self.whole_scope(prefix),
        }
    }

    fn whole_scope(&self, prefix: &str) -> Result<()> {
        let covers = |grant: &Grant| match grant {
            Grant::OwnRun => self.run.as_ref().is_some_and(|run| prefix == format!("run.{run}")),
            Grant::Team(team) => prefix == format!("team.{team}"),
            Grant::Global(inner) => inner.is_empty() && prefix == "global",
            Grant::Read(inner) => !inner.is_empty() && is_below(prefix, inner),
            _ => false,
        };
        if self.list.iter().any(covers) {
            Ok(())
        } else {
            Err(self.denied(format!("read everything below \"{prefix}\"")))
        }
    }

    fn denied(&self, what: String) -> Error {
        Error::Denied { who: (&*self.agent).into(), what: what.into() }
    }
}

fn is_below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[Grant]) -> Grants {
        let run = callboard_broker::id::RunId::parse("r1").ok();
        Grants { agent: "a".into(), run, list: list.into() }
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        let keys =
            ["run.r1.x", "run.r2.x", "team.qa.x", "team.web.x", "global.prices", "global.prices.eur", "global.other"];
        let kinds: [(Grant, &[&str], &[&str]); 6] = [
            (Grant::OwnRun, &["run.r1.x"], &["run.r1.x"]),
            (Grant::Team("qa".into()), &["team.qa.x"], &["team.qa.x"]),
            (
                Grant::Global("prices".into()),
                &["global.prices", "global.prices.eur"],
                &["global.prices", "global.prices.eur"],
            ),
            (Grant::Global(String::new()), &keys[4..], &keys[4..]),
            (Grant::Read("global.prices".into()), &["global.prices", "global.prices.eur"], &[]),
            (Grant::AnyCapability, &[], &[]),
        ];
        for (grant, read, write) in kinds {
            let held = grants(std::slice::from_ref(&grant));
            for key in keys {
                let parsed = Key::parse(key).unwrap();
                assert_eq!(held.read(&parsed).is_ok(), read.contains(&key), "{grant:?} reads {key}");
                assert_eq!(held.write(&parsed).is_ok(), write.contains(&key), "{grant:?} writes {key}");
            }
        }
    }

    #[test]
    fn what_the_runtime_keeps_for_itself_is_read_and_never_written() {
        let all = grants(&[Grant::OwnRun, Grant::Team("qa".into()), Grant::Global(String::new())]);
        for key in ["run.r1.callboard-budget.r1", "team.qa.callboard-x", "global.callboard-breaker.a.b"] {
            let key = Key::parse(key).unwrap();
            assert!(all.read(&key).is_ok() && all.write(&key).is_err(), "{key}");
        }
        for key in ["run.r1.x.callboard-budget", "global.callboard", "team.callboard-x.y"] {
            let key = Key::parse(key).unwrap();
            assert!(!key.is_reserved(), "{key}");
        }
    }

    #[test]
    fn a_prefix_is_read_only_when_all_below_it_is_granted() {
        let own = grants(&[Grant::OwnRun]);
        assert!(own.read_below("run.r1").is_ok());
        for prefix in ["", "run", "run.r2", "global", "team.qa"] {
            assert!(own.read_below(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn a_capability_is_called_by_name_or_by_the_family_it_belongs_to() {
        let research = CapabilityName::parse("research.web").unwrap();
        for (grant, allowed) in [
            (Grant::AnyCapability, true),
            (Grant::Capability("research.web".into()), true),
            (Grant::Capability("research.*".into()), true),
            (Grant::Capability("re.*".into()), false),
            (Grant::OwnRun, false),
        ] {
            assert_eq!(grants(std::slice::from_ref(&grant)).call(&research).is_ok(), allowed, "{grant:?}");
        }
    }
}
