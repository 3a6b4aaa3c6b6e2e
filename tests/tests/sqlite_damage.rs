//! Bits of the file flip, and files of earlier versions come back.
//!
//! SQLite does not notice a flipped bit. Every row carries a checksum, so whatever can still be read has to be what was
//! written; the rest has to be refused.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use callboard_broker::dead_letter::DeadLetter;
use callboard_broker::error::Result;
use callboard_broker::event::Event;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::sqlite::{self, Options};
use callboard_broker::state::{Author, Change, Expect, Key, Moment, StateEntry, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Record, Status, Task};
use callboard_broker::tasks::{Claim, Finish, TaskFilter, TaskView};
use callboard_broker::{Broker, code};
use callboard_tests::random::Random;
use callboard_tests::script;
use serde_json::json;

/// The version that this program writes.
const VERSION: u32 = 3;

/// Everything that can be read of a store, thing by thing.
#[derive(Default)]
struct Contents {
    tasks: HashMap<TaskId, Task>,
    views: HashMap<TaskId, TaskView>,
    logs: HashMap<TaskId, Vec<Record>>,
    events: HashMap<u64, Event>,
    entries: HashMap<Key, StateEntry>,
    past: Vec<StateEntry>,
    history: Vec<Change>,
    dead: HashMap<u64, DeadLetter>,
    /// How many questions were refused.
    refused: usize,
}

impl Contents {
    fn take<T: Default>(&mut self, answer: Result<T>) -> T {
        answer.unwrap_or_else(|_| {
            self.refused += 1;
            T::default()
        })
    }

    /// Asks for everything by name, as it was before, and for whatever else is there.
    async fn of(broker: &Broker, known: &[TaskId]) -> Self {
        let (mut all, key) = (Self::default(), Key::parse("global.count").unwrap());
        for id in known {
            let view = all.take(broker.tasks.get(vec![id.clone()]).await).pop().flatten();
            all.views.extend(view.map(|view| (id.clone(), view)));
            let log = broker.tasks.log(id.clone()).await;
            let log = all.take(log);
            all.logs.insert(id.clone(), log);
        }
        let listed = broker.tasks.list(TaskFilter::default()).await;
        let listed = all.take(listed);
        all.tasks.extend(listed.into_iter().map(|view| (view.task.id.clone(), view.task)));
        for n in 1..200 {
            let page = broker.events.read(Default::default(), n, 1).await;
            let page = all.take(page);
            all.events.extend(page.into_iter().map(|event| (event.seq, event)));
        }
        for n in 1..9 {
            let letter = broker.dead.get(n).await;
            let letter = all.take(letter);
            all.dead.extend(letter.map(|letter| (n, letter)));
        }
        let entries = broker.states.list(String::new()).await;
        all.entries = all.take(entries).into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        all.past = {
            let past = broker.states.at(Moment::Sequence(3), String::new()).await;
            all.take(past)
        };
        all.history = {
            let history = broker.states.history(key).await;
            all.take(history)
        };
        all
    }

    /// What was read and is not as it was written. What is missing is missing; what is there has to be true.
    fn lies(&self, written: &Self) -> Vec<String> {
        fn other<K: Hash + Eq + Debug, V: PartialEq + Debug>(
            read: &HashMap<K, V>,
            written: &HashMap<K, V>,
        ) -> Vec<String> {
            let lies = read.iter().filter(|(key, value)| written.get(key) != Some(value));
            lies.map(|(key, value)| format!("{key:?} is {value:?} and was {:?}", written.get(key))).collect()
        }
        let logs = self.logs.iter().filter(|(id, log)| !log.is_empty() && written.logs.get(id) != Some(log));
        let mut lies: Vec<String> = logs.map(|(id, log)| format!("the log of {id} is {log:?}")).collect();
        let past = self.past.iter().filter(|entry| !written.past.contains(entry));
        lies.extend(past.map(|entry| format!("then there was {entry:?}")));
        let history = self.history.iter().filter(|change| !written.history.contains(change));
        lies.extend(history.map(|change| format!("there was {change:?}")));
        lies.extend(other(&self.tasks, &written.tasks));
        lies.extend(other(&self.views, &written.views));
        lies.extend(other(&self.events, &written.events));
        lies.extend(other(&self.entries, &written.entries));
        lies.extend(other(&self.dead, &written.dead));
        lies
    }
}

