//! A run told by its events.

use callboard::broker::event::NewEvent;
use callboard::broker::id::RunId;
use serde_json::json;

use super::*;

fn run() -> RunId {
    RunId::parse("r-1").unwrap()
}

fn root() -> TaskId {
    TaskId::root(&run())
}

fn child(key: &str) -> TaskId {
    TaskId::child(&run(), &root(), key, 1)
}

fn event(kind: &str, task: &TaskId, time: Millis, payload: Value) -> Event {
    let (run, task) = (Some(run()), Some(task.clone()));
    Event::new(1, time, NewEvent { kind: kind.into(), agent: "x".into(), run, task, payload: payload.into() })
}

fn created(rows: &mut Rows, task: &TaskId, capability: &str, parent: Option<&TaskId>) {
    let parent = parent.map(ToString::to_string);
    rows.see(&event(event::TASK_CREATED, task, 100, json!({ "capability": capability, "parent": parent })));
}

fn team() -> Rows {
    let mut rows = Rows::default();
    created(&mut rows, &root(), "executive", None);
    for (key, capability) in [("a", "research.web"), ("b", "research.web"), ("c", "content.writer")] {
        created(&mut rows, &child(key), capability, Some(&root()));
        let started = json!({ "capability": capability, "attempt": 1 });
        assert_eq!(rows.see(&event(event::TASK_STARTED, &child(key), 110, started)), None);
    }
    rows
}

#[test]
fn siblings_of_one_capability_share_a_line_that_tells_the_worst() {
    let mut rows = team();
    let failed = json!({ "attempt": 1, "error": { "message": "no such page" } });
    let line = rows.see(&event(event::TASK_FAILED, &child("a"), 150, failed));
    assert_eq!(line.as_deref(), Some("failed     research.web  50 ms  no such page"));
    rows.see(&event(event::TASK_COMPLETED, &child("b"), 130, json!({ "attempt": 1 })));
    rows.see(&event(event::TASK_STARTED, &child("c"), 140, json!({ "attempt": 2 })));
    let notes = Notes::from([("executive".to_owned(), "1 question".to_owned())]);
    let page = Page { columns: 80, ascii: true };
    assert_eq!(
        rows.tree(page, 200, &notes, 9),
        [
            "executive         waiting   1   100 ms  1 question",
            "|- research.web   failed    2    50 ms  no such page",
            "`- content.writer again 2   1   100 ms",
        ]
    );
}

#[test]
fn the_same_fact_twice_is_told_once() {
    let mut rows = team();
    let done = event(event::TASK_COMPLETED, &child("a"), 150, json!({ "attempt": 1 }));
    assert_eq!(rows.see(&done).as_deref(), Some("completed  research.web  50 ms"));
    assert_eq!(rows.see(&done), None);
}

#[test]
fn every_line_fits_a_narrow_page() {
    let page = Page { columns: 40, ascii: false };
    for line in team().tree(page, 100_000, &Notes::from([("executive".into(), "words ".repeat(30))]), 9) {
        assert!(line.chars().count() <= 40, "{line}");
    }
}

#[test]
fn what_does_not_fit_a_screen_is_counted() {
    let page = Page { columns: 80, ascii: true };
    let lines = team().tree(page, 200, &Notes::new(), 2);
    assert_eq!((lines.len(), lines[1].as_str()), (2, "and 2 more"));
}
