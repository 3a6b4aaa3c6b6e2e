//! One cell as an actor: a mailbox that always answers, and the work in tasks that the actor owns.
//!
//! User code never runs on the actor's own loop. Each door has a *pump* that takes what its free slots allow and runs it
//! in a set of its own; the actor owns the pumps. So a panic ends one request, a kill takes all work along, and an
//! orderly stop waits for it.

use std::sync::Arc;

use callboard_agents::service::{Handler, Hearing};
use callboard_agents::{Context, Failure};
use callboard_broker::BoxFuture;
use callboard_broker::dead_letter::Reason;
use callboard_broker::messages::{Inbox, Incoming};
use callboard_broker::subject::CapabilityName;
use callboard_broker::tasks::{Claim, Lease, MAX_CLAIM};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use super::answer::Answering;
use super::attempt::Attempt;
use super::catch::CatchPanic;
use super::grants::Grants;
use super::host::RequestHost;
use super::pool::{Figures, Pool};
use super::slot::{Permit, Slots};
use super::work::Quit;
use crate::tree::{Fault, StartCtx};

/// How long one parked claim waits before it is renewed.
const CLAIM_WAIT: Duration = Duration::from_secs(60);
/// Wait after a claim that the store refused.
const CLAIM_PAUSE: Duration = Duration::from_millis(500);
/// The most `agent.available` events of one cell: one a second.
const AVAILABLE_EVERY: Duration = Duration::from_secs(1);

/// Starts cell `n` of a pool: its handlers first, whose failure is a failed start.
pub(crate) async fn start(pool: Arc<Pool>, n: usize, ctx: StartCtx) -> Result<(), Fault> {
    let handlers = (pool.start)().await.map_err(|failure: Failure| failure.to_string())?;
    pool.hub.registry.announce(&pool.name, &pool.doors, &handlers);
    ctx.publish(Arc::new(Figures(pool.clone())));
    let seat = ctx.clone();
    ctx.spawn(Cell, (pool, n, handlers, seat)).await.map(drop)
}

struct Cell;

/// What a cell is told.
#[derive(Debug)]
pub(crate) enum CellMsg {
    /// The agent asked to be rebuilt, for this reason.
    Rebuild(String),
}

struct Working {
    pumps: JoinSet<()>,
    quit: watch::Sender<Quit>,
}

impl Actor for Cell {
    type Msg = CellMsg;
    type State = Working;
    type Arguments = (Arc<Pool>, usize, Vec<Arc<dyn Handler>>, StartCtx);

    async fn pre_start(
        &self,
        myself: ActorRef<CellMsg>,
        (pool, n, handlers, seat): Self::Arguments,
    ) -> Result<Working, ActorProcessingErr> {
        let (quit, _) = watch::channel(Quit::No);
        let slots = Slots::new(pool.options.concurrency);
        let mut pumps = JoinSet::new();
        let pump = |door: usize, inbox: &Arc<dyn Inbox>, claims: Option<CapabilityName>| Pump {
            pool: pool.clone(),
            door,
            handlers: handlers.clone(),
            inbox: inbox.clone(),
            claims,
            slots: slots.clone(),
            quit: quit.subscribe(),
            cell: myself.clone(),
            seat: seat.clone(),
            work: JoinSet::new(),
        };
        for (door, inbox) in pool.inboxes.iter().enumerate() {
            pumps.spawn(pump(door, inbox, Some(pool.doors[door].capability.clone())).run());
        }
        pumps.spawn(pump(0, &pool.by_name, None).run());
        pumps.spawn(announce(pool.clone(), slots.clone(), quit.subscribe()));
        if n == 1 {
            for hearing in &pool.options.hears {
                pumps.spawn(hear(pool.clone(), hearing.clone(), quit.subscribe()));
            }
        }
        Ok(Working { pumps, quit })
    }

    async fn handle(
        &self,
        _myself: ActorRef<CellMsg>,
        message: CellMsg,
        _state: &mut Working,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CellMsg::Rebuild(reason) => Err(reason.into()),
        }
    }

    /// Takes nothing new and waits for what is at work; the supervisor's shutdown time is the limit.
    async fn post_stop(&self, _myself: ActorRef<CellMsg>, state: &mut Working) -> Result<(), ActorProcessingErr> {
        state.quit.send_if_modified(|quit| {
            let first = *quit == Quit::No;
            *quit = (*quit).max(Quit::Finish);
            first
        });
        while state.pumps.join_next().await.is_some() {}
        Ok(())
    }
}

/// Feeds the slots of one cell from one queue.
struct Pump {
    pool: Arc<Pool>,
    door: usize,
    handlers: Vec<Arc<dyn Handler>>,
    inbox: Arc<dyn Inbox>,
    claims: Option<CapabilityName>,
    slots: Arc<Slots>,
    quit: watch::Receiver<Quit>,
    cell: ActorRef<CellMsg>,
    /// Where the cell sits in the tree: a request that cannot be ended is reported there.
    seat: StartCtx,
    work: JoinSet<Option<String>>,
}

