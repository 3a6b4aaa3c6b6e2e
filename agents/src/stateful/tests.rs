//! A stateful agent over the state of a test world, with a crash wherever one can fall.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use callboard_broker::BoxFuture;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::{Change, Key, Moment, Put, StateEntry, States, Watch, Write};
use serde_json::Value;

use super::store::Store;
use super::{Stateful, StatefulAgent, stateful};
use crate::service::Handler;
use crate::state::Party;
use crate::testing::World;
use crate::{Capability, Class, Context, Error, Failure, Grant, Payload, Result, Service, StateKey, json, payload};

#[payload]
#[derive(Clone, Debug, PartialEq)]
struct Deposit {
    customer: String,
    cents: i64,
}

const PAY: Capability<Deposit, i64> = Capability::new("bank.pay");
const COUNT: Capability<String, u32> = Capability::new("bank.count");

/// Counts how often it worked, outside its state.
#[derive(Default)]
struct Bank {
    worked: Arc<AtomicU32>,
}

#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
struct Account {
    cents: i64,
    payments: u32,
}

impl Stateful for Bank {
    type State = Account;
}

impl StatefulAgent<Deposit, i64> for Bank {
    async fn handle(&self, _ctx: Context, account: &mut Account, paid: Deposit) -> Result<i64> {
        self.worked.fetch_add(1, Ordering::Relaxed);
        account.cents += paid.cents;
        account.payments += 1;
        tokio::task::yield_now().await;
        assert_ne!(paid.cents, 13, "unlucky");
        if account.cents < 0 {
            return Err(Failure::permanent("not enough"));
        }
        Ok(account.cents)
    }
}

impl StatefulAgent<String, u32> for Bank {
    async fn handle(&self, _ctx: Context, account: &mut Account, _: String) -> Result<u32> {
        Ok(account.payments)
    }
}

fn pay(customer: &str, cents: i64) -> Deposit {
    Deposit { customer: customer.into(), cents }
}

/// The handlers of a service, as a cell gets them.
async fn start(service: impl Into<Service>) -> Vec<Arc<dyn Handler>> {
    service.into().starter()().await.unwrap()
}

async fn call<Req: Payload, Res: Payload>(handler: &Arc<dyn Handler>, ctx: Context, request: Req) -> Result<Res> {
    Ok(handler.handle(ctx, Body::of(request)).await?.take()?)
}

const STATE: StateKey<Value> = StateKey::global("agents.bank.pay");

#[tokio::test]
async fn changes_are_kept_on_success_and_only_then() {
    let world = World::new().asking();
    let handlers = start(stateful(Bank::default()).on(PAY).on(COUNT)).await;
    assert_eq!(call::<_, i64>(&handlers[0], world.context(), pay("a", 5)).await.unwrap(), 5);
    let refused = call::<_, i64>(&handlers[0], world.context(), pay("a", -9)).await.unwrap_err();
    assert_eq!(refused.class(), Class::Permanent);
    assert_eq!(call::<_, i64>(&handlers[0], world.context(), pay("a", 1)).await.unwrap(), 6);
    assert_eq!(call::<_, u32>(&handlers[1], world.context(), String::new()).await.unwrap(), 2);
}

#[tokio::test]
async fn after_a_panic_the_last_stored_state_is_used() {
    let world = World::new().asking();
    let handlers = start(stateful(Bank::default()).on(PAY)).await;
    call::<_, i64>(&handlers[0], world.context(), pay("a", 5)).await.unwrap();
    let (handler, ctx) = (handlers[0].clone(), world.context());
    let crashed = tokio::spawn(async move { call::<_, i64>(&handler, ctx, pay("a", 13)).await }).await;
    assert!(crashed.unwrap_err().is_panic());
    assert_eq!(call::<_, i64>(&handlers[0], world.context(), pay("a", 1)).await.unwrap(), 6);
    let restarted = start(stateful(Bank::default()).on(PAY)).await;
    assert_eq!(call::<_, i64>(&restarted[0], world.context(), pay("a", 1)).await.unwrap(), 7);
}

