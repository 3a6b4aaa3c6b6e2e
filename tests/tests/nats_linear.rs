//! Whether shared state on a server is linearizable while the server is killed.
//!
//! Eight clients read and compare-and-set sixteen keys, the server is killed and restarted twice in the middle, and half
//! of the clients lose the answers to what they sent, with their connection, again and again. Every call is noted with
//! its place in time; then a checker looks for an order of all calls on a key that explains every answer. A write whose
//! answer was lost for good stays open to the end: it may have happened at any time since, or never. The control reports
//! plain writes as compared ones, which has to be found.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use callboard_broker::clock::Clock;
use callboard_broker::id::NodeName;
use callboard_broker::nats::{Layout, Link, Options, Seen, provision, state::StateRoom};
use callboard_broker::state::{Expect, Key, Put, States, Write};
use callboard_tests::nats::{Direction, Proxy, Server};
use callboard_tests::random::Random;
use serde_json::json;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

const CLIENTS: usize = 8;
const KEYS: usize = 16;
/// Calls of all clients together.
const CALLS: usize = 6_000;
/// How often something goes wrong; the server is killed at a third and at two thirds of it, otherwise answers are lost.
const FAULTS: usize = 30;
/// Calls of the others while answers are lost.
const LOST: usize = 20;

/// What a client did and heard.
#[derive(Clone, Debug)]
enum Call {
    /// The number that was there; none: nothing.
    Read(Option<u64>),
    /// From what was expected to a number that no other call writes.
    Swap { from: Option<u64>, to: u64, heard: Heard },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Heard {
    Applied,
    /// The number that was there instead.
    Conflict(Option<u64>),
    Unknown,
}

/// A register that is empty at first. A swap whose answer was lost happens where it fits; one that never happened fits at
/// the end, after everything that was answered.
struct Register;

impl Specification for Register {
    type State = Option<u64>;
    type Operation = Call;

    fn init() -> Self::State {
        None
    }

    fn apply(call: &Call, state: &Self::State) -> (bool, Self::State) {
        match call {
            Call::Read(number) => (number == state, *state),
            Call::Swap { from, to, heard: Heard::Applied } => (from == state, Some(*to)),
            Call::Swap { from, heard: Heard::Conflict(there), .. } => (there == state && from != state, *state),
            Call::Swap { from, to, heard: Heard::Unknown } => (true, if from == state { Some(*to) } else { *state }),
        }
    }
}

/// The calls on one key, in the order of their beginnings and ends.
type Notes = Mutex<Vec<(usize, Action<Call>)>>;

#[derive(Default)]
struct Tally {
    reads: AtomicUsize,
    applied: AtomicUsize,
    conflicts: AtomicUsize,
    unknown: AtomicUsize,
    /// Answers that say that nothing happened.
    failed: AtomicUsize,
}

struct Round {
    server: Server,
    notes: Vec<Notes>,
    tally: Tally,
    done: AtomicUsize,
    numbers: AtomicUsize,
    /// Every process in a history answers before it calls again, so a call without an answer uses its number up.
    names: AtomicUsize,
    honest: bool,
}

fn count(of: &AtomicUsize) -> usize {
    of.fetch_add(1, Ordering::Relaxed)
}

impl Round {
    fn new(honest: bool) -> Arc<Self> {
        Arc::new(Self {
            server: Server::start(),
            notes: (0..KEYS).map(|_| Notes::default()).collect(),
            tally: Tally::default(),
            done: AtomicUsize::new(0),
            numbers: AtomicUsize::new(1),
            names: AtomicUsize::new(0),
            honest,
        })
    }

    fn note(&self, key: usize, name: usize, action: Action<Call>) {
        self.notes[key].lock().unwrap().push((name, action));
    }

    async fn client(self: Arc<Self>, room: StateRoom, mut random: Random) {
        let mut name = count(&self.names);
        // What this client last saw at each key: its number and version.
        let mut seen: Vec<(Option<u64>, u64)> = vec![(None, 0); KEYS];
        while count(&self.done) < CALLS {
            let n = random.below(KEYS as u64) as usize;
            let key = Key::parse(&format!("global.k{n}")).unwrap();
            if random.below(3) == 0 {
                self.note(n, name, Action::Call(Call::Read(None)));
                match room.get(vec![key]).await {
                    Ok(found) => {
                        let found = found.into_iter().next().flatten();
                        let version = found.as_ref().map_or(0, |entry| entry.version);
                        let number = found.map(|entry| entry.value.read().unwrap());
                        seen[n] = (number, version);
                        self.note(n, name, Action::Response(Call::Read(number)));
                        count(&self.tally.reads);
                    }
                    // It changed nothing and says nothing.
                    Err(_) => self.forget(n, name),
                }
                continue;
            }
            let ((from, version), to) = (seen[n], count(&self.numbers) as u64);
            let expect = if self.honest { Expect::Version(version) } else { Expect::Any };
            self.note(n, name, Action::Call(Call::Swap { from, to, heard: Heard::Unknown }));
            let write = Write { key, expect, value: Some(json!(to).into()), by: "c".into(), task: None };
            let heard = match room.put(vec![write]).await.remove(0) {
                Ok(Put::Applied(version)) => {
                    seen[n] = (Some(to), version);
                    count(&self.tally.applied);
                    Heard::Applied
                }
                Ok(Put::Conflict(there)) => {
                    let number = there.as_ref().map(|entry| entry.value.read().unwrap());
                    seen[n] = (number, there.map_or(0, |entry| entry.version));
                    count(&self.tally.conflicts);
                    Heard::Conflict(number)
                }
                Ok(Put::Unknown) => {
                    count(&self.tally.unknown);
                    // Open to the end: another name goes on.
                    name = count(&self.names);
                    continue;
                }
                Err(_) => {
                    self.forget(n, name);
                    continue;
                }
            };
            self.note(n, name, Action::Response(Call::Swap { from, to, heard }));
        }
    }