impl Pump {
    async fn run(mut self) {
        let mut quit = self.quit.clone();
        let mut node_quits = self.pool.hub.quit.subscribe();
        let mut claim: Option<BoxFuture<'static, Vec<Lease>>> = None;
        loop {
            let (slots, inbox) = (self.slots.clone(), self.inbox.clone());
            if claim.is_none() && slots.free() > 0 {
                claim = Some(self.claim(slots.free()));
            }
            tokio::select! {
                biased;
                _ = quit.wait_for(|quit| *quit != Quit::No) => break,
                _ = node_quits.wait_for(|quit| *quit != Quit::No) => break,
                Some(done) = self.work.join_next() => self.ended(done),
                () = slots.until_full(), if claim.is_some() => claim = None,
                () = slots.until_free(), if claim.is_none() => {}
                leases = async { claim.as_mut().expect("guarded by the branch").await }, if claim.is_some() => {
                    claim = None;
                    for lease in leases {
                        self.attempt(lease);
                    }
                }
                incoming = inbox.next(), if claim.is_some() => self.answer(incoming),
            }
        }
        drop(claim);
        while let Some(done) = self.work.join_next().await {
            self.ended(done);
        }
    }

    /// A claim for the free slots; a pump of the agent's own name has no tasks and waits for ever.
    fn claim(&self, free: usize) -> BoxFuture<'static, Vec<Lease>> {
        let Some(capability) = self.claims.clone() else { return Box::pin(std::future::pending()) };
        let pool = self.pool.clone();
        Box::pin(async move {
            let (node, declined) = (pool.hub.name.clone(), pool.just_declined());
            let claim = Claim { capability, slots: free.min(MAX_CLAIM), node, wait: CLAIM_WAIT, declined };
            match pool.hub.broker.tasks.claim(claim).await {
                Ok(leases) => leases,
                Err(error) => {
                    tracing::debug!(%error, "a claim was refused");
                    tokio::time::sleep(CLAIM_PAUSE).await;
                    Vec::new()
                }
            }
        })
    }

    fn attempt(&mut self, lease: Lease) {
        let (pool, slots, held) = self.place();
        let attempt = Attempt { pool, handler: self.handlers[self.door].clone(), slots, held, quit: self.quit() };
        let hold = self.seat.hold();
        self.work.spawn(async move {
            let _hold = hold;
            attempt.run(lease).await
        });
    }

    fn answer(&mut self, incoming: Incoming) {
        let wanted = &incoming.message.capability;
        let Some(door) = self.pool.doors.iter().position(|door| door.capability == *wanted) else {
            let why = format!("agent {} does not serve {wanted}", self.pool.name);
            incoming.refuse(Reason::NoRecipient, &why);
            return;
        };
        let (pool, slots, held) = self.place();
        let answering = Answering { pool, handler: self.handlers[door].clone(), slots, held, quit: self.quit() };
        let hold = self.seat.hold();
        self.work.spawn(async move {
            let _hold = hold;
            answering.run(incoming).await
        });
    }

    fn place(&self) -> (Arc<Pool>, Arc<Slots>, Option<Permit>) {
        (self.pool.clone(), self.slots.clone(), self.slots.try_take())
    }

    fn quit(&self) -> watch::Receiver<Quit> {
        self.pool.hub.quit.subscribe()
    }

    fn ended(&self, done: Result<Option<String>, tokio::task::JoinError>) {
        if let Ok(Some(reason)) = done {
            // Refused only when the cell has ended already.
            let _ = self.cell.cast(CellMsg::Rebuild(reason));
        }
    }
}

/// Says that the agent is available: at its start, and whenever a slot frees after none was.
async fn announce(pool: Arc<Pool>, slots: Arc<Slots>, mut quit: watch::Receiver<Quit>) {
    let rounds = async {
        loop {
            let said = Instant::now();
            if let Some(Err(error)) = pool.hub.broker.events.publish(vec![pool.available()]).await.pop() {
                tracing::debug!(%error, "agent.available was not recorded");
            }
            slots.until_full().await;
            slots.until_free().await;
            tokio::time::sleep_until(said + AVAILABLE_EVERY).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        _ = quit.wait_for(|quit| *quit != Quit::No) => {}
    }
}

/// Hands one topic's broadcasts to the agent, one after the other. A failure or panic ends that one.
async fn hear(pool: Arc<Pool>, hearing: Hearing, mut quit: watch::Receiver<Quit>) {
    let mut subscription = pool.hub.broker.messages.subscribe(&hearing.topic, &pool.name);
    loop {
        let heard = tokio::select! {
            heard = subscription.next() => heard,
            _ = quit.wait_for(|quit| *quit != Quit::No) => return,
        };
        let broadcast = match heard {
            Ok(broadcast) => broadcast,
            Err(error) => {
                tracing::warn!(%error, topic = &*hearing.topic, "broadcasts were missed");
                continue;
            }
        };
        let facts = pool.facts_of_broadcast(Instant::now());
        let grants = Grants::new(&facts, pool.grants.clone());
        let deadline = facts.deadline;
        let host = RequestHost::new(pool.hub.clone(), facts, grants, None, Vec::new());
        let heard = CatchPanic::new((hearing.hear)(Context::new(host.clone()), broadcast.body));
        match tokio::time::timeout_at(deadline, heard).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(failure))) => tracing::info!(%failure, topic = &*hearing.topic, "a broadcast came to nothing"),
            Ok(Err(panic)) => tracing::warn!(panic, topic = &*hearing.topic, "a broadcast came to nothing"),
            Err(_) => tracing::info!(topic = &*hearing.topic, "a broadcast took too long"),
        }
        host.end(callboard_broker::error::Error::Cancelled { by: "the runtime: the broadcast has been heard".into() });
    }
}