#[tokio::test]
async fn one_request_at_a_time_per_key_and_keys_do_not_see_each_other() {
    let world = World::new().asking();
    let handlers = start(stateful(Bank::default()).on_key(PAY, |paid| paid.customer.clone())).await;
    let mut all = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (handler, ctx) = (handlers[0].clone(), world.context());
        let customer = if n % 2 == 0 { "a" } else { "b & c" };
        all.spawn(async move { call::<_, i64>(&handler, ctx, pay(customer, 1)).await.unwrap() });
    }
    all.join_all().await;
    for customer in ["a", "b & c"] {
        assert_eq!(call::<_, i64>(&handlers[0], world.context(), pay(customer, 1)).await.unwrap(), 21);
    }
    assert!(world.state(STATE.at("_of.a")).get().await.unwrap().is_some(), "a key that is a token is kept readable");
}

#[tokio::test]
async fn a_task_that_is_run_again_gets_the_recorded_response() {
    let world = World::new();
    let bank = Bank::default();
    let worked = bank.worked.clone();
    let handlers = start(stateful(bank).on(PAY)).await;
    // The first attempt stored its change, and its node died before the outcome was recorded.
    assert_eq!(call::<_, i64>(&handlers[0], world.context(), pay("a", 5)).await.unwrap(), 5);
    assert_eq!(call::<_, i64>(&handlers[0], world.context(), pay("a", 5)).await.unwrap(), 5);
    // Meanwhile another request changed the state.
    let again = world.context();
    assert_eq!(call::<_, i64>(&handlers[0], world.clone().asking().context(), pay("a", 2)).await.unwrap(), 7);
    assert_eq!(call::<_, i64>(&handlers[0], again, pay("a", 5)).await.unwrap(), 5);
    assert_eq!(worked.load(Ordering::Relaxed), 2, "the reruns worked on nothing");
}

#[tokio::test]
async fn the_slower_of_two_nodes_meets_a_conflict_and_overwrites_nothing() {
    let world = World::new().asking();
    // Two services are two nodes: they share the state and not the turns.
    let (one, two) = (start(stateful(Bank::default()).on(PAY)).await, start(stateful(Bank::default()).on(PAY)).await);
    let answers = tokio::join!(
        call::<_, i64>(&one[0], world.context(), pay("a", 5)),
        call::<_, i64>(&two[0], world.context(), pay("a", 5)),
    );
    let ((Ok(cents), Err(conflict)) | (Err(conflict), Ok(cents))) = answers else {
        panic!("exactly one of the two is quicker")
    };
    assert_eq!((cents, conflict.class()), (5, Class::Transient));
    assert_eq!(call::<_, i64>(&two[0], world.context(), pay("a", 5)).await.unwrap(), 10);
}

#[tokio::test]
async fn a_request_that_changes_nothing_writes_nothing() {
    let world = World::new().asking();
    let handlers = start(stateful(Bank::default()).on(COUNT).named("counter")).await;
    assert_eq!(call::<_, u32>(&handlers[0], world.context(), String::new()).await.unwrap(), 0);
    assert_eq!(world.state(StateKey::<Value>::global("agents.counter")).get().await.unwrap(), None);
}

struct Renamed;

impl Stateful for Renamed {
    type State = i64;
    const STATE_VERSION: u32 = 2;

    fn migrate(from: u32, old: Value) -> Result<i64> {
        assert_eq!(from, 1);
        Ok(old["cents"].as_i64().unwrap_or_default())
    }
}

impl StatefulAgent<Deposit, i64> for Renamed {
    async fn handle(&self, _ctx: Context, cents: &mut i64, paid: Deposit) -> Result<i64> {
        *cents += paid.cents;
        Ok(*cents)
    }
}

#[tokio::test]
async fn an_old_state_is_migrated_and_a_newer_one_is_refused() {
    let world = World::new().asking();
    let (old, new) = (start(stateful(Bank::default()).on(PAY)).await, start(stateful(Renamed).on(PAY)).await);
    call::<_, i64>(&old[0], world.context(), pay("a", 5)).await.unwrap();
    assert_eq!(call::<_, i64>(&new[0], world.context(), pay("a", 2)).await.unwrap(), 7);
    let refused = call::<_, i64>(&old[0], world.context(), pay("a", 1)).await.unwrap_err();
    assert!(refused.class() == Class::Permanent && refused.to_string().contains("newer than 1"), "{refused}");
}