    /// Takes a call back that came to nothing.
    fn forget(&self, key: usize, name: usize) {
        count(&self.tally.failed);
        let mut notes = self.notes[key].lock().unwrap();
        let at = notes.iter().rposition(|(by, _)| *by == name).expect("it was called");
        notes.remove(at);
    }

    /// Waits for so many calls.
    async fn until(&self, calls: usize) {
        while self.done.load(Ordering::Relaxed) < calls {
            tokio::task::yield_now().await;
        }
    }

    async fn run(self: &Arc<Self>, seed: u64) {
        let proxy = Proxy::to(&self.server.address());
        let setup = connect(self.server.url()).await;
        provision::provision(&setup, &Layout::default()).await.unwrap();
        let seeded = Random::from_env("CALLBOARD_LINEAR_SEED", seed);
        let mut clients = Vec::new();
        for n in 0..CLIENTS {
            let url = if n % 2 == 0 { self.server.url() } else { proxy.url() };
            let room = StateRoom::new(connect(url).await, Arc::new(Seen::default()));
            let mut random = seeded.clone();
            for _ in 0..n * CALLS {
                random.next_u64();
            }
            clients.push(tokio::spawn(self.clone().client(room, random)));
        }
        for fault in 1..FAULTS {
            self.until(fault * CALLS / FAULTS).await;
            if fault % (FAULTS / 3) == 0 {
                self.server.kill();
                self.server.restart();
            } else {
                proxy.cut_one_way(Direction::Down);
                self.until(fault * CALLS / FAULTS + LOST).await;
                proxy.disconnect();
                proxy.heal();
            }
        }
        for client in clients {
            client.await.unwrap();
        }
    }

    /// The keys whose calls no order explains.
    fn violated(&self) -> Vec<usize> {
        (0..KEYS).filter(|key| !WGLChecker::<Register>::is_linearizable(self.history(*key))).collect()
    }

    /// The calls on a key, those without an answer closed at the end.
    fn history(&self, key: usize) -> History<Call> {
        let mut notes = self.notes[key].lock().unwrap().clone();
        let mut open: Vec<(usize, Call)> = Vec::new();
        for (name, action) in &notes {
            match action {
                Action::Call(call) => open.push((*name, call.clone())),
                Action::Response(_) => open.retain(|(by, _)| by != name),
            }
        }
        notes.extend(open.into_iter().map(|(name, call)| (name, Action::Response(call))));
        History::from_actions(notes)
    }
}

async fn connect(url: String) -> Arc<Link> {
    let node = NodeName::parse("n").unwrap();
    let options = Options { servers: vec![url], clock: Clock::system(), ..Options::new(node) };
    Arc::new(Link::connect(&options).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn state_is_linearizable_while_the_server_is_killed() {
    let round = Round::new(true);
    let began = Instant::now();
    round.run(1).await;
    let (ran, checking) = (began.elapsed(), Instant::now());
    let violated = round.violated();
    let get = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    let Tally { reads, applied, conflicts, unknown, failed } = &round.tally;
    let answered = get(reads) + get(applied) + get(conflicts);
    println!(
        "clients {CLIENTS}, keys {KEYS}, server kills 2, lost answers {} times: {} reads, {} applied, {} conflicts, {} unknown, {} failed; \
         ran {ran:.1?}, checked {:.1?}, violated keys {violated:?}",
        FAULTS - 3,
        get(reads),
        get(applied),
        get(conflicts),
        get(unknown),
        get(failed),
        checking.elapsed()
    );
    assert!(violated.is_empty(), "no order explains the calls on keys {violated:?}");
    // A run in which everything fails has proved nothing.
    assert!(answered >= CALLS * 95 / 100, "{answered} of {CALLS} calls were answered");
    assert!(get(applied) >= 500 && get(conflicts) >= 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn plain_writes_reported_as_compared_ones_are_found() {
    let round = Round::new(false);
    round.run(2).await;
    let violated = round.violated();
    println!("violated keys {violated:?}");
    assert!(!violated.is_empty(), "the checker finds nothing");
}
