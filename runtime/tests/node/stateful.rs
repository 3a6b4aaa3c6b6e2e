//! A stateful agent and a task that is handed out again under the same number: its change counts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use callboard::broker::error::Error;
use callboard::broker::state::{Change, Key, Moment, Put, StateEntry, States, Watch, Write};
use callboard::broker::{BoxFuture, Broker};
use callboard::{Capability, Context, Node, Result, Service, Stateful, StatefulAgent, stateful};

use crate::kit::*;

on_every_wing! { a_change_counts_once_though_its_task_is_handed_out_again_as_the_same_attempt }

const PAY: Capability<u64, u64> = Capability::new("till.pay");
const TIP: Capability<String, u64> = Capability::new("till.tip");
const TOTAL: &str = "global.agents.till";

/// Counts how often it was paid, outside its state.
#[derive(Default)]
struct Seen {
    paid: AtomicU32,
    /// Whether what is written of the state from now on is not acknowledged.
    is_stuck: AtomicBool,
}

struct Till(Arc<Seen>);

impl Stateful for Till {
    type State = u64;
}

impl StatefulAgent<u64, u64> for Till {
    async fn handle(&self, _ctx: Context, total: &mut u64, cents: u64) -> Result<u64> {
        let before = self.0.paid.fetch_add(1, Ordering::SeqCst);
        self.0.is_stuck.store(before == 0, Ordering::SeqCst);
        *total += cents;
        Ok(*total)
    }
}

impl StatefulAgent<String, u64> for Till {
    async fn handle(&self, _ctx: Context, total: &mut u64, _: String) -> Result<u64> {
        *total += 1;
        Ok(*total)
    }
}

fn till(seen: &Arc<Seen>) -> Service {
    stateful(Till(seen.clone())).named("till").on(PAY).service().shutdown(Duration::from_millis(200))
}

/// A store that applies what is written and then keeps its writer waiting.
struct Stuck {
    states: Arc<dyn States>,
    seen: Arc<Seen>,
}

impl States for Stuck {
    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put, Error>>> {
        Box::pin(async move {
            let is_ours = writes.iter().any(|write| write.key.as_str() == TOTAL);
            let written = self.states.put(writes).await;
            if is_ours && self.seen.is_stuck.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            written
        })
    }

    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>, Error>> {
        self.states.get(keys)
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>, Error>> {
        self.states.list(prefix)
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>, Error>> {
        self.states.watch(prefix)
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>, Error>> {
        self.states.history(key)
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>, Error>> {
        self.states.at(moment, prefix)
    }
}

/// What the till holds; none before it was first paid.
async fn total(broker: &Broker) -> Option<u64> {
    let key = Key::parse(TOTAL).unwrap();
    let entry = broker.states.get(vec![key]).await.unwrap().remove(0)?;
    entry.value.value().unwrap()["state"].as_u64()
}

/// The node that had the task drained while the change was being written, so the task is handed out again and costs no
/// attempt. Before it is, the state was changed by another request, and its last change tells nothing of the first.
async fn a_change_counts_once_though_its_task_is_handed_out_again_as_the_same_attempt(wing: &Wing) {
    let (broker, seen) = (wing.broker(), Arc::new(Seen::default()));
    let states = Arc::new(Stuck { states: broker.states.clone(), seen: seen.clone() });
    let first = Node::over(Broker { states, ..broker.clone() }).name("first").serve(till(&seen));
    let first = first.start().await.unwrap();
    let run = first.submit(PAY, 5).await.unwrap();
    until("the change is stored", async || total(&broker).await == Some(5)).await;
    let other = stateful(Till(seen.clone())).named("till").on(TIP).service();
    let between = Node::over(broker.clone()).name("between").serve(other).start().await.unwrap();
    first.shutdown().await.unwrap();
    assert_eq!(between.submit(TIP, "thanks".into()).await.unwrap().outcome().await.unwrap(), 6);
    let second = Node::over(broker.clone()).name("second").serve(till(&seen)).start().await.unwrap();
    let run = second.attach(PAY, run.id()).unwrap();
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (5, 1), "it is answered as it was, and a drain costs no attempt");
    assert_eq!((total(&broker).await, seen.paid.load(Ordering::SeqCst)), (Some(6), 1));
    between.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}
