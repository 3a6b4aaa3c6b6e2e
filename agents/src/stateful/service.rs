use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::{Key, Scope};
use callboard_broker::subject;

use super::home::{AWAKE, Awake, Homes, Keeper, Move};
use super::store::{Found, Store};
use super::turns::Turns;
use super::{Stateful, StatefulAgent};
use crate::host::Host;
use crate::service::{Door, Handler, Start};
use crate::{Capability, Context, Failure, Grant, Payload, Result, Service, TaskInfo};

/// After how many changes the whole state of an agent is stored again, unless it says so.
pub const SNAPSHOT_EVERY: u32 = 100;

/// Serves capabilities over the state of `agent`: `stateful(Librarian::new()).on(LEND).on(TAKE_BACK)`.
pub fn stateful<A: Stateful>(agent: A) -> StatefulService<A> {
    StatefulService { agent, name: None, snapshot_every: SNAPSHOT_EVERY, awake: AWAKE, doors: Vec::new() }
}

/// An agent with a state, and the capabilities it serves over it. A node takes it like a [`Service`].
pub struct StatefulService<A: Stateful> {
    agent: A,
    name: Option<String>,
    snapshot_every: u32,
    awake: usize,
    doors: Vec<(Door, Bind<A>)>,
}

type Bind<A> = Box<dyn FnOnce(Arc<Shared<A>>) -> Arc<dyn Handler>>;

impl<A: Stateful> StatefulService<A> {
    /// Serves a capability over the agent's one state.
    pub fn on<Req: Payload, Res: Payload>(self, cap: Capability<Req, Res>) -> Self
    where
        A: StatefulAgent<Req, Res>,
    {
        self.bind(cap, None)
    }

    /// Serves a capability over one state per key (a conversation, a customer) instead of one in all.
    pub fn on_key<Req: Payload, Res: Payload, K>(self, cap: Capability<Req, Res>, key: K) -> Self
    where
        A: StatefulAgent<Req, Res>,
        K: Fn(&Req) -> String + Send + Sync + 'static,
    {
        self.bind(cap, Some(Box::new(key)))
    }

    /// The agent's name, under which its state is kept: letters, digits, `_`, `-` and dots. Default: its first
    /// capability's.
    pub fn named(mut self, agent: &str) -> Self {
        self.name = Some(agent.into());
        self
    }

    /// After how many changes the whole state is stored again; in between, only what has changed since then, where that
    /// is less than half of it. Default [`SNAPSHOT_EVERY`]; 1: always the whole state.
    pub fn snapshot_every(mut self, changes: u32) -> Self {
        self.snapshot_every = changes;
        self
    }

    /// How many states are awake on a node at most, in its memory; of more the one that was used least lately sleeps until
    /// it is asked for again, as each does after 5 minutes. Default [`AWAKE`].
    pub fn awake(mut self, states: usize) -> Self {
        self.awake = states;
        self
    }

    /// The service, for the options of every service. Naming that leaves the state where it is.
    pub fn service(self) -> Service {
        let first = self.doors.first().map_or("agent", |(door, _)| door.capability.as_str());
        let name = self.name.unwrap_or_else(|| first.to_owned());
        let below = format!("agents.{name}");
        let shared = Arc::new(Shared {
            agent: self.agent,
            below: below.clone(),
            snapshot_every: self.snapshot_every,
            turns: Turns::default(),
            awake: Awake::new(self.awake),
        });
        let (doors, handlers): (Vec<_>, Vec<_>) =
            self.doors.into_iter().map(|(door, bind)| (door, bind(shared.clone()))).unzip();
        let start: Start = Arc::new(move || {
            let handlers = handlers.clone();
            Box::pin(async move { Ok(handlers) })
        });
        Service::new(doors, start).named(&name).needs(Grant::Global(below))
    }

    fn bind<Req: Payload, Res: Payload>(mut self, cap: Capability<Req, Res>, key: Option<KeyOf<Req>>) -> Self
    where
        A: StatefulAgent<Req, Res>,
    {
        let bind: Bind<A> = Box::new(|shared| Arc::new(Over { shared, key, types: PhantomData }));
        self.doors.push((cap.door(), bind));
        self
    }
}

impl<A: Stateful> From<StatefulService<A>> for Service {
    fn from(service: StatefulService<A>) -> Self {
        service.service()
    }
}

impl<A: Stateful> fmt::Debug for StatefulService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doors: Vec<_> = self.doors.iter().map(|(door, _)| &door.capability).collect();
        write!(f, "StatefulService({doors:?})")
    }
}

/// What the capabilities of one agent have in common.
struct Shared<A: Stateful> {
    agent: A,
    /// Where in the global scope its states are.
    below: String,
    snapshot_every: u32,
    turns: Turns,
    awake: Awake<A::State>,
}