/// A conversation that grows, as inputs, steps, results and state: values in pieces, most of which they have in common.
async fn converse(broker: &Broker) {
    let message = |n: u32| json!({ "role": "tool", "content": format!("message {n} ").repeat(300) });
    for length in 3..6 {
        let talk = Payload::of(json!((0..length).map(message).collect::<Vec<_>>()));
        let (run, echo) = (RunId::parse(&format!("talk-{length}")).unwrap(), CapabilityName::parse("talk").unwrap());
        let task = Task::root(run, echo.clone(), talk.clone(), broker.clock.now());
        // Without a record, and with one.
        let author = Author { task: task.id.clone(), attempt: 1, record: (length - 3).into() };
        broker.tasks.submit(vec![task]).await.remove(0).unwrap();
        let (key, by) = (Key::parse("global.talk").unwrap(), "n".to_owned());
        let write = Write { key, expect: Expect::Any, value: Some(talk.clone()), by, task: Some(author) };
        broker.states.put(vec![write]).await.remove(0).unwrap();
        let (node, wait) = (NodeName::parse("n").unwrap(), std::time::Duration::ZERO);
        let claim = Claim { capability: echo, slots: 1, bulk: 1, node, wait, declined: Vec::new(), serving: None };
        // It was done before, when this is done again.
        let Some(lease) = broker.tasks.claim(claim).await.unwrap().pop() else { continue };
        let step = Entry::Step { name: "talk".into(), value: talk.clone(), input: None };
        let fence = broker.tasks.append(lease.fence, vec![step], Vec::new()).await.unwrap();
        let ended = Outcome::of(&lease.task, Status::Completed, None, broker.clock.now());
        let finish = Finish { fence, entries: Vec::new(), outcome: Outcome { output: talk, ..ended }, dead: None };
        broker.tasks.finish(vec![finish]).await.remove(0).unwrap();
    }
}

fn open(store: &Path) -> Result<Broker> {
    sqlite::open(store, Options { snapshot_every: 2, ..Options::default() })
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_harmless_and_never_believed() {
    let mut random = Random::from_env("CALLBOARD_FLIP_SEED", 7);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let broker = open(&store).unwrap();
    script::run(&broker).await;
    converse(&broker).await;
    let ids: Vec<TaskId> =
        broker.tasks.list(TaskFilter::default()).await.unwrap().into_iter().map(|view| view.task.id).collect();
    let written = Contents::of(&broker, &ids).await;
    assert!(
        written.refused == 0 && written.events.len() > 30 && written.history.len() >= 5 && !written.past.is_empty()
    );

    // The control: one value that differs is seen.
    let mut other = Contents::of(&broker, &ids).await;
    other.history[2].at += 1;
    assert_eq!(other.lies(&written).len(), 1);
    drop(broker);
    let file = std::fs::read(&store).unwrap();

    let (mut refused, mut harmless, mut closed) = (0, 0, 0);
    let flips = std::env::var("CALLBOARD_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    for n in 0..flips {
        let copy = folder.path().join(format!("{n}.db"));
        let at = random.below(file.len() as u64) as usize;
        let mut file = file.clone();
        file[at] ^= 1 << random.below(8);
        std::fs::write(&copy, &file).unwrap();
        match open(&copy) {
            Err(error) => {
                assert!(error.code().starts_with("CB02") || error.code() == code::UNREACHABLE, "{error}");
                closed += 1;
            }
            Ok(broker) => {
                let read = Contents::of(&broker, &ids).await;
                assert_eq!(read.lies(&written), [""; 0], "flip {n} at {at} was believed");
                if read.refused > 0 { refused += 1 } else { harmless += 1 }
            }
        }
        std::fs::remove_file(&copy).unwrap();
    }
    println!(
        "of {flips} flips {closed} kept the store closed, {refused} were refused where they were read, {harmless} hit nothing"
    );
    assert!(closed + refused > flips / 20, "flips that hit nothing prove nothing");
}

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/store-v{version}.db"))
}

/// A store that an earlier version wrote: it must open, say the same, and go on, for as long as there are later versions.
#[tokio::test]
async fn a_store_of_every_version_still_opens() {
    for version in 1..=VERSION {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        std::fs::copy(golden(version), &store).unwrap();
        // Whoever only reads it finds it as it is.
        assert_eq!(sqlite::verify(&store).await.unwrap().findings, [""; 0], "version {version}");
        let broker = open(&store).unwrap();
        let state = script::end_state(&broker).await;
        let text: String = state.iter().map(|(what, how)| format!("{what}: {how}\n")).collect();
        assert_eq!(text, std::fs::read_to_string(golden(version).with_extension("txt")).unwrap(), "version {version}");
        script::run(&broker).await;
        assert_eq!(script::end_state(&broker).await, state, "everything was done already, version {version}");
        // Whatever wrote it, large values go into pieces from now on.
        converse(&broker).await;
        drop(broker);
        let checked = sqlite::verify(&store).await.unwrap();
        assert_eq!(checked.findings, [""; 0], "version {version}");
    }
}

/// Writes the golden store of this version. Run by hand, once for each version, and never again.
#[tokio::test]
#[ignore = "writes a golden file"]
async fn write_golden() {
    let broker = sqlite::open(golden(VERSION), Options { snapshot_every: 2, ..Options::default() }).unwrap();
    script::run(&broker).await;
    converse(&broker).await;
    let state = script::end_state(&broker).await;
    let text: String = state.iter().map(|(what, how)| format!("{what}: {how}\n")).collect();
    std::fs::write(golden(VERSION).with_extension("txt"), text).unwrap();
}
