//! Two users of one store. The lock is per open file, so two of them in one process behave like two processes.

use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use super::{claim, code_of, finish, store, task, write};
use crate::code;
use crate::error::Error;
use crate::event::NewEvent;
use crate::events::EventFilter;
use crate::state::{Expect, Key, Put, Write};
use crate::task::Status;
use crate::tasks::{Claim, Submitted, Until};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_visitor_writes_through_the_owner_and_reads_beside_him() {
    let (_dir, path) = store();
    let owner = open(&path, Options::default()).unwrap();
    let attached = attach(&path, Options::default()).unwrap();
    assert_eq!(attached.owner().unwrap().unwrap().pid, std::process::id());
    let visitor = attached.broker();
    let (first, second) = (task("r1"), task("r2"));
    let submitted = visitor.tasks.submit(vec![first.clone(), first.clone(), second.clone()]).await;
    assert!(matches!(submitted[..], [Ok(Submitted::New), Ok(Submitted::Known), Ok(Submitted::New)]));
    let mut other = first.clone();
    other.input = serde_json::json!({ "text": "another" }).into();
    assert!(matches!(visitor.tasks.submit(vec![other]).await[..], [Err(Error::Diverged { .. })]));

    let waiting = tokio::spawn({
        let (visitor, id) = (visitor.clone(), first.id.clone());
        async move { visitor.tasks.wait(vec![id], Until::All, SOON).await }
    });
    finish(&owner, &first).await;
    assert_eq!(waiting.await.unwrap().unwrap()[0].status, Status::Completed);
    assert_eq!(visitor.tasks.cancel(second.id.clone(), "me".into()).await.unwrap(), std::slice::from_ref(&second.id));
    let retried = visitor.tasks.retry(second.id.clone()).await.unwrap();
    let view = visitor.tasks.get(vec![retried]).await.unwrap().remove(0).unwrap();
    assert_eq!((view.status, view.task.retry_of), (Status::Pending, Some(second.id)));
    assert!(matches!(visitor.tasks.retry(first.id).await, Err(Error::Conflict { .. })));
    assert!(matches!(visitor.tasks.claim(Claim { wait: SOON, ..claim(1) }).await, Err(Error::Denied { .. })));
}

#[tokio::test]
async fn a_visitor_sees_what_changes_while_it_changes() {
    let (_dir, path) = store();
    let owner = open(&path, Options::default()).unwrap();
    let visitor = attach(&path, Options::default()).unwrap().broker();
    owner.states.put(vec![write("global.a", 1)]).await.remove(0).unwrap();
    let mut watch = visitor.states.watch("global".into()).await.unwrap();
    let mut follow = visitor.events.follow(EventFilter::default(), 1).await.unwrap();
    assert_eq!(watch.next().await.unwrap().version, 1);
    assert_eq!(follow.next().await.unwrap().seq, 1);
    owner.states.put(vec![write("global.b", 2)]).await.remove(0).unwrap();
    let seen = tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap();
    assert_eq!((seen.key.as_str(), seen.version), ("global.b", 2));
    assert_eq!(tokio::time::timeout(SOON, follow.next()).await.unwrap().unwrap().seq, 2);
}

#[tokio::test]
async fn state_from_outside_is_compared_and_null_is_a_value() {
    let (_dir, path) = store();
    let _owner = open(&path, Options::default()).unwrap();
    let visitor = attach(&path, Options::default()).unwrap().broker();
    let key = Key::parse("global.x").unwrap();
    let null = Write { value: Some(crate::payload::Payload::null()), ..write("global.x", 0) };
    let delete = Write { value: None, expect: Expect::Version(1), ..write("global.x", 0) };
    let stale = Write { expect: Expect::Version(7), ..write("global.x", 5) };
    assert!(matches!(visitor.states.put(vec![null]).await[..], [Ok(Put::Applied(1))]));
    let entry = visitor.states.get(vec![key.clone()]).await.unwrap().remove(0).unwrap();
    assert_eq!(entry.value.json().unwrap(), "null");
    let answers = visitor.states.put(vec![stale, delete]).await;
    assert!(matches!(&answers[..], [Ok(Put::Conflict(Some(current))), Ok(Put::Applied(2))] if current.version == 1));
    assert_eq!(visitor.states.get(vec![key]).await.unwrap(), [None]);
}

