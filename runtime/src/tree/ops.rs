//! The two things a supervisor does that take time, each with an end: starting a child and stopping one.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorCell, ActorRef};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::child::Seat;
use super::exit::{ExitReason, SHUTDOWN, clip};
use super::node::Node;
use super::spec::{Kind, Shutdown, StartFuture};
use super::supervisor::SupMsg;

/// Runs a start, in a task of its own so that one that never yields cannot outwit its limit. Whatever way it fails,
/// nothing of it is left running, or it is reported as a zombie. Dropping the future aborts the task.
pub(crate) async fn start(
    start: StartFuture,
    limit: Duration,
    seat: Seat,
    node: Arc<Node>,
    kill_wait: Duration,
) -> Result<(), ExitReason> {
    let mut task = JoinSet::new();
    let hold = seat.hold();
    task.spawn(async move {
        let result = start.await;
        drop(hold);
        result
    });
    let failure = match timeout(limit, task.join_next()).await {
        Ok(Some(Ok(Ok(())))) if seat.actor().is_some() => return Ok(()),
        Ok(Some(Ok(Ok(())))) | Ok(None) => ExitReason::StartFailed("the start function started no actor".into()),
        Ok(Some(Ok(Err(fault)))) => ExitReason::of_error(fault).into_start_failed(),
        Ok(Some(Err(error))) => crashed(error).into_start_failed(),
        Err(_) => ExitReason::StartFailed(format!("not started within {limit:?}")),
    };
    task.abort_all();
    stop(&seat, Shutdown::BrutalKill, &node, kill_wait).await;
    Err(failure)
}

/// Ends an incarnation within its shutdown time, or kills it; what is not gone `kill_wait` after that is a zombie.
pub(crate) async fn stop(seat: &Seat, how: Shutdown, node: &Arc<Node>, kill_wait: Duration) -> ExitReason {
    let actor = seat.close();
    let in_time = match &actor {
        Some(actor) => asked_to_stop(actor, how, node.kind()).await,
        None => true,
    };
    if let Some(actor) = actor.as_ref().filter(|_| !in_time) {
        actor.kill();
    }
    if timeout(kill_wait, gone(actor.clone(), seat.clone())).await.is_err() {
        node.zombie(true, gone(actor, seat.clone()));
        return ExitReason::Killed;
    }
    if in_time { ExitReason::Shutdown } else { ExitReason::Killed }
}

/// Sees to it that nothing of an incarnation that ended by itself goes on for longer than `kill_wait` unreported.
pub(crate) async fn clear(seat: Seat, node: Arc<Node>, kill_wait: Duration) {
    if timeout(kill_wait, seat.vacated()).await.is_err() {
        node.zombie(false, async move { seat.vacated().await });
    }
}

async fn gone(actor: Option<ActorCell>, seat: Seat) {
    if let Some(actor) = actor {
        // Without a limit, the wait has no other end than the actor's.
        let _ = actor.wait(None).await;
    }
    seat.vacated().await;
}

/// A supervisor is asked by message, because it has to stop its children first and must answer meanwhile.
async fn asked_to_stop(actor: &ActorCell, how: Shutdown, kind: Kind) -> bool {
    let limit = match how {
        Shutdown::BrutalKill => return false,
        Shutdown::Timeout(limit) => Some(limit),
        Shutdown::Infinity => None,
    };
    match kind {
        Kind::Worker => actor.stop(Some(SHUTDOWN.into())),
        Kind::Supervisor => {
            // Refused only by one that is ending already.
            let _ = ActorRef::<SupMsg>::from(actor.clone()).send_message(SupMsg::Shutdown);
        }
    }
    actor.wait(limit).await.is_ok()
}

/// A task that did not return, as a reason: it panicked, or it was aborted.
pub(crate) fn crashed(error: JoinError) -> ExitReason {
    let Ok(panic) = error.try_into_panic() else { return ExitReason::Killed };
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    ExitReason::Panic(clip(text.unwrap_or("a panic without a message").to_owned()))
}
