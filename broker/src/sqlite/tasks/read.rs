//! Reading tasks beside the writer: views, pages, logs, depths.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::super::fault::{Done, Fault};
use super::super::file;
use super::super::sum::{int, nat};
use super::rows::{self, Stored, columns};
use crate::clock::Millis;
use crate::id::TaskId;
use crate::queue::ASIDE;
use crate::subject::CapabilityName;
use crate::task::{Outcome, Status};
use crate::tasks::{Depth, MAX_PAGE, TaskFilter, TaskView};

/// A task with where it stands and how it ended.
macro_rules! select_views {
    () => {
        concat!(
            "SELECT ",
            columns!(task),
            ", ",
            columns!(queue),
            ", ",
            columns!(outcome),
            " FROM task t LEFT JOIN queue q ON q.seq = t.seq LEFT JOIN outcome o ON o.seq = t.seq "
        )
    };
}

fn read_view(conn: &Connection, row: &Row<'_>, now: Millis) -> Done<TaskView> {
    let Stored { seq, task } = rows::read_task(conn, row, 0)?;
    let (queued, ended) = (rows::read_queued(row, 7)?, rows::read_outcome(conn, row, 16)?);
    let held = queued.as_ref().and_then(|queued| queued.held.clone());
    let status = match (&ended, &queued, &held) {
        (Some(ended), ..) => ended.outcome.status,
        (None, Some(_), Some(_)) => Status::InProgress,
        (None, Some(_), None) => Status::Pending,
        // Every task stands somewhere until it has ended.
        (None, None, _) => return Err(Fault::damaged("queue", seq)),
    };
    let attempt = match (&queued, &ended) {
        (Some(queued), _) => queued.attempts(),
        (None, Some(ended)) => ended.attempts,
        (None, None) => 0,
    };
    let idle = queued.filter(|_| held.is_none()).map(|queued| queued.not_before);
    let parked = idle == Some(ASIDE);
    let not_before = idle.filter(|at| *at > now && !parked);
    let (node, started_at) = held.map(|(_, node, since)| (node, since)).unzip();
    let outcome = ended.map(|ended| ended.outcome);
    Ok(TaskView { task, seq, status, attempt, node, started_at, not_before, parked, outcome })
}

/// One task.
pub(super) fn view(conn: &Connection, id: &TaskId, now: Millis) -> Done<Option<TaskView>> {
    let sql = concat!(select_views!(), "WHERE t.id = ?1");
    file::one(conn, sql, [id.as_str()], |row| read_view(conn, row, now))
}

/// One page.
pub(super) fn page(conn: &Connection, filter: &TaskFilter, now: Millis) -> Done<Vec<TaskView>> {
    let (mut sql, mut values) = (String::from(select_views!()), Vec::<Value>::new());
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(if values.len() == 1 { "WHERE " } else { "AND " });
        sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
        sql.push(' ');
    };
    let parent = filter.parent.as_ref();
    // A child belongs to the run of its parent, and a run has an index.
    if let Some(run) = filter.run.clone().or_else(|| parent.map(TaskId::run)) {
        add("t.run = ?", Value::Text(run.to_string()));
    }
    if let Some(parent) = parent {
        add("t.parent = ?", Value::Text(parent.to_string()));
    }
    if let Some(capability) = &filter.capability {
        add("t.capability = ?", Value::Text(capability.to_string()));
    }
    if filter.roots {
        add("t.parent IS NULL AND ?", Value::Integer(1));
    }
    if let Some(suffix) = &filter.suffix {
        add("substr(t.id, -length(?)) = ?", Value::Text(suffix.clone()));
    }
    if let Some(after) = filter.after {
        let beyond = if filter.newest_first { "t.seq < ?" } else { "t.seq > ?" };
        add(beyond, Value::Integer(int(after)));
    }
    if !filter.status.is_empty() {
        let words: Vec<&str> = filter.status.iter().map(|status| status.as_str()).collect();
        let stands = "coalesce(o.status, iif(q.node IS NULL, 'pending', 'in_progress'))";
        add(&format!("instr(?, '|' || {stands} || '|') > 0"), Value::Text(format!("|{}|", words.join("|"))));
    }
    let limit = if filter.limit == 0 { MAX_PAGE } else { filter.limit.min(MAX_PAGE) };
    let order = if filter.newest_first { "DESC" } else { "ASC" };
    sql.push_str(&format!("ORDER BY t.seq {order} LIMIT {limit}"));
    file::all(conn, &sql, params_from_iter(values), |row| read_view(conn, row, now))
}

/// The outcomes that are there.
pub(in super::super) fn outcomes(conn: &Connection, tasks: &[TaskId]) -> Done<Vec<Outcome>> {
    let mut found = Vec::new();
    for task in tasks {
        found.extend(rows::outcome(conn, task)?.map(|ended| ended.outcome));
    }
    Ok(found)
}

/// How much waits for each capability, by name.
pub(super) fn depth(conn: &Connection) -> Done<Vec<(CapabilityName, Depth)>> {
    // What is laid aside stands in no queue.
    let sql = "SELECT t.capability, q.node IS NOT NULL, count(*) FROM queue q JOIN task t ON t.seq = q.seq
               WHERE q.not_before < ?1 GROUP BY 1, 2";
    let mut depths = BTreeMap::<CapabilityName, Depth>::new();
    file::all(conn, sql, [int(ASIDE)], |row| {
        let name: String = row.get(0)?;
        let name = CapabilityName::parse(&name).map_err(|_| Fault::damaged("task", &name))?;
        let depth = depths.entry(name).or_default();
        let count = nat(row.get(2)?);
        match row.get(1)? {
            true => depth.in_progress = count,
            false => depth.pending = count,
        }
        Ok(())
    })?;
    Ok(depths.into_iter().collect())
}
