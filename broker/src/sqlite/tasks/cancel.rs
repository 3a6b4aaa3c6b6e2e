//! What an operator or a parent does to tasks that others run: cancel a whole tree, retry one that ended.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::super::fault::Done;
use super::super::file;
use super::super::turn::Turn;
use super::rows::{self, Stored, columns};
use super::{end, submit};
use crate::error::{Error, Result};
use crate::facts;
use crate::id::{RunId, TaskId};
use crate::task::{Entry, Status, Task};

/// Cancels a task and all that it delegated, parents first; which had not ended before.
pub(super) fn cancel(turn: &mut Turn<'_>, root: &TaskId, by: &str) -> Done<Result<Vec<TaskId>>> {
    let tree = Tree::of(turn, &root.run())?;
    if !tree.places.contains_key(root) {
        return Ok(Err(Error::not_found(format!("task {root}"))));
    }
    let mut cancelled = Vec::new();
    let (mut seen, mut next) = (HashSet::from([root.clone()]), VecDeque::from([root.clone()]));
    while let Some(id) = next.pop_front() {
        let Some((seq, task)) = tree.get(&id) else { continue };
        if let Some(place) = turn.core.tasks.queue.get(&id).cloned() {
            end::cancelled(turn, &place, task, by)?;
            cancelled.push(id.clone());
        }
        let mut children = tree.children.get(&id).cloned().unwrap_or_default();
        if task.generation > 1 {
            // What an earlier generation delegated names that one as its parent; this one's log names it too.
            children.extend(rows::whole_log(turn.db.conn(), seq)?.into_iter().filter_map(
                |record| match record.entry {
                    Entry::Delegated { child, .. } => Some(child),
                    _ => None,
                },
            ));
        }
        next.extend(children.into_iter().filter(|child| seen.insert(child.clone())));
    }
    Ok(Ok(cancelled))
}

/// The tasks of one run.
struct Tree {
    tasks: BTreeMap<u64, Task>,
    places: HashMap<TaskId, u64>,
    children: HashMap<TaskId, Vec<TaskId>>,
}

impl Tree {
    fn of(turn: &Turn<'_>, run: &RunId) -> Done<Self> {
        let sql = concat!("SELECT ", columns!(task), " FROM task t WHERE t.run = ?1 ORDER BY t.seq");
        let all = file::all(turn.db.conn(), sql, [run.as_str()], |row| rows::read_task(turn.db.conn(), row, 0))?;
        let mut tree = Self { tasks: BTreeMap::new(), places: HashMap::new(), children: HashMap::new() };
        for Stored { seq, task } in all {
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
