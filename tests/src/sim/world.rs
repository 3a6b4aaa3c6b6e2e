//! The cluster under way: nodes that come and go behind their lines, and what is done to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use callboard::Node;
use callboard_broker::clock::Clock;
use callboard_broker::faulty::{self, Faults, Switch, Weather};
use callboard_broker::id::{RunId, TaskId};
use callboard_broker::payload::Payload;
use callboard_broker::task::{Retry, Task};
use callboard_broker::{Broker, memory, sqlite};
use tokio::time::{Instant, sleep, sleep_until};

use super::agents::{WORK, services};
use super::chaos::{self, Blow, NODES, STORM};
use super::ledger::Ledger;
use super::plan::Plan;
use super::sins::{self, Sin};
use super::{On, Report, people, verdict, witness};
use crate::random::Random;

/// The wall clock's first reading.
const EPOCH: i64 = 1_700_000_000_000;
/// How long after the storm everything must have come to its end, and how often that is looked at.
const CALM: Duration = Duration::from_secs(4 * 3_600);
const LOOK: Duration = Duration::from_secs(15);

/// A node and its line.
struct Member {
    name: String,
    node: Option<Node>,
    line: Switch,
}

struct World {
    seed: u64,
    random: Random,
    ledger: Ledger,
    broker: Broker,
    /// By how much the wall clock has jumped.
    stepped: Arc<AtomicI64>,
    members: Vec<Member>,
    plans: Vec<Plan>,
    agenda: BTreeMap<(u64, usize), Blow>,
}

/// Lives through one seed.
pub(super) async fn live(seed: u64, on: On, sin: Option<Sin>) -> Report {
    let (ledger, stepped) = (Ledger::new(), Arc::new(AtomicI64::new(0)));
    let (jumps, began) = (stepped.clone(), Instant::now());
    let clock = Clock::from_fn(move || {
        let passed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX / 2);
        u64::try_from(EPOCH + passed + jumps.load(Ordering::Relaxed)).unwrap_or(0)
    });
    let folder = (on == On::Sqlite).then(|| tempfile::tempdir().expect("a folder"));
    let wing = match &folder {
        None => memory::open(memory::Options { clock, ..memory::Options::default() }),
        Some(folder) => {
            let options =
                sqlite::Options { clock, sync: sqlite::Sync::Never, inline: true, ..sqlite::Options::default() };
            sqlite::open(folder.path().join("store"), options).expect("a store")
        }
    };
    let broker = witness::watched(sins::commit(wing, sin), &ledger);
    let mut random = Random::new(seed);
    let mut next = 1;
    let plans: Vec<_> = (0..2 + random.below(3)).map(|_| Plan::make(&mut random, &mut next)).collect();
    let blows = chaos::schedule(&mut random, plans.len());
    let schedule = blows.iter().map(|(at, blow)| format!("{at:>9} {blow:?}")).collect();
    let agenda = blows.into_iter().enumerate().map(|(n, (at, blow))| ((at, n), blow)).collect();
    let mut world = World { seed, random, ledger, broker, stepped, members: Vec::new(), plans, agenda };
    world.storm().await;
    world.calm().await;
    let verdict = verdict::judge(&world.broker, &world.ledger).await;
    let notes = std::mem::take(&mut *world.ledger.notes());
    Report { seed, schedule, hash: notes.hash(), trace: notes.trace, verdict }
}

impl World {
    async fn storm(&mut self) {
        tokio::spawn(people::answer(self.broker.clone(), self.ledger.clone()));
        for n in 0..NODES {
            let member = self.start(format!("n{n}")).await;
            self.members.push(member);
        }
        for n in 0..self.plans.len() {
            let at = self.random.below(STORM / 3);
            self.later(at, Blow::Submit(n));
        }
        while let Some(((at, _), blow)) = self.agenda.pop_first() {
            sleep(Duration::from_millis(at.saturating_sub(self.ledger.now()))).await;
            self.ledger.say(format!("{blow:?}"));
            self.strike(blow).await;
        }
    }

    /// Fair weather, until everything has ended or should have.
    async fn calm(&mut self) {
        self.members.iter().for_each(|member| member.line.set(Weather::Fair));
        let until = Instant::now() + CALM;
        while Instant::now() < until {
            let tasks = verdict::tasks(&self.broker).await.unwrap_or_default();
            if !tasks.is_empty() && tasks.iter().all(|view| view.status.is_final()) {
                break;
            }
            sleep_until((Instant::now() + LOOK).min(until)).await;
        }
        // Whoever was replaced and does not know it yet comes to an end as well.
        sleep(LOOK * 4).await;
    }

    async fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Submit(n) => self.submit(n).await,
            Blow::Cut(n, ms) => {
                self.members[n].line.set(Weather::Cut);
                self.after(ms, Blow::Join(n));
            }
            Blow::Join(n) => {
                if self.members[n].node.is_some() {
                    self.members[n].line.set(Weather::Foul);
                }
            }
            Blow::Crash(n, ms, same) => {
                // What falls out of it while it is dropped reaches nobody.
                self.members[n].line.set(Weather::Cut);
                if self.members[n].node.take().is_some() {
                    self.after(ms, Blow::Start(n, same));
                }
            }
            Blow::Start(n, same) => {
                let name = if same { self.members[n].name.clone() } else { format!("{}x", self.members[n].name) };
                self.members[n] = self.start(name).await;
            }
            Blow::Drain(n) => {
                if let Some(node) = self.members[n].node.take() {
                    tokio::spawn(async move { node.shutdown().await });
                    self.after(1_000, Blow::Start(n, false));
                }
            }
            Blow::Step(ms) => drop(self.stepped.fetch_add(ms, Ordering::Relaxed)),
            // Refused for what is not there yet or has ended.
            Blow::Cancel(n) => drop(self.broker.tasks.cancel(self.root(n), "an operator".into()).await),
            Blow::Retry(n) => drop(self.broker.tasks.retry(self.root(n)).await),
        }
    }

    fn run(&self, n: usize) -> RunId {
        RunId::parse(&format!("s{}-{n}", self.seed)).expect("a name")
    }

    fn root(&self, n: usize) -> TaskId {
        TaskId::root(&self.run(n))
    }

    async fn submit(&mut self, n: usize) {
        let text = serde_json::to_string(&self.plans[n]).expect("a plan is JSON");
        let task = Task::root(self.run(n), WORK.id(), Payload::of(text), self.broker.clock.now());
        let task = Task { retry: Retry { attempts: 6, ..Retry::default() }, ..task };
        self.broker.tasks.submit(vec![task]).await.remove(0).expect("a submission");
    }

    async fn start(&mut self, name: String) -> Member {
        let faults = Faults {
            seed: self.random.next_u64(),
            lost_requests: 15,
            lost_answers: 30,
            twice: 60,
            echoes: 60,
            yields: 3,
            delay: Duration::from_millis(1 + self.random.below(200)),
        };
        let (line, switch) = faulty::wrap_switched(self.broker.clone(), faults);
        let [work, echo] = services(&self.ledger);
        let node = Node::over(line).name(&name).serve(work).serve(echo).start().await.expect("a node");
        Member { name, node: Some(node), line: switch }
    }

    fn after(&mut self, ms: u64, blow: Blow) {
        self.later(self.ledger.now() + ms, blow);
    }

    fn later(&mut self, at: u64, blow: Blow) {
        let place = self.agenda.range((at, 0)..(at + 1, 0)).map(|((_, n), _)| n + 1).max().unwrap_or(0);
        self.agenda.insert((at, place), blow);
    }
}
