//! What can be known to be wrong with the fallbacks of a task before it runs.

use callboard_agents::human;
use callboard_broker::code;
use callboard_broker::problem::Problem;

use super::check::{Check, below, field};
use super::document::TaskDoc;

/// One of these is a fallback.
const KEYS: [&str; 5] = ["capability", "cached", "human", "partial", "skip"];

impl Check<'_> {
    pub(super) fn fallbacks(&mut self, at: usize, task: &TaskDoc, served: Option<&[&str]>) {
        for (n, fallback) in task.fallback.iter().enumerate() {
            let here = below(field(at, "fallback"), &n.to_string());
            let keys = fallback.keys();
            if keys.len() != 1 {
                let given = if keys.is_empty() { "nothing".to_owned() } else { keys.join(" and ") };
                let what = format!("task \"{}\": a fallback is one thing, and this one says {given}", task.id);
                let each = keys.iter().map(|key| format!("{{ {key} = .. }}")).collect::<Vec<_>>().join(", ");
                let mut problem = Problem::new(code::NOT_ALLOWED, what).allowed(KEYS);
                problem.fix = (!keys.is_empty()).then_some(each);
                self.report(problem, &here, None);
            }
            if let Some(name) = &fallback.capability {
                self.named(&below(here.clone(), "capability"), &task.id, name, served);
            }
            if fallback.cached.is_some_and(|age| age.is_zero()) {
                let what = format!("task \"{}\": `cached` is no time at all", task.id);
                self.report(Problem::new(code::RANGE, what), &below(here.clone(), "cached"), None);
            }
            if let Some(queue) = fallback.human.as_ref().filter(|queue| human::queue(queue).is_err()) {
                let what = format!("task \"{}\": \"{queue}\" is no name of a queue of people", task.id);
                let problem = Problem::new(code::NAME, what).note("lower-case words and numbers with dots between");
                self.report(problem, &below(here.clone(), "human"), None);
            }
            if fallback.skip && n + 1 < task.fallback.len() {
                let what = format!("task \"{}\": what comes after `skip` is never tried", task.id);
                self.report(Problem::new(code::NOT_ALLOWED, what).fix("put it last"), &here, None);
            }
        }
    }
}
