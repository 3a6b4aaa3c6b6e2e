//! The tasks of a run as they stand, from what is recorded about them. Pure: facts go in, lines come out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use callboard::broker::clock::Millis;
use callboard::broker::event::{self, Event};
use callboard::broker::id::TaskId;
use callboard::broker::task::Status;
use callboard::broker::tasks::TaskView;
use callboard::workflow::WORKFLOW;
use serde_json::Value;

use crate::output::{Page, time};

/// What is known of one task.
#[derive(Clone, Debug)]
struct Row {
    capability: String,
    /// Its id within a workflow, for a task of one.
    key: Option<String>,
    parent: Option<TaskId>,
    status: Status,
    attempt: u32,
    created: Millis,
    ended: Option<Millis>,
    error: Option<String>,
    /// The node that works on it, or did last.
    node: Option<String>,
}

/// All tasks of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// Whether it is told which node does what: where there can be several.
    tells_nodes: bool,
    order: Vec<TaskId>,
    rows: HashMap<TaskId, Row>,
}

/// What each capability has to say beside its tasks, by name.
pub(crate) type Notes = BTreeMap<String, String>;

impl Rows {
    /// Of a run on several nodes: it is told which of them does what.
    pub(crate) fn of_nodes() -> Self {
        Rows { tells_nodes: true, ..Rows::default() }
    }

    /// Takes a task as it is stored. The line that tells what is new about it, if it is worth one.
    pub(crate) fn stored(&mut self, view: &TaskView) -> Option<String> {
        let outcome = view.outcome.as_ref();
        let row = Row {
            capability: view.task.capability.to_string(),
            key: self.key(view.task.parent.as_ref(), view.task.key.as_deref()),
            parent: view.task.parent.clone(),
            status: view.status,
            attempt: view.attempt,
            created: view.task.created_at,
            ended: outcome.map(|outcome| outcome.finished_at),
            error: outcome.and_then(|outcome| outcome.error.as_ref()).map(|error| error.message.clone()),
            node: outcome.and_then(|outcome| outcome.node.clone()).or(view.node.clone()).map(|node| node.to_string()),
        };
        let news = self.rows.get(&view.task.id).is_none_or(|old| old.status != row.status && !old.status.is_final());
        let line = row.line(view.task.created_at, self.tells_nodes);
        self.put(&view.task.id, row);
        line.filter(|_| news)
    }

    /// Takes a fact. The line that tells it to somebody who only sees lines, if it is worth one.
    pub(crate) fn see(&mut self, event: &Event) -> Option<String> {
        let (task, payload) = (event.task.clone()?, event.payload.value().ok()?);
        let text = |field: &str| payload.get(field).and_then(Value::as_str).map(str::to_owned);
        let attempt = payload.get("attempt").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        if event.kind == event::TASK_CREATED {
            let parent = text("parent").and_then(|parent| TaskId::parse(&parent).ok());
            let row = Row {
                capability: text("capability")?,
                key: self.key(parent.as_ref(), text("key").as_deref()),
                parent,
                status: Status::Pending,
                attempt: 0,
                created: event.time,
                ended: None,
                error: None,
                node: None,
            };
            if !self.rows.contains_key(&task) {
                self.put(&task, row);
            }
            return None;
        }
        let status = status_of(&event.kind)?;
        let row = self.rows.get_mut(&task)?;
        let news = row.status != status || attempt.is_some_and(|attempt| attempt != row.attempt);
        row.status = status;
        row.attempt = attempt.unwrap_or(row.attempt);
        row.ended = status.is_final().then_some(event.time);
        row.error = payload.pointer("/error/message").and_then(Value::as_str).map(str::to_owned);
        if event.kind == event::TASK_STARTED {
            row.node = Some(event.agent.clone());
        }
        let tells_nodes = self.tells_nodes;
        news.then(|| row.line(event.time, tells_nodes)).flatten()
    }

