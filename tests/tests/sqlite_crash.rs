//! A process that works on a store is killed, again and again, and what it had acknowledged is looked for.
//!
//! The child says on its stdout what was acknowledged, a line each. After a seeded number of lines it is killed with
//! SIGKILL; what it said until then is read to the end, and the store is opened and asked. `CALLBOARD_CRASH_ROUNDS` and
//! `CALLBOARD_CRASH_SEED` make it longer and different.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use callboard_broker::Broker;
use callboard_broker::event::Event;
use callboard_broker::id::TaskId;
use callboard_broker::sqlite::{self, Options};
use callboard_broker::state::Key;
use callboard_broker::task::Status;
use callboard_broker::tasks::{TaskFilter, TaskView};
use callboard_tests::contract::invariants;
use callboard_tests::random::Random;
use rusqlite::Connection;

/// Lives on one store before a new one is begun.
const LIVES: u64 = 5;

/// What was acknowledged, over all lives on a store.
#[derive(Default)]
struct Said {
    submitted: HashSet<TaskId>,
    ended: HashMap<TaskId, String>,
    /// Ended in an earlier life: must not be begun any more.
    over: HashSet<TaskId>,
    wrote: Vec<(u64, u64)>,
    published: Vec<(u64, String)>,
    wrong: Vec<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap();
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        let task = || TaskId::parse(first).unwrap();
        match verb {
            "submitted" => drop(self.submitted.insert(task())),
            "began" if self.over.contains(&task()) => self.wrong.push(format!("{first} was begun after it had ended")),
            "began" => (),
            "ended" if self.ended.insert(task(), second.into()).is_some() => {
                self.wrong.push(format!("the outcome of {first} was recorded twice"));
            }
            "ended" => (),
            "wrote" => self.wrote.push((first.parse().unwrap(), second.parse().unwrap())),
            "published" => self.published.push((first.parse().unwrap(), second.into())),
            other => panic!("{other}"),
        }
    }

    /// One life of a child, which is killed after so many lines.
    fn live(&mut self, store: &Path, round: &str, manner: &str, lines: u64) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_store_child"))
            .args(["hammer".as_ref(), store.as_os_str(), round.as_ref(), manner.as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut heard = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(heard.next().as_deref(), Some("ready"));
        for line in heard.by_ref().take(lines as usize) {
            self.hear(&line);
        }
        child.kill().unwrap();
        heard.for_each(|line| self.hear(&line));
        child.wait().unwrap();
    }

    /// Everything that the store does not keep of what was said.
    async fn check(&mut self, broker: &Broker, store: &Path) -> Vec<String> {
        let mut wrong = std::mem::take(&mut self.wrong);
        let (tasks, events) = (tasks(broker).await, events(broker).await);
        wrong.extend(invariants::gapless(&events).err());
        wrong.extend(invariants::accounted(&tasks).err());
        wrong.extend(invariants::told(&tasks, &events).err());
        wrong.extend(unsound(store));
        let by_id: HashMap<&TaskId, &TaskView> = tasks.iter().map(|view| (&view.task.id, view)).collect();
        let missing = self.submitted.iter().filter(|id| !by_id.contains_key(id));
        wrong.extend(missing.map(|id| format!("{id} was submitted and is not there")));
        for (id, output) in &self.ended {
            let outcome = by_id.get(id).and_then(|view| view.outcome.as_ref());
            if outcome.is_none_or(|o| o.status != Status::Completed || o.output.json().unwrap() != output) {
                wrong.push(format!("{id} has ended with {output} and has {outcome:?}"));
            }
        }
        let history = broker.states.history(Key::parse("global.count").unwrap()).await.unwrap();
        let kept: HashMap<u64, u64> =
            history.iter().map(|change| (change.version, change.value.as_ref().unwrap().read().unwrap())).collect();
        let lost = self.wrote.iter().filter(|(version, count)| kept.get(version) != Some(count));
        wrong.extend(lost.map(|(version, count)| format!("{count} was written as version {version}")));
        let lost = self.published.iter().filter(|(seq, said)| {
            events.get(*seq as usize - 1).is_none_or(|event| event.payload.json().unwrap() != said)
        });
        wrong.extend(lost.map(|(seq, said)| format!("{said} was published as event {seq}")));
        self.over.extend(self.ended.keys().cloned());
        wrong
    }
}

/// What SQLite and the tables themselves find wrong.
fn unsound(store: &Path) -> Option<String> {
    let conn = Connection::open(store).unwrap();
    let check: String = conn.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
    let sql = "SELECT count(*) FROM task t WHERE (SELECT count(*) FROM queue q WHERE q.seq = t.seq)
               + (SELECT count(*) FROM outcome o WHERE o.seq = t.seq) <> 1";
    let neither: i64 = conn.query_row(sql, [], |row| row.get(0)).unwrap();
    (check != "ok" || neither > 0)
        .then(|| format!("quick_check: {check}; neither queued nor ended, or both: {neither}"))
}

