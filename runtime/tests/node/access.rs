//! What an agent may reach: each kind of agent with each grant against each scope of state and each way to call others.
//!
//! The agents here do whatever they are told, by whoever asks and by their own model: what keeps them from it is the
//! runtime alone. What is allowed stands in one table, written down and not computed; everything else must be refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use callboard::broker::error::Error;
use callboard::broker::payload::Payload;
use callboard::broker::state::{Expect, Key, Moment, Write};
use callboard::llm::Models;
use callboard::testing::Script;
use callboard::{Agent, Capability, Context, Grant, Result, Service, Stateful, StatefulAgent, stateful};

use crate::kit::*;

on_every_wing! { whatever_is_not_granted_is_refused_to_every_kind_of_agent }

const PROBE: Capability<Vec<String>, Vec<String>> = Capability::new("probe.all");
const WAYS: [&str; 6] = ["get", "history", "watch", "list", "at", "write"];
const CALLS: [&str; 4] = ["ask", "tell", "delegate", "detach"];
/// Keys of state; `OWN` is the run of the request.
const KEYS: [&str; 10] = [
    "run.OWN.k",
    "run.OWN.callboard-budget",
    "run.other.k",
    "team.desk.k",
    "team.rival.k",
    "global.a",
    "global.a.b",
    "global.ab",
    "global.z",
    "global.callboard-x",
];
const OTHERS: [&str; 3] = ["x.one", "x.two", "y.one"];