    /// The tree of the tasks in at most `most` lines, siblings of one name folded into one.
    pub(crate) fn tree(&self, page: Page, now: Millis, notes: &Notes, most: usize) -> Vec<String> {
        let mut lines = Vec::new();
        self.branch(page, None, "", notes, &mut lines);
        let wide = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(page.columns / 2);
        let line = |(name, group): &(String, Group<'_>)| {
            let (name, note) = (page.fit(name, wide), group.note(notes, self.tells_nodes));
            let (state, took, tasks) = (group.state(), group.took(now), group.tasks.len());
            page.fit(&format!("{name:wide$} {state:7} {tasks:>3}  {took:>7}  {note}"), page.columns)
        };
        let mut lines: Vec<String> = lines.iter().map(line).map(|line| line.trim_end().to_owned()).collect();
        if lines.len() > most {
            let more = lines.len() - most + 1;
            lines.truncate(most.saturating_sub(1));
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// The key of a workflow's task, which is the name that its author gave it. Other keys are nobody's words.
    fn key(&self, parent: Option<&TaskId>, key: Option<&str>) -> Option<String> {
        let parent = self.rows.get(parent?)?;
        (parent.capability == WORKFLOW.name()).then(|| key.map(str::to_owned)).flatten()
    }

    fn put(&mut self, task: &TaskId, row: Row) {
        if self.rows.insert(task.clone(), row).is_none() {
            self.order.push(task.clone());
        }
    }

    /// The lines below one task, those of its children's children included.
    fn branch<'r>(
        &'r self,
        page: Page,
        parent: Option<&Group<'r>>,
        indent: &str,
        notes: &Notes,
        lines: &mut Lines<'r>,
    ) {
        let groups = self.below(parent, notes);
        let [more, last, through] = page.branches();
        let count = groups.len();
        for (at, group) in groups.into_iter().enumerate() {
            let end = at + 1 == count;
            let (own, below) = match parent {
                None => ("", ""),
                Some(_) if end => (last, "   "),
                Some(_) => (more, through),
            };
            lines.push((format!("{indent}{own}{}", group.name), group.clone()));
            self.branch(page, Some(&group), &format!("{indent}{below}"), notes, lines);
        }
    }

    /// The children of a group of tasks, in groups, and whoever has a note below its lead and no task.
    fn below<'r>(&'r self, parent: Option<&Group<'r>>, notes: &Notes) -> Vec<Group<'r>> {
        let belongs = |row: &Row| match parent {
            None => row.parent.as_ref().is_none_or(|parent| !self.rows.contains_key(parent)),
            Some(group) => row.parent.as_ref().is_some_and(|parent| group.tasks.iter().any(|(id, _)| *id == parent)),
        };
        let rows = self.order.iter().filter_map(|id| Some((id, self.rows.get(id)?)));
        let mut groups: Vec<Group<'r>> = Vec::new();
        for (id, row) in rows.filter(|(_, row)| belongs(row)) {
            match groups.iter_mut().find(|group| group.name == row.name()) {
                Some(group) => group.tasks.push((id, row)),
                None => groups.push(Group { name: row.name().to_owned(), tasks: vec![(id, row)] }),
            }
        }
        let led = parent.and_then(|group| group.name.strip_suffix(".lead")).map(|team| format!("{team}."));
        let has_task = |name: &str| self.rows.values().any(|row| row.capability == name);
        let idle =
            notes.keys().filter(|name| led.as_ref().is_some_and(|team| name.starts_with(team)) && !has_task(name));
        groups.extend(idle.map(|name| Group { name: name.clone(), tasks: Vec::new() }));
        groups
    }
}

type Lines<'r> = Vec<(String, Group<'r>)>;

impl Row {
    /// What it is called where it is shown.
    fn name(&self) -> &str {
        self.key.as_ref().unwrap_or(&self.capability)
    }

    /// `completed  research.database  58 ms`; none for what is only the beginning.
    fn line(&self, now: Millis, tells_nodes: bool) -> Option<String> {
        let took = time::took(self.ended.unwrap_or(now).saturating_sub(self.created));
        let on = self.node.as_ref().filter(|_| tells_nodes).map(|node| format!("  on {node}")).unwrap_or_default();
        match (self.status, self.attempt) {
            (Status::Pending, _) | (Status::InProgress, 0 | 1) => None,
            (Status::InProgress, attempt) => Some(format!("again      {}  attempt {attempt}{on}", self.name())),
            (status, _) => {
                let why = self.error.as_ref().map(|error| format!("  {error}")).unwrap_or_default();
                Some(format!("{status:9}  {}  {took}{on}{why}", self.name()))
            }
        }
    }
}

/// Tasks of one name below one parent; without a task: somebody who had nothing to do.
#[derive(Clone, Debug)]
struct Group<'r> {
    name: String,
    tasks: Vec<(&'r TaskId, &'r Row)>,
}

impl Group<'_> {
    /// What somebody should look at first decides.
    fn state(&self) -> String {
        let has = |status| self.tasks.iter().any(|(_, row)| row.status == status);
        let tried =
            self.tasks.iter().filter(|(_, row)| row.status == Status::InProgress).map(|(_, row)| row.attempt).max();
        match tried {
            Some(attempt) if attempt > 1 => format!("again {attempt}"),
            Some(_) => "working".into(),
            None if self.tasks.is_empty() => "idle".into(),
            None if has(Status::Failed) => "failed".into(),
            None if has(Status::Expired) => "expired".into(),
            None if has(Status::Cancelled) => "stopped".into(),
            None if has(Status::Pending) => "waiting".into(),
            None if has(Status::Skipped) => "skipped".into(),
            None => "done".into(),
        }
    }

    /// What went wrong, what there is to say, or which capability it is if the name does not tell.
    fn note(&self, notes: &Notes, tells_nodes: bool) -> String {
        let error = self.tasks.iter().find_map(|(_, row)| row.error.clone());
        let named =
            self.tasks.first().filter(|(_, row)| row.capability != self.name).map(|(_, row)| row.capability.clone());
        let note = error.or_else(|| notes.get(&self.name).cloned()).or(named).unwrap_or_default();
        let nodes: BTreeSet<&str> = self.tasks.iter().filter_map(|(_, row)| row.node.as_deref()).collect();
        match nodes.is_empty() || !tells_nodes {
            true => note,
            false => format!("{:8} {note}", nodes.into_iter().collect::<Vec<_>>().join(",")),
        }
    }

    /// From the first submission to the last end.
    fn took(&self, now: Millis) -> String {
        let Some(from) = self.tasks.iter().map(|(_, row)| row.created).min() else { return String::new() };
        let to = self.tasks.iter().map(|(_, row)| row.ended.unwrap_or(now)).max().unwrap_or(now);
        time::took(to.saturating_sub(from))
    }
}

fn status_of(kind: &str) -> Option<Status> {
    match kind {
        event::TASK_STARTED => Some(Status::InProgress),
        event::TASK_COMPLETED => Some(Status::Completed),
        event::TASK_FAILED => Some(Status::Failed),
        event::TASK_CANCELLED => Some(Status::Cancelled),
        event::TASK_EXPIRED => Some(Status::Expired),
        event::TASK_SKIPPED => Some(Status::Skipped),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
