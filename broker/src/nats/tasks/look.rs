//! Views of tasks, for people and for parents that look for their children.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::entry;
use super::room::Room;
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::nats::js::Raw;
use crate::nats::names;
use crate::nats::record::Story;
use crate::subject::CapabilityName;
use crate::task::{Record, Status, Task};
use crate::tasks::{Depth, MAX_PAGE, TaskFilter, TaskView};

/// Up to so many queued tasks are counted one by one; beyond that the server's own figures are taken, which count a task
/// that waits for its next attempt as in progress.
const COUNTED: usize = 4_096;
/// Tasks that one look takes in while a page of a list is gathered.
const GATHER: usize = 512;
/// The same, of a list of few.
const LEAST: usize = 16;
/// Records that a task leaves which goes well, about.
const RECORDS: usize = 4;

impl Room {
    pub(super) async fn get(&self, tasks: Vec<TaskId>) -> Result<Vec<Option<TaskView>>> {
        let mut views = Vec::new();
        for (id, story) in tasks.iter().zip(self.glance(&tasks).await?) {
            if story.task.is_some() {
                views.push(self.view(story));
            } else {
                let queued = self.queued(id).await?;
                views.push(queued.and_then(|(task, _, seq)| self.view(Story { task: Some(task), seq, ..story })));
            }
        }
        Ok(views)
    }

    /// A task with where it stands; `None` for a story without a task.
    fn view(&self, story: Story) -> Option<TaskView> {
        let status = match (&story.outcome, &story.held) {
            (Some(outcome), _) => outcome.status,
            (None, Some(_)) => Status::InProgress,
            (None, None) => Status::Pending,
        };
        let waits = story.held.is_none() && story.outcome.is_none() && story.not_before > self.now();
        Some(TaskView {
            task: story.task?,
            seq: story.seq,
            status,
            attempt: story.attempts,
            node: story.held.as_ref().map(|held| held.node.clone()),
            started_at: story.held.as_ref().map(|held| held.since),
            not_before: waits.then_some(story.not_before),
            parked: story.outcome.is_none() && story.parked.is_some(),
            outcome: story.outcome,
        })
    }

    pub(super) async fn log(&self, task: TaskId) -> Result<Vec<Record>> {
        let story = self.story(&task).await?;
        if story.last == 0 && self.queued(&task).await?.is_none() {
            return Err(Error::not_found(format!("task {task}")));
        }
        Ok(story.log)
    }

    pub(super) async fn list(&self, filter: TaskFilter) -> Result<Vec<TaskView>> {
        let limit = if filter.limit == 0 { MAX_PAGE } else { filter.limit.min(MAX_PAGE) };
        if let (Some(capability), [Status::Pending], None) = (&filter.capability, &filter.status[..], filter.after)
            && capability.is_human()
        {
            return self.waiting(capability, &filter, limit).await;
        }
        let of = filter.run.as_ref().map_or("*".to_owned(), ToString::to_string);
        let subject = format!("cb.v1.run.{of}.*.submitted");
        if filter.newest_first {
            return self.newest(&subject, &filter, limit).await;
        }
        let mut views = Vec::new();
        let mut from = filter.after.unwrap_or(0) + 1;
        loop {
            let page = self.link.page(names::RUNS, &subject, from, GATHER).await?;
            self.gather(&page, &filter, limit, &mut views).await?;
            match page.last() {
                Some(last) if last.pending > 0 && views.len() < limit => from = last.seq + 1,
                _ => return Ok(views),
            }
        }
    }

    /// The newest first. The server reads forwards only, so the stream is gone through in windows from its end on, each
    /// twice as wide as the one before; beyond what one look takes in only while there is nothing in them.
    async fn newest(&self, subject: &str, filter: &TaskFilter, limit: usize) -> Result<Vec<TaskView>> {
        let info = self.link.info(names::RUNS).await?.map_err(|e| e.into_error(names::RUNS))?;
        let at = |which: &str| info["state"][which].as_u64().unwrap_or_default();
        let (first, mut end) = (at("first_seq").max(1), filter.after.unwrap_or(u64::MAX).min(at("last_seq") + 1));
        let wide = (RECORDS * GATHER) as u64;
        let (mut width, mut views) = (wide.min((RECORDS * limit.max(LEAST)) as u64), Vec::new());
        while end > first && views.len() < limit {
            let from = end.saturating_sub(width).max(first);
            let mut found = self.between(subject, from, end).await?;
            found.reverse();
            for page in found.chunks(limit.clamp(LEAST, GATHER)) {
                if views.len() < limit {
                    self.gather(page, filter, limit, &mut views).await?;
                }
            }
            (end, width) = (from, width.saturating_mul(2));
            if !found.is_empty() {
                width = width.min(wide);
            }
        }
        Ok(views)
    }