async fn tasks(broker: &Broker) -> Vec<TaskView> {
    let mut all: Vec<TaskView> = Vec::new();
    loop {
        let after = all.last().map(|view| view.seq);
        let page = broker.tasks.list(TaskFilter { after, ..TaskFilter::default() }).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn events(broker: &Broker) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let page = broker.events.read(Default::default(), all.len() as u64 + 1, 1_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn open(store: &Path) -> Broker {
    sqlite::open(store, Options::default()).unwrap()
}

fn rounds() -> u64 {
    std::env::var("CALLBOARD_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_every_kill() {
    let mut random = Random::from_env("CALLBOARD_CRASH_SEED", 7);
    let folder = tempfile::tempdir().unwrap();
    let (mut said, mut submitted, mut ended) = (Said::default(), 0, 0);
    for round in 0..rounds() {
        let store = folder.path().join(format!("{}.db", round / LIVES));
        if round % LIVES == 0 {
            said = Said::default();
        }
        let before = (said.submitted.len(), said.ended.len());
        said.live(&store, &round.to_string(), "honest", 20 + random.below(600));
        submitted += said.submitted.len() - before.0;
        ended += said.ended.len() - before.1;
        let wrong = said.check(&open(&store), &store).await;
        assert!(wrong.is_empty(), "round {round}: {wrong:#?}");
    }
    println!("{} rounds, {submitted} submissions and {ended} outcomes acknowledged, none lost", rounds());
    assert!(submitted as u64 > rounds() * 10 && ended as u64 > rounds() * 10, "too little was done to prove anything");
}

/// The negative control: a store that answers before it commits has to be caught.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_answers_before_it_commits_is_caught() {
    let mut random = Random::from_env("CALLBOARD_CRASH_SEED", 7);
    let folder = tempfile::tempdir().unwrap();
    for round in 0..40 {
        let store = folder.path().join(format!("{round}.db"));
        let mut said = Said::default();
        said.live(&store, "1", "liar", 20 + random.below(200));
        if !said.check(&open(&store), &store).await.is_empty() {
            println!("caught in round {round}");
            return;
        }
    }
    panic!("a lie was believed 40 times");
}

/// A store of a process that was killed, with its file and its log, which has all that was ever written.
fn killed(folder: &Path, random: &mut Random) -> (PathBuf, Vec<u8>, Vec<u8>) {
    for n in 0..100 {
        let store = folder.join(format!("{n}.db"));
        if store.exists() {
            continue;
        }
        Said::default().live(&store, "1", "honest", 50 + random.below(250));
        let (file, log) = (std::fs::read(&store).unwrap(), std::fs::read(beside(&store)).unwrap());
        // A log from which pages were already copied into the file is not cut off from it in any real accident. The child
        // comes so far when this process is kept waiting for a while.
        if log.len() < 1_000 * 4_096 {
            return (store, file, log);
        }
    }
    panic!("each of 100 times a checkpoint may have run");
}

/// The log of a killed store is cut at any byte, or has a bit flipped: what is left is the store as it was at some commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_or_flipped_log_leaves_a_clean_prefix() {
    let mut random = Random::from_env("CALLBOARD_CRASH_SEED", 7);
    let folder = tempfile::tempdir().unwrap();
    let mut shorter = 0;
    for round in 0..6 {
        let (store, file, log) = killed(folder.path(), &mut random);
        let whole = open(&store);
        let (all_tasks, all_events) = (tasks(&whole).await, events(&whole).await);
        for n in 0..12 {
            let copy = folder.path().join(format!("{round}-{n}.db"));
            let mut log = log.clone();
            let at = random.below(log.len() as u64) as usize;
            if n % 2 == 0 {
                log.truncate(at);
            } else {
                log[at] ^= 1 << random.below(8);
            }
            std::fs::write(&copy, &file).unwrap();
            std::fs::write(beside(&copy), log).unwrap();
            let broker = open(&copy);
            let (tasks, events) = (tasks(&broker).await, events(&broker).await);
            assert_eq!(unsound(&copy), None, "copy {n} of round {round}, damaged at {at}");
            invariants::accounted(&tasks).unwrap();
            invariants::told(&tasks, &events).unwrap();
            assert!(events.len() <= all_events.len() && events[..] == all_events[..events.len()], "not a prefix");
            assert!(tasks.iter().zip(&all_tasks).all(|(a, b)| a.task == b.task), "not a prefix");
            shorter += usize::from(events.len() < all_events.len());
        }
    }
    assert!(shorter > 20, "most of 72 copies have to have lost something, or nothing was damaged: {shorter}");
}

fn beside(store: &Path) -> PathBuf {
    store.with_extension("db-wal")
}