#[tokio::test]
async fn without_an_owner_a_visitor_owns_for_one_write() {
    let (_dir, path) = store();
    let attached = attach(&path, Options::default()).unwrap();
    let visitor = attached.broker();
    assert_eq!(attached.owner().unwrap(), None);
    let first = task("r1");
    assert!(matches!(visitor.tasks.submit(vec![first.clone()]).await[..], [Ok(Submitted::New)]));
    let fact = NewEvent {
        kind: "shop.paid".into(),
        agent: "me".into(),
        run: None,
        task: None,
        payload: serde_json::json!({}).into(),
    };
    assert!(matches!(visitor.events.publish(vec![fact]).await[..], [Ok(2)]));
    assert!(matches!(attached.ask("tree", serde_json::Value::Null).await, Err(Error::NotFound { .. })));
    let owner = attached.own().unwrap();
    finish(&owner, &first).await;
    assert_eq!(code_of(attached.own()), code::OWNED);
}

/// An owner goes while visitors keep writing; the next one takes over, and nothing that was acknowledged is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_owner_who_goes_is_replaced_at_once() {
    let (_dir, path) = store();
    let mut owner = open(&path, Options::default()).unwrap();
    let visitor = attach(&path, Options::default()).unwrap().broker();
    let writing = tokio::spawn(async move {
        let mut stored = Vec::new();
        for n in 0..60 {
            let new = task(&format!("r{n}"));
            visitor.tasks.submit(vec![new.clone()]).await.remove(0).unwrap();
            stored.push(new.id);
        }
        stored
    });
    for _ in 0..5 {
        drop(owner);
        owner = loop {
            match open(&path, Options::default()) {
                Ok(owner) => break owner,
                Err(error) => assert_eq!(error.code(), code::OWNED),
            }
            tokio::task::yield_now().await;
        };
    }
    let stored = writing.await.unwrap();
    let found = owner.tasks.get(stored).await.unwrap();
    assert!(found.iter().all(|view| view.as_ref().is_some_and(|view| view.status == Status::Pending)));
}

#[tokio::test]
async fn a_verb_of_the_node_is_answered_by_the_node() {
    let (_dir, path) = store();
    let verbs = Verbs::default();
    let _owner = open(&path, Options { verbs: verbs.clone(), ..Options::default() }).unwrap();
    let attached = attach(&path, Options::default()).unwrap();
    assert!(matches!(attached.ask("tree", serde_json::Value::Null).await, Err(Error::NotFound { .. })));
    verbs.set(Arc::new(|verb, body| {
        Box::pin(async move {
            match verb.as_str() {
                "tree" => Ok(serde_json::json!({ "tree": body })),
                _ => Err(Error::not_found(format!("verb \"{verb}\""))),
            }
        })
    }));
    assert_eq!(attached.ask("tree", 7.into()).await.unwrap(), serde_json::json!({ "tree": 7 }));
    assert!(matches!(attached.ask("no", 7.into()).await, Err(Error::NotFound { .. })));
    verbs.clear();
    assert!(attached.ask("tree", 7.into()).await.is_err());
}

#[tokio::test]
async fn the_door_is_private_bounded_and_leaves_nothing_behind() {
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_dir, path) = store();
    let owner = open(&path, Options::default()).unwrap();
    let attached = attach(&path, Options::default()).unwrap();
    let socket = attached.owner().unwrap().unwrap().socket.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    stream.write_all(b"{\"retry\":\"r1\"}\nnot json\n").await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    let lines: Vec<&str> = answers.lines().collect();
    assert!(lines[0].contains("not_found") && lines[1].contains("not understood"), "{answers}");
    drop(owner);
    tokio::time::timeout(SOON, async {
        while socket.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