    /// What stands on a subject at `from..end`.
    async fn between(&self, subject: &str, from: u64, end: u64) -> Result<Vec<Raw>> {
        let (mut found, mut from) = (Vec::new(), from);
        loop {
            let batch = usize::try_from(end - from).unwrap_or(GATHER).min(GATHER);
            let page = self.link.page(names::RUNS, subject, from, batch).await?;
            let next = page.last().filter(|last| last.pending > 0).map(|last| last.seq + 1);
            found.extend(page.into_iter().filter(|raw| raw.seq < end));
            match next {
                Some(next) if next < end => from = next,
                _ => return Ok(found),
            }
        }
    }

    /// What people are asked stands in their queue until it is answered: no log of what has ended need be read.
    async fn waiting(&self, capability: &CapabilityName, filter: &TaskFilter, limit: usize) -> Result<Vec<TaskView>> {
        let mut ids = Vec::new();
        for urgency in names::PRIORITIES {
            let queued = self.link.all(names::TASKS, &names::consumer_filter(capability, urgency), 1).await?;
            ids.extend(queued.iter().filter_map(|raw| Some(entry::address(&raw.subject).ok()?.task)));
        }
        let mut views: Vec<TaskView> = self.get(ids).await?.into_iter().flatten().collect();
        views.retain(|view| view.status == Status::Pending && passes(&view.task, filter));
        views.sort_by_key(|view| if filter.newest_first { u64::MAX - view.seq } else { view.seq });
        views.truncate(limit);
        Ok(views)
    }

    /// Adds those tasks of a page that pass.
    async fn gather(&self, page: &[Raw], filter: &TaskFilter, limit: usize, into: &mut Vec<TaskView>) -> Result<()> {
        let tasks: Vec<Task> =
            page.iter().filter_map(|raw| Story::read([raw]).task).filter(|task| passes(task, filter)).collect();
        let ids: Vec<TaskId> = tasks.into_iter().map(|task| task.id).collect();
        for view in self.glance(&ids).await?.into_iter().filter_map(|story| self.view(story)) {
            if into.len() < limit && (filter.status.is_empty() || filter.status.contains(&view.status)) {
                into.push(view);
            }
        }
        Ok(())
    }

    pub(super) async fn depth(&self) -> Result<Vec<(CapabilityName, Depth)>> {
        let queued = self.queued_subjects().await?;
        let Some(queued) = queued else { return self.depth_by_consumers().await };
        let addresses: Vec<_> = queued.iter().filter_map(|subject| entry::address(subject).ok()).collect();
        let ids: Vec<TaskId> = addresses.iter().map(|address| address.task.clone()).collect();
        let stories = self.glance(&ids).await?;
        let mut depths: BTreeMap<CapabilityName, Depth> = BTreeMap::new();
        for (address, story) in addresses.into_iter().zip(stories) {
            if story.outcome.is_some() {
                continue;
            }
            let depth = depths.entry(address.capability).or_default();
            *(if story.held.is_some() { &mut depth.in_progress } else { &mut depth.pending }) += 1;
        }
        Ok(depths.into_iter().collect())
    }

    /// The subjects of all queued tasks; `None` when there are more than are counted one by one.
    async fn queued_subjects(&self) -> Result<Option<Vec<String>>> {
        let info = self.link.info(names::TASKS).await?.map_err(|e| e.into_error(names::TASKS))?;
        if info["state"]["messages"].as_u64().unwrap_or_default() > COUNTED as u64 {
            return Ok(None);
        }
        let (verb, ask) = (format!("STREAM.INFO.{}", names::TASKS), json!({ "subjects_filter": "cb.v1.task.>" }));
        let info = self.link.api(&verb, ask).await?.map_err(|e| e.into_error(names::TASKS))?;
        let subjects = info["state"]["subjects"].as_object();
        Ok(Some(subjects.map(|subjects| subjects.keys().cloned().collect()).unwrap_or_default()))
    }

