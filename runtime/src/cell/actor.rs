//! One cell as an actor: a mailbox that always answers, and the work in tasks that the actor owns.
//!
//! User code never runs on the actor's own loop. Each queue has a *pump* that runs what comes in a set of its own; the
//! actor owns the pumps. So a panic ends one request, a kill takes all work along, and an orderly stop waits for it.

use std::sync::Arc;

use callboard_agents::Failure;
use callboard_agents::service::Handler;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;

use super::bulk::Bulk;
use super::heart::Charges;
use super::pool::{Figures, Open, Pool};
use super::pump::Pump;
use super::quit::{Quit, Teller};
use super::slot::Slots;
use super::voice;
use crate::tree::{Fault, StartCtx};

/// How long a cell that is to be rebuilt waits for its own tasks to be gone.
const REBUILD: std::time::Duration = std::time::Duration::from_secs(1);

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
    quit: Teller,
    _open: Open,
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
        let quit = Teller::default();
        let open = Open::new(&pool, n);
        let bulk = Bulk::new(pool.room.clone(), {
            let pool = pool.clone();
            move || pool.allowed_bulk(n)
        });
        let slots = Slots::new(pool.options.concurrency, bulk);
        let mut pumps = JoinSet::new();
        let pump = || Pump {
            pool: pool.clone(),
            handlers: handlers.clone(),
            slots: slots.clone(),
            quit: quit.told(),
            cell: myself.clone(),
            seat: seat.clone(),
            charges: Charges::new(&pool.hub),
            work: JoinSet::new(),
        };
        for (door, inbox) in pool.inboxes.iter().enumerate() {
            pumps.spawn(pump().tasks(door));
            pumps.spawn(pump().messages(inbox.clone()));
        }
        pumps.spawn(pump().messages(pool.by_name.clone()));
        pumps.spawn(voice::announce(pool.clone(), slots.clone(), quit.told()));
        // One cell hears for all of its pool.
        for hearing in pool.options.hears.iter().filter(|_| n == 1) {
            let subscription = pool.hub.broker.messages.subscribe(&hearing.topic, &pool.name);
            pumps.spawn(voice::hear(pool.clone(), hearing.clone(), subscription, quit.told()));
        }
        Ok(Working { pumps, quit, _open: open })
    }

    async fn handle(
        &self,
        _myself: ActorRef<CellMsg>,
        message: CellMsg,
        state: &mut Working,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CellMsg::Rebuild(reason) => {
                // Gone before the supervisor hears of it, or the old agent might still take what the new one is for.
                let _ = tokio::time::timeout(REBUILD, state.pumps.shutdown()).await;
                Err(reason.into())
            }
        }
    }

    /// Takes nothing new and waits for what is at work; the supervisor's shutdown time is the limit.
    async fn post_stop(&self, _myself: ActorRef<CellMsg>, state: &mut Working) -> Result<(), ActorProcessingErr> {
        state.quit.tell(Quit::Finish);
        while state.pumps.join_next().await.is_some() {}
        Ok(())
    }
}
