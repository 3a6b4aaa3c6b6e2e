//! What an operator or a parent does to tasks that others run: cancel a whole tree, retry one that ended.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::turn::Turn;
use super::rows::{self, Stored, columns};
use super::{end, submit};
use crate::error::{Error, Result};
use crate::facts;
use crate::id::{RunId, TaskId};
use crate::task::{Entry, Status, Task};

/// Cancels a task and all that it delegated, parents first; which had not ended before. A damaged row is in nobody's way:
/// its task ends by what the mirror knows of it.
pub(super) fn cancel(turn: &mut Turn<'_>, root: &TaskId, by: &str) -> Done<Result<Vec<TaskId>>> {
    let tree = Tree::of(turn, &root.run())?;
    if !tree.places.contains_key(root) && turn.core.tasks.queue.get(root).is_none() {
        return tree.damage.map_or_else(|| Ok(Err(Error::not_found(format!("task {root}")))), Err);
    }
    let mut cancelled = Vec::new();
    let (mut seen, mut next) = (HashSet::from([root.clone()]), VecDeque::from([root.clone()]));
    while let Some(id) = next.pop_front() {
        let stored = tree.get(&id);
        if let Some(place) = turn.core.tasks.queue.get(&id).cloned() {
            let task = stored.map_or_else(|| end::stand_in(&place, turn.now), |(_, task)| task.clone());
            end::cancelled(turn, &place, &task, by)?;
            cancelled.push(id.clone());
        }
        let mut children = tree.children.get(&id).cloned().unwrap_or_default();
        if let Some((seq, _)) = stored.filter(|(_, task)| task.generation > 1) {
            // What an earlier generation delegated names that one as its parent; this one's log names it too.
            let log = match rows::whole_log(turn.db.conn(), seq) {
                Err(Fault::Damaged { .. }) => Vec::new(),
                read => read?,
            };
            children.extend(log.into_iter().filter_map(|record| match record.entry {
                Entry::Delegated { child, .. } => Some(child),
                _ => None,
            }));
        }
        next.extend(children.into_iter().filter(|child| seen.insert(child.clone())));
    }
    Ok(Ok(cancelled))
}

/// The tasks of one run, as far as they can be read.
struct Tree {
    damage: Option<Fault>,
    tasks: BTreeMap<u64, Task>,
    places: HashMap<TaskId, u64>,
    children: HashMap<TaskId, Vec<TaskId>>,
}

impl Tree {
    fn of(turn: &Turn<'_>, run: &RunId) -> Done<Self> {
        let sql = concat!("SELECT ", columns!(task), " FROM task t WHERE t.run = ?1 ORDER BY t.seq");
        let read = |row: &rusqlite::Row<'_>| match rows::read_task(turn.db.conn(), row, 0) {
            // Whose child it is says the row itself, which is enough to find it among those that are to end.
            Err(damage @ Fault::Damaged { .. }) => Ok(Err((damage, row.get("id"), row.get("parent")))),
            read => read.map(Ok),
        };
        let all = file::all(turn.db.conn(), sql, [run.as_str()], read)?;
        let mut tree = Self { damage: None, tasks: BTreeMap::new(), places: HashMap::new(), children: HashMap::new() };
        for read in all {
            let Stored { seq, task } = match read {
                Ok(stored) => stored,
                Err((damage, id, parent)) => {
                    tree.damage = Some(damage);
                    if let (Some(id), Some(parent)) = (name(id), name(parent)) {
                        tree.children.entry(parent).or_default().push(id);
                    }
                    continue;
                }
            };
            if let Some(parent) = &task.parent {
                tree.children.entry(parent.clone()).or_default().push(task.id.clone());
            }
            tree.places.insert(task.id.clone(), seq);
            tree.tasks.insert(seq, task);
        }
        Ok(tree)
    }

    fn get(&self, id: &TaskId) -> Option<(u64, &Task)> {
        let seq = *self.places.get(id)?;
        Some((seq, self.tasks.get(&seq)?))
    }
}

/// A name in a row of which not all is as written.
fn name(text: rusqlite::Result<Option<String>>) -> Option<TaskId> {
    TaskId::parse(&text.ok()??).ok()
}

/// Puts a task that ended without success into the queue as its next generation; which that is.
pub(in super::super) fn retry(turn: &mut Turn<'_>, id: &TaskId) -> Done<Result<TaskId>> {
    let Some(Stored { seq, task }) = rows::task(turn.db.conn(), id)? else {
        return Ok(Err(Error::not_found(format!("task {id}"))));
    };
    let newest = newest(turn, task.clone())?;
    if newest.id != *id {
        return Ok(Ok(newest.id));
    }
    if rows::outcome(turn.db.conn(), id)?.is_none_or(|ended| ended.outcome.status == Status::Completed) {
        let actual = rows::whole_log(turn.db.conn(), seq)?.len() as u64;
        return Ok(Err(Error::Conflict { key: format!("task {id}").into(), expected: 0, actual }));
    }
    let next = task.next_generation(parent(turn, &task)?.as_ref(), turn.now);
    let bytes = match facts::admit(&next).and_then(|bytes| submit::room(turn, 1, bytes).map(|()| bytes)) {
        Ok(bytes) => bytes,
        Err(refusal) => return Ok(Err(refusal)),
    };
    submit::store(turn, &next, bytes)?;
    Ok(Ok(next.id))
}

/// The newest generation of a task.
fn newest(turn: &Turn<'_>, mut task: Task) -> Done<Task> {
    let parent = parent(turn, &task)?;
    while let Some(next) = rows::task(turn.db.conn(), &task.next_generation(parent.as_ref(), 0).id)? {
        task = next.task;
    }
    Ok(task)
}

/// The newest generation of a task's parent.
fn parent(turn: &Turn<'_>, task: &Task) -> Done<Option<Task>> {
    let Some(parent) = &task.parent else { return Ok(None) };
    let stored = rows::task(turn.db.conn(), parent)?;
    stored.map(|stored| newest(turn, stored.task)).transpose()
}