    /// The tasks that somebody holds, or held when his process died, as many as one look takes in. What is looked at is
    /// taken from `spans`.
    pub(super) async fn in_progress(&self, spans: &mut Vec<Span>) -> Result<Vec<(TaskId, Story)>> {
        let Some(span) = spans.last_mut() else { return Ok(Vec::new()) };
        let page = self.link.page(names::TASKS, &span.filter, span.from, span.batch).await?;
        let addresses =
            page.iter().take_while(|raw| raw.seq <= span.to).filter_map(|raw| entry::address(&raw.subject).ok());
        let ids: Vec<TaskId> = addresses.map(|address| address.task).collect();
        match page.last().filter(|last| last.pending > 0 && last.seq < span.to) {
            Some(last) => span.from = last.seq + 1,
            None => drop(spans.pop()),
        }
        let stories = self.glance(&ids).await?;
        let began = |(_, story): &(TaskId, Story)| story.held.is_some() || story.died.is_some();
        Ok(ids.into_iter().zip(stories).filter(began).collect())
    }

    /// Where in the queue what the server has handed out stands. Nobody can have claimed anything else, however much that
    /// is; what a server that was killed has forgotten it hands out again.
    pub(super) async fn handed_out(&self) -> Result<Vec<Span>> {
        Ok(self.consumers().await?.iter().filter_map(Span::of).collect())
    }

    /// What the server says of all queues of tasks.
    async fn consumers(&self) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        loop {
            let verb = format!("CONSUMER.LIST.{}", names::TASKS);
            let said = self.link.api(&verb, json!({ "offset": all.len() })).await?;
            let said = said.map_err(|e| e.into_error(names::TASKS))?;
            let page = said["consumers"].as_array().map_or(&[][..], |consumers| consumers);
            all.extend_from_slice(page);
            if page.is_empty() || all.len() as u64 >= said["total"].as_u64().unwrap_or_default() {
                return Ok(all);
            }
        }
    }

    async fn depth_by_consumers(&self) -> Result<Vec<(CapabilityName, Depth)>> {
        let mut depths: BTreeMap<CapabilityName, Depth> = BTreeMap::new();
        for info in self.consumers().await? {
            let filter = info["config"]["filter_subject"].as_str().unwrap_or_default();
            let Some(Ok(capability)) = filter.split('.').nth(3).map(CapabilityName::from_token) else { continue };
            let depth = depths.entry(capability).or_default();
            depth.pending += info["num_pending"].as_u64().unwrap_or_default();
            depth.in_progress += info["num_ack_pending"].as_u64().unwrap_or_default();
        }
        depths.retain(|_, depth| *depth != Depth::default());
        Ok(depths.into_iter().collect())
    }

    /// How many messages of a capability are handed out, and how many pulls for it wait, in all processes together.
    pub(super) async fn busy(&self, capability: &CapabilityName) -> Result<(usize, usize)> {
        let (mut handed_out, mut waiting) = (0, 0);
        for urgency in names::PRIORITIES {
            let consumer = names::consumer(capability, urgency);
            let said = self.link.api(&format!("CONSUMER.INFO.{}.{consumer}", names::TASKS), Value::Null).await?;
            let info = said.map_err(|e| e.into_error(&consumer))?;
            let count = |field: &str| usize::try_from(info[field].as_u64().unwrap_or_default()).unwrap_or(usize::MAX);
            handed_out += count("num_ack_pending");
            waiting += count("num_waiting");
        }
        Ok((handed_out, waiting))
    }
}

/// Sequences of the queue, of which those count that match a filter.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) filter: String,
    pub(super) from: u64,
    pub(super) to: u64,
    /// As many at a time as there can be, so that no more is read of what stands behind.
    pub(super) batch: usize,
}

impl Span {
    /// What a consumer has handed out that is not acknowledged; by what the server says of it.
    pub(super) fn of(consumer: &Value) -> Option<Self> {
        let number = |of: &str| consumer[of]["stream_seq"].as_u64().unwrap_or_default();
        let many = consumer["num_ack_pending"].as_u64().filter(|many| *many > 0)?;
        let batch = usize::try_from(many).map_or(GATHER, |many| many.min(GATHER));
        let filter = consumer["config"]["filter_subject"].as_str()?.to_owned();
        Some(Self { filter, from: number("ack_floor") + 1, to: number("delivered"), batch })
    }
}

fn passes(task: &Task, filter: &TaskFilter) -> bool {
    filter.run.as_ref().is_none_or(|run| task.run == *run)
        && filter.parent.as_ref().is_none_or(|parent| task.parent.as_ref() == Some(parent))
        && filter.capability.as_ref().is_none_or(|capability| task.capability == *capability)
        && (!filter.roots || task.parent.is_none())
        && filter.suffix.as_ref().is_none_or(|suffix| task.id.as_str().ends_with(suffix.as_str()))
}