#[tokio::test]
async fn what_is_stored_is_plain_json_and_the_agent_may_always_reach_it() {
    let world = World::new().asking();
    let service = stateful(Bank::default()).on(PAY).service().may([Grant::OwnRun]);
    assert_eq!(service.options().grants, [Grant::Global("agents.bank.pay".into()), Grant::OwnRun]);
    let handlers = start(service).await;
    call::<_, i64>(&handlers[0], world.context(), pay("a", 5)).await.unwrap();
    let stored = world.state(STATE).get().await.unwrap().unwrap();
    assert_eq!(*stored, json!({ "version": 1, "state": { "cents": 5, "payments": 1 } }));
}

#[tokio::test]
async fn a_world_may_hold_the_real_agent() {
    let world = World::new().serves(stateful(Bank::default()).on(PAY).on(COUNT));
    let ctx = world.context();
    assert_eq!(ctx.delegate(PAY, pay("a", 5)).await.unwrap(), 5);
    assert_eq!(ctx.ask(PAY, pay("a", 2)).await.unwrap(), 7);
    let reply = ctx.delegate(COUNT, String::new()).full().await.unwrap();
    assert_eq!((reply.value, reply.agent.as_str()), (2, "bank.pay"));
    let again = world.context();
    assert_eq!(again.delegate(PAY, pay("a", 5)).await.unwrap(), 5);
    let refused = again.ask(PAY, pay("a", -20)).await.unwrap_err();
    assert!(matches!(refused, Error::Failed { to, .. } if &*to == "bank.pay"));
}

/// Keeps a long list, of which each request changes little.
struct Diary;

const NOTE: Capability<String, usize> = Capability::new("diary.note");

impl Stateful for Diary {
    type State = Vec<String>;
}

impl StatefulAgent<String, usize> for Diary {
    async fn handle(&self, _ctx: Context, notes: &mut Vec<String>, note: String) -> Result<usize> {
        notes.push(note);
        Ok(notes.len())
    }
}

#[tokio::test]
async fn between_snapshots_only_what_changed_is_stored() {
    const DIARY: StateKey<Value> = StateKey::global("agents.diary.note");
    let world = World::new().asking();
    let handlers = start(stateful(Diary).on(NOTE).snapshot_every(10)).await;
    let note = |n: usize| format!("{n}: {}", "and so on ".repeat(10));
    for n in 1..=40 {
        assert_eq!(call::<_, usize>(&handlers[0], world.context(), note(n)).await.unwrap(), n);
    }
    let mut history = world.state(DIARY).history();
    let (mut bytes, mut last) = (0, Value::Null);
    while let Some(change) = history.next().await {
        let crate::Change::Set(entry) = change.unwrap() else { panic!("nothing was deleted") };
        bytes += entry.to_string().len();
        last = entry.into_inner();
    }
    let whole = 40 * note(10).len();
    assert!(bytes < 40 * whole / 3, "{bytes} bytes for 40 changes of a state of {whole}");
    assert!(last["since"]["changes"].as_u64().unwrap() < 10, "{last}");
    // Another process reads snapshot and difference, and goes on.
    let restarted = start(stateful(Diary).on(NOTE).snapshot_every(1)).await;
    assert_eq!(call::<_, usize>(&restarted[0], world.context(), note(41)).await.unwrap(), 41);
    let stored = world.state(DIARY).get().await.unwrap().unwrap();
    assert_eq!(stored["state"].as_array().unwrap().len(), 41);
    assert_eq!(stored["state"][39], note(40));
}

#[tokio::test]
async fn a_snapshot_whose_entry_was_never_written_does_no_harm() {
    const SNAPSHOT: StateKey<Value> = StateKey::global("agents.diary.note._snapshot");
    let world = World::new().asking();
    let handlers = start(stateful(Diary).on(NOTE)).await;
    for n in 1..=9 {
        call::<_, usize>(&handlers[0], world.context(), "x".repeat(50)).await.unwrap();
        if n == 6 {
            assert!(world.state(SNAPSHOT).get().await.unwrap().is_some());
            // Another node died right after its snapshot.
            world.state(SNAPSHOT).set(json!(["lost"])).await.unwrap();
        }
    }
    assert_eq!(call::<_, usize>(&handlers[0], world.context(), "y".to_owned()).await.unwrap(), 10);
}

