//! Tasks that people approve, edit or reject before they start.

use callboard_agents::human::{self, Approval, Decision};
use callboard_broker::code;
use callboard_broker::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Check, below, field};
use super::document::TaskDoc;
use crate::period::Period;

/// Who is asked before a task starts, and what holds when they are silent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalDoc {
    /// The people who answer this queue; none: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Only these, by name; empty: whoever may use the inbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub who: Vec<String>,
    /// How long to wait; none: 7 days. What the workflow has left can only shorten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Period>,
    /// What holds when nobody answers in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<Silence>,
    /// The queue that is asked instead when nobody answers in time, with as much time again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate: Option<String>,
}

/// What it means that nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// It is done as it stands, and the result is marked as degraded.
    Approve,
    /// It is not done.
    Reject,
}

impl ApprovalDoc {
    fn approval(&self) -> Approval {
        let mut approval = Approval::of(self.queue.as_deref().unwrap_or(human::DEFAULT_QUEUE)).who(&self.who);
        if let Some(limit) = self.within {
            approval = approval.within(limit.length());
        }
        match (&self.escalate, self.on_timeout) {
            (Some(queue), _) => approval.or_escalate(queue),
            (None, Some(Silence::Approve)) => approval.or(&Decision::Approve),
            (None, _) => approval,
        }
    }
}

impl TaskDoc {
    /// Who has to approve it.
    pub(super) fn approval(&self) -> Option<Approval> {
        self.approval.as_ref().map(ApprovalDoc::approval)
    }
}

impl Check<'_> {
    pub(super) fn approval(&mut self, at: usize, task: &TaskDoc) {
        let Some(approval) = &task.approval else { return };
        let here = |key: &str| below(field(at, "approval"), key);
        for (key, queue) in [("queue", &approval.queue), ("escalate", &approval.escalate)] {
            if let Some(queue) = queue.as_ref().filter(|queue| human::queue(queue).is_err()) {
                let what = format!("task \"{}\": \"{queue}\" is no name of a queue of people", task.id);
                let problem = Problem::new(code::NAME, what).note("lower-case words and numbers with dots between");
                self.report(problem, &here(key), None);
            }
        }
        if approval.within.is_some_and(|limit| limit.is_zero()) {
            let what = format!("task \"{}\": `within` is no time at all", task.id);
            self.report(Problem::new(code::RANGE, what), &here("within"), None);
        }
        if approval.who.len() > human::MAX_WHO {
            let what = format!("task \"{}\": `who` names more than {} people", task.id, human::MAX_WHO);
            self.report(Problem::new(code::RANGE, what), &here("who"), None);
        }
        if approval.escalate.is_some() && approval.on_timeout.is_some() {
            let what = format!("task \"{}\": who escalates does nothing else in time", task.id);
            let problem = Problem::new(code::NOT_ALLOWED, what).fix("either `escalate` or `on_timeout`");
            self.report(problem, &here("on_timeout"), None);
        }
    }
}

/// The same from Rust.
impl<Res> super::builder::Task<Res> {
    /// Has people approve, edit or reject it before it starts.
    pub fn approved_by(self, approval: ApprovalDoc) -> Self {
        self.set(|doc| doc.approval = Some(approval))
    }
}
