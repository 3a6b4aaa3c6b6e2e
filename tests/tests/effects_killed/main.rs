//! Effects under kills: nodes die at random while they post to a real HTTP server, which counts.
//!
//! A third of the tasks have a key, a third have none, a third do not mind repeats. People (this test) answer what is in
//! doubt by what the server has seen. In the end every task is completed, no post without a key was silently done twice,
//! every repeat of one with a key carries its first key, and nothing was done again whose successor had begun.
//! `EFFECT_SEED` repeats a schedule, `EFFECT_KILLS` asks for more than 25 kills over each wing.
#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use callboard::inbox::Inbox;
use callboard::json;
use callboard_broker::id::{NodeName, RunId, TaskId};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Status, Task};
use callboard_broker::tasks::Until;
use callboard_broker::{Broker, nats, sqlite};
use callboard_tests::nats::Server;
use callboard_tests::process::{Child, Counter, scatter};
use tokio::time::{Instant, sleep};

mod verdict;

use verdict::{Kind, repeated, wrong};

/// Posts of a task.
const TIMES: u64 = 3;
/// Tasks for each kill.
const TASKS: u64 = 4;
/// How long a person waits before answering: what a killed node had sent has arrived by then.
const THINK: Duration = Duration::from_secs(1);
/// How long all may take after the last kill.
const PATIENCE: Duration = Duration::from_secs(180);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn start(place: &str, name: &str) -> Child {
    let mut child = Child::start(Command::new(env!("CARGO_BIN_EXE_effect_node")).args([place, name]));
    assert!(child.says("ready"), "{name} does not start");
    child
}

struct Trial {
    broker: Broker,
    counter: Counter,
    tasks: BTreeMap<String, Kind>,
    undone: BTreeSet<(String, u64)>,
    asked: usize,
}

impl Trial {
    fn new(broker: Broker) -> Self {
        let (tasks, undone) = (BTreeMap::new(), BTreeSet::new());
        Self { broker, counter: Counter::start(), tasks, undone, asked: 0 }
    }

    async fn submit(&mut self, many: u64) {
        let mut tasks = Vec::new();
        for _ in 0..many {
            let name = format!("t{}", self.tasks.len());
            let kind = [Kind::Keyed, Kind::Unkeyed, Kind::Idempotent][self.tasks.len() % 3];
            let key = (kind == Kind::Keyed).then(|| format!("key-{name}"));
            let idempotent = kind == Kind::Idempotent;
            let input = json!({ "url": self.counter.url(), "key": key, "idempotent": idempotent, "times": TIMES });
            let effect = CapabilityName::parse("diag.effect").unwrap();
            let task = Task::root(RunId::parse(&name).unwrap(), effect, input.into(), self.broker.clock.now());
            tasks.push(task);
            self.tasks.insert(name, kind);
        }
        // The node that would store it may just be dead: submitting again is the same task.
        let until = Instant::now() + PATIENCE;
        while !self.broker.tasks.submit(tasks.clone()).await.iter().all(Result::is_ok) {
            assert!(Instant::now() < until, "nothing is accepted");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Answers what has been in doubt for long enough, by what the counter has seen.
    async fn answer(&mut self) {
        let inbox = Inbox::of(&self.broker);
        let Ok(open) = inbox.open(None).await else { return };
        let now = self.broker.clock.now();
        for asked in open.into_iter().filter(|asked| asked.task.created_at + THINK.as_millis() as u64 <= now) {
            let context = &asked.question.context;
            let task = context["task"].as_str().unwrap().to_owned();
            let n: u64 = context["effect"].as_str().unwrap().trim_start_matches("post ").parse().unwrap();
            let seen = self.counter.posts().iter().any(|post| post.task == task && post.n == n);
            let said = match seen {
                true => json!({ "was": "done", "result": { "status": 200, "body": "ok" } }),
                false => json!({ "was": "not_done" }),
            };
            // Once it is said, whatever becomes of the answer, it may be done.
            if !seen {
                self.undone.insert((task, n));
            }
            if inbox.answer(asked.task.id, said, "ann").await.is_ok() {
                self.asked += 1;
            }
        }
    }

    async fn all_end(&mut self) {
        let ids: Vec<TaskId> = self.tasks.keys().map(|task| TaskId::parse(task).unwrap()).collect();
        let until = Instant::now() + PATIENCE;
        loop {
            self.answer().await;
            let wait = Duration::from_millis(200);
            let ended = self.broker.tasks.wait(ids.clone(), Until::All, wait).await.unwrap_or_default();
            if ended.len() == ids.len() {
                let lost: Vec<_> = ended.iter().filter(|outcome| outcome.status != Status::Completed).collect();
                assert!(lost.is_empty(), "{lost:#?}");
                return;
            }
            assert!(Instant::now() < until, "{} of {} tasks have ended", ended.len(), ids.len());
        }
    }

    fn judge(&self, wing: &str, kills: u64, seed: u64) {
        let posts = self.counter.posts();
        let found = wrong(&self.tasks, &posts, &self.undone);
        println!(
            "{wing}: seed {seed}, {kills} kills, {} tasks, {} posts, {} in doubt, repeated: {} keyed, {} unkeyed after \
             \"not done\", {} idempotent, {} wrong",
            self.tasks.len(),
            posts.len(),
            self.asked,
            repeated(&self.tasks, &posts, Kind::Keyed),
            repeated(&self.tasks, &posts, Kind::Unkeyed),
            repeated(&self.tasks, &posts, Kind::Idempotent),
            found.len(),
        );
        assert!(found.is_empty(), "{found:#?}");
    }
}

async fn ordeal(wing: &str, broker: Broker, place: &str, names: &[&str]) {
    let (kills, seed) = (number("EFFECT_KILLS", 25), number("EFFECT_SEED", 1));
    let mut random = seed;
    let mut trial = Trial::new(broker);
    let mut nodes: Vec<Child> = names.iter().map(|name| start(place, name)).collect();
    for _ in 0..kills {
        trial.submit(TASKS).await;
        sleep(Duration::from_millis(40 + scatter(&mut random) % 160)).await;
        let n = usize::try_from(scatter(&mut random)).unwrap_or(usize::MAX) % nodes.len();
        nodes[n].kill();
        nodes[n] = start(place, names[n]);
        trial.answer().await;
    }
    trial.all_end().await;
    trial.judge(wing, kills, seed);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_effect_is_silently_repeated_on_nats() {
    let server = Server::start();
    let client = nats::Options {
        servers: vec![server.url()],
        works: false,
        ..nats::Options::new(NodeName::parse("client").unwrap())
    };
    let provisioned = nats::connect(nats::Options { works: true, ..client.clone() }).await.unwrap();
    drop(provisioned);
    let broker = nats::open(client).await.unwrap();
    ordeal("nats", broker, &server.url(), &["a", "b"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_effect_is_silently_repeated_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let attached = sqlite::attach(&store, sqlite::Options::default()).unwrap();
    ordeal("sqlite", attached.broker(), store.to_str().unwrap(), &["n"]).await;
}