impl<A: Stateful> Keeper for Shared<A> {
    fn check(&self, key: &str, hops: &[Arc<str>]) -> Result<(), Error> {
        self.turns.check(key, hops)
    }

    fn let_go<'a>(&'a self, key: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // It came from nobody, so it is never refused.
            let _turn = self.turns.wait(key, None).await;
            drop(self.awake.take(key));
        })
    }
}

impl<A: Stateful> Shared<A> {
    /// The state for a request that has its turn, awake here and nowhere else.
    async fn woken(&self, store: &Store, host: &dyn Host, homes: &dyn Homes, key: &Key) -> Result<Found<A::State>> {
        loop {
            let found = store.load::<A>().await?;
            let other = found.home().map(|home| home.node.clone()).filter(|node| node != homes.node());
            let moved = match &other {
                Some(node) => {
                    let _line = host.in_line();
                    homes.ask(node, &self.below, key.as_str(), host.chain()).await?
                }
                None => Move::Done,
            };
            if moved != Move::NotYet
                && let Some(found) = store.wake::<A>(found, homes.node()).await?
            {
                return Ok(found);
            }
        }
    }

    fn key(&self, part: Option<String>) -> Result<Key, Error> {
        // No capability's name has a `_`, so what is kept below one agent's name is never another agent's.
        let name = match part {
            None => self.below.clone(),
            Some(part) => format!("{}._of.{}", self.below, token(part)?),
        };
        Ok(Key::new(&Scope::Global, &name)?)
    }
}

/// A key as one token of a state key. Keys of people's own choosing may hold anything, so others are hashed.
fn token(key: String) -> Result<String, Error> {
    if subject::token("key", &key).is_ok() && !key.starts_with("x-") {
        return Ok(key);
    }
    Ok(format!("x-{}", Body::of(key).content_hash()?))
}

type KeyOf<Req> = Box<dyn Fn(&Req) -> String + Send + Sync>;

/// One capability over the state of an agent.
struct Over<A: Stateful, Req, Res> {
    shared: Arc<Shared<A>>,
    key: Option<KeyOf<Req>>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<A: StatefulAgent<Req, Res>, Req: Payload, Res: Payload> Over<A, Req, Res> {
    async fn turn(&self, ctx: Context, request: Req) -> Result<Body> {
        let key = self.shared.key(self.key.as_ref().map(|key| key(&request)))?;
        let _turn = self.shared.turns.wait(key.as_str(), Some(ctx.host())).await?;
        let store = Store::new(ctx.host().states(), ctx.party(), key.clone(), self.shared.snapshot_every)?;
        let Some(homes) = ctx.host().homes() else {
            // Nobody else has a part in it: it sleeps between requests.
            let found = store.load::<A>().await?;
            return self.work(ctx, &store, found, request).await.0;
        };
        homes.keep(&self.shared.below, self.shared.clone());
        let found = match self.shared.awake.take(key.as_str()) {
            Some(found) => {
                // It is no more of an instruction than when it was read.
                ctx.taint(&format!("state {key}"));
                found
            }
            None => self.shared.woken(&store, &**ctx.host(), &*homes, &key).await?,
        };
        let (response, found) = self.work(ctx, &store, found, request).await;
        if let Some(found) = found {
            self.shared.awake.put(key.as_str(), found);
        }
        response
    }

    /// The response, and the state as it stands then if that is known.
    async fn work(
        &self,
        ctx: Context,
        store: &Store,
        mut found: Found<A::State>,
        request: Req,
    ) -> (Result<Body>, Option<Found<A::State>>) {
        match store.recorded(found.last(), ctx.host().facts().again).await {
            Ok(None) => {}
            Ok(Some(response)) => return (Ok(response), Some(found)),
            Err(error) => return (Err(error.into()), None),
        }
        match self.shared.agent.handle(ctx, &mut found.state, request).await {
            Ok(response) => {
                let response = Body::of(response);
                match store.save::<A>(found, &response).await {
                    Ok(found) => (Ok(response), found),
                    Err(failure) => (Err(failure), None),
                }
            }
            Err(failure) => match store.confirm(found.awake_at()).await {
                Ok(()) => (Err(failure), found.undone()),
                Err(conflict) => (Err(conflict.into()), None),
            },
        }
    }
}

impl<A: StatefulAgent<Req, Res>, Req: Payload, Res: Payload> Handler for Over<A, Req, Res> {
    fn handle(&self, ctx: Context, request: Body) -> BoxFuture<'_, Result<Body, Failure>> {
        Box::pin(async move { self.turn(ctx, request.take::<Req>()?).await })
    }

    fn can_handle(&self, _task: &TaskInfo) -> bool {
        true
    }

    fn fits(&self, request: &Body) -> Result<(), Error> {
        request.fits::<Req>()
    }
}