/// A store that loses acknowledgements, and the writes too unless `applies`.
struct Lossy {
    states: Arc<dyn States>,
    applies: bool,
}

impl States for Lossy {
    fn put(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put, Error>>> {
        let lost = vec![Ok(Put::Unknown); writes.len()];
        Box::pin(async move {
            if self.applies {
                self.states.put(writes).await;
            }
            lost
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

#[tokio::test]
async fn a_lost_acknowledgement_is_looked_up_before_it_is_an_error() {
    for applies in [true, false] {
        let states = Arc::new(Lossy { states: World::new().context().host().states(), applies });
        let key = Key::parse("global.agents.diary").unwrap();
        let store = Store::new(states, Party::client("diary"), key, 100).unwrap();
        let mut found = store.load::<Diary>().await.unwrap();
        found.state.push("dear diary".into());
        let saved = store.save::<Diary>(found, &Body::null()).await;
        assert_eq!(saved.is_ok(), applies);
        assert_eq!(store.load::<Diary>().await.unwrap().state.len(), usize::from(applies));
    }
}

fn store_of(world: &World, snapshot_every: u32) -> Store {
    let key = Key::parse("global.agents.diary").unwrap();
    Store::new(world.context().host().states(), Party::client("diary"), key, snapshot_every).unwrap()
}

#[tokio::test]
async fn a_home_that_was_taken_for_dead_overwrites_nothing_and_what_moves_is_whole() {
    for snapshot_every in [1, 100] {
        let world = World::new();
        let store = store_of(&world, snapshot_every);
        let woken = async |node: &str| store.wake::<Diary>(store.load::<Diary>().await.unwrap(), node).await.unwrap();
        let noted = |mut found: super::store::Found<Vec<String>>, what: &str| {
            found.state.push(what.into());
            found
        };
        let mut one = woken("one").await.unwrap();
        for n in 0..5 {
            // Awake, it is read from memory alone.
            one = store.save::<Diary>(noted(one, &"x".repeat(60 + n)), &Body::null()).await.unwrap().unwrap();
        }
        let two = woken("two").await.unwrap();
        assert_eq!((two.state.len(), two.home().unwrap().epoch), (5, 2));
        assert!(store.confirm(two.awake_at()).await.is_ok());
        let stale = store.confirm(one.awake_at()).await.unwrap_err();
        assert!(matches!(stale, Error::Conflict { .. }), "what it would say of the state is refused too: {stale}");
        let refused = store.save::<Diary>(noted(one, "late"), &Body::null()).await.err().unwrap();
        assert_eq!(refused.class(), Class::Transient, "{refused}");
        store.save::<Diary>(noted(two, "y"), &Body::null()).await.unwrap();
        let last = store.load::<Diary>().await.unwrap();
        assert_eq!((last.state.len(), &*last.state[5]), (6, "y"));
    }
}

#[tokio::test]
async fn of_two_that_wake_a_state_one_does() {
    let world = World::new();
    let store = store_of(&world, 100);
    let (one, two) = (store.load::<Diary>().await.unwrap(), store.load::<Diary>().await.unwrap());
    assert!(store.wake::<Diary>(one, "one").await.unwrap().is_some());
    assert!(store.wake::<Diary>(two, "two").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_sleeps_and_of_too_many_the_one_that_was_used_least_lately() {
    let world = World::new();
    let store = store_of(&world, 100);
    let awake = super::home::Awake::new(2);
    for key in ["a", "b", "c"] {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        awake.put(key, store.load::<Diary>().await.unwrap());
    }
    assert!(awake.take("a").is_none() && awake.len() == 2);
    tokio::time::advance(super::home::SLEEPS_AFTER).await;
    awake.put("d", store.load::<Diary>().await.unwrap());
    assert!(awake.take("c").is_none() && awake.take("d").is_some());
    let none = super::home::Awake::new(0);
    none.put("a", store.load::<Diary>().await.unwrap());
    assert_eq!(none.len(), 0);
}
