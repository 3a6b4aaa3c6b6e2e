//! What a cell says of itself, and what it hears that is said to all.

use std::sync::Arc;

use callboard_agents::Context;
use callboard_agents::service::Hearing;
use callboard_broker::error::Error;
use callboard_broker::messages::{Broadcast, Subscription};
use tokio::time::{Duration, Instant};

use super::catch::CatchPanic;
use super::chain::Chain;
use super::grants::Grants;
use super::host::RequestHost;
use super::pool::Pool;
use super::quit::{Quit, Told};
use super::slot::Slots;
use crate::telemetry;

/// The most `agent.available` events of one cell: one a second.
const AVAILABLE_EVERY: Duration = Duration::from_secs(1);

/// Says that the agent is available: at its start, and whenever a slot frees after none was.
pub(super) async fn announce(pool: Arc<Pool>, slots: Arc<Slots>, quit: Told) {
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
        biased;
        () = rounds => {}
        () = quit.until(Quit::Finish) => {}
    }
}

/// Hands the broadcasts of one topic to the agent, one after the other.
pub(super) async fn hear(pool: Arc<Pool>, hearing: Hearing, mut subscription: Box<dyn Subscription>, quit: Told) {
    loop {
        let heard = tokio::select! {
            biased;
            heard = subscription.next() => heard,
            () = quit.until(Quit::Finish) => return,
        };
        match heard {
            Ok(broadcast) => take(&pool, &hearing, broadcast).await,
            Err(error) => {
                if let Error::Lagged { missed } = error {
                    telemetry::missed(pool.hub.name.as_str(), missed);
                }
                tracing::warn!(%error, topic = &*hearing.topic, "broadcasts were missed");
            }
        }
    }
}

/// One broadcast. A failure or panic of the agent ends this one.
async fn take(pool: &Arc<Pool>, hearing: &Hearing, broadcast: Broadcast) {
    let facts = pool.facts_of_broadcast(Instant::now());
    let grants = Grants::new(&facts, pool.grants.clone());
    let deadline = facts.deadline;
    let host = RequestHost::new(pool.hub.clone(), facts, grants, None, Chain::default(), None);
    let context = Context::new(host.clone());
    context.taint("broadcast");
    let heard = CatchPanic::new(async move { (hearing.hear)(context, broadcast.body).await });
    match tokio::time::timeout_at(deadline, heard).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(failure))) => tracing::info!(%failure, topic = &*hearing.topic, "a broadcast came to nothing"),
        Ok(Err(panic)) => tracing::warn!(panic, topic = &*hearing.topic, "a broadcast came to nothing"),
        Err(_) => tracing::info!(topic = &*hearing.topic, "a broadcast took too long"),
    }
    host.end(Error::Cancelled { by: "the runtime: the broadcast has been heard".into() });
}