/// What a grant allows: keys to read, keys to write, capabilities to call.
type Row = (Vec<Grant>, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

fn table() -> Vec<Row> {
    let one = |grant| vec![grant];
    let (desk, a) = (&["team.desk.k"], &["global.a", "global.a.b"]);
    vec![
        (vec![], &[], &[], &[]),
        (one(Grant::OwnRun), &["run.OWN.k", "run.OWN.callboard-budget"], &["run.OWN.k"], &[]),
        (one(Grant::Team("desk".into())), desk, desk, &[]),
        (one(Grant::Global("a".into())), a, a, &[]),
        (one(Grant::Global("a.b".into())), &["global.a.b"], &["global.a.b"], &[]),
        (one(Grant::Read("global.a".into())), a, &[], &[]),
        (one(Grant::Read("run.other".into())), &["run.other.k"], &[], &[]),
        (
            one(Grant::Global(String::new())),
            &["global.a", "global.a.b", "global.ab", "global.z", "global.callboard-x"],
            &["global.a", "global.a.b", "global.ab", "global.z"],
            &[],
        ),
        (one(Grant::Capability("x.one".into())), &[], &[], &["x.one"]),
        (one(Grant::Capability("x.*".into())), &[], &[], &["x.one", "x.two"]),
        (one(Grant::AnyCapability), &[], &[], &OTHERS),
        (one(Grant::Tool("*".into())), &[], &[], &[]),
        (vec![Grant::Read("global.z".into()), Grant::Team("desk".into())], &["team.desk.k", "global.z"], desk, &[]),
    ]
}

/// Everything that can be tried.
fn wishes() -> Vec<String> {
    let state = KEYS.iter().flat_map(|key| WAYS.iter().map(move |way| format!("{way} {key}")));
    let calls = OTHERS.iter().flat_map(|other| CALLS.iter().map(move |way| format!("{way} {other}")));
    state.chain(calls).collect()
}

fn allowed((_, reads, writes, calls): &Row, has_run: bool) -> BTreeSet<String> {
    let here = |key: &&&str| has_run || !key.starts_with("run.OWN");
    let reads = reads.iter().filter(here).flat_map(|key| WAYS[..5].iter().map(move |way| format!("{way} {key}")));
    let writes = writes.iter().filter(here).map(|key| format!("write {key}"));
    // Only a task has children.
    let ways = if has_run { &CALLS[..] } else { &CALLS[..2] };
    let calls = calls.iter().flat_map(|other| ways.iter().map(move |way| format!("{way} {other}")));
    reads.chain(writes).chain(calls).collect()
}

/// Tries one thing; whether it was refused.
async fn is_refused(ctx: &Context, wish: &str) -> bool {
    let (way, of) = wish.split_once(' ').unwrap();
    let done = if CALLS.contains(&way) { call(ctx, way, of).await } else { touch(ctx, way, of).await };
    matches!(done, Err(Error::Denied { .. }))
}

async fn touch(ctx: &Context, way: &str, key: &str) -> std::result::Result<(), Error> {
    let run = ctx.host().facts().run.as_ref().map_or("none".to_owned(), ToString::to_string);
    let (text, states) = (key.replace("OWN", &run), ctx.host().states());
    let key = Key::parse(&text).unwrap();
    match way {
        "get" => states.get(vec![key]).await.map(drop),
        "history" => states.history(key).await.map(drop),
        "watch" => states.watch(text).await.map(drop),
        "list" => states.list(text).await.map(drop),
        "at" => states.at(Moment::Sequence(0), text).await.map(drop),
        _ => {
            let value = Some(Payload::of("mine"));
            let write = Write { key, expect: Expect::Any, value, by: "somebody else".into(), task: None };
            states.put(vec![write]).await.remove(0).map(drop)
        }
    }
}

async fn call(ctx: &Context, way: &str, other: &str) -> std::result::Result<(), Error> {
    const SOON: Duration = Duration::from_millis(50);
    let other = Capability::named(other).unwrap();
    match way {
        "ask" => ctx.ask(other, 1.into()).deadline(SOON).await.map(drop),
        "tell" => ctx.tell(other, 1.into()).await,
        "delegate" => ctx.delegate(other, 1.into()).deadline(SOON).await.map(drop),
        _ => ctx.delegate(other, 1.into()).deadline(SOON).detach().await.map(drop),
    }
}

/// Does what it is told, and what its model says; what was refused.
async fn obey(ctx: Context, told: Vec<String>) -> Result<Vec<String>> {
    let mut wishes = told;
    if let Some(model) = ctx.model("probe") {
        wishes.extend(model.say("What shall I do?").await?.text.lines().map(str::to_owned));
    }
    let mut refused = Vec::new();
    for wish in wishes {
        if is_refused(&ctx, &wish).await {
            refused.push(wish);
        }
    }
    Ok(refused)
}

struct Obedient;

impl Agent<Vec<String>, Vec<String>> for Obedient {
    async fn handle(&self, ctx: Context, told: Vec<String>) -> Result<Vec<String>> {
        obey(ctx, told).await
    }
}

impl Stateful for Obedient {
    type State = u32;
}

impl StatefulAgent<Vec<String>, Vec<String>> for Obedient {
    async fn handle(&self, ctx: Context, times: &mut u32, told: Vec<String>) -> Result<Vec<String>> {
        *times += 1;
        obey(ctx, told).await
    }
}

/// Each kind of agent there is, and whether its own model tells it what to do.
fn kinds() -> Vec<(&'static str, Service, bool)> {
    vec![
        ("a function", PROBE.by_fn(obey), false),
        ("a value", PROBE.by(Obedient), false),
        ("a value for each start", PROBE.by_fresh(|| async { Ok(Obedient) }), false),
        ("one with a state", stateful(Obedient).on(PROBE).service(), false),
        ("one with a model", PROBE.by_fn(obey), true),
    ]
}

async fn whatever_is_not_granted_is_refused_to_every_kind_of_agent(wing: &Wing) {
    let (all, mut tried) = (wishes(), 0);
    for (at, row) in table().into_iter().enumerate() {
        for (kind, service, by_model) in kinds() {
            let words = all.join("\n");
            let script = Script::by(move |_| Ok(callboard::llm::Response::text(words.clone())));
            let models = if by_model { Models::none().role("probe", Arc::new(script)) } else { Models::none() };
            let told = if by_model { Vec::new() } else { all.clone() };
            let store = wing.open(&format!("{at}-{kind}"));
            let service = service.may(row.0.clone()).team("desk");
            let node = callboard::Node::over(store).name("n").serve(service).models(models).start().await.unwrap();
            for has_run in [true, false] {
                let refused = match has_run {
                    true => node.submit(PROBE, told.clone()).await.unwrap().outcome().await.unwrap(),
                    false => node.ask(PROBE, told.clone()).await.unwrap(),
                };
                let refused: BTreeSet<String> = refused.into_iter().collect();
                let expected = &all.iter().cloned().collect::<BTreeSet<_>>() - &allowed(&row, has_run);
                let (kept, let_in): (Vec<_>, Vec<_>) =
                    (refused.difference(&expected).collect(), expected.difference(&refused).collect());
                assert!(let_in.is_empty(), "{kind} with {:?} was let in: {let_in:?}", row.0);
                assert!(kept.is_empty(), "{kind} with {:?} was kept out: {kept:?}", row.0);
                tried += all.len();
            }
            node.shutdown().await.unwrap();
        }
    }
    println!("{tried} tried");
}
