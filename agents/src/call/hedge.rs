//! A second request for the same, when the first one takes long; whoever answers first wins and the other is cancelled.
//!
//! It makes the slowest of many requests faster for a little more work (Dean and Barroso, *The Tail at Scale*, 2013). What
//! is asked for may so be done twice, and is therefore to be a read, or harmless when repeated.

use std::sync::Arc;
use std::time::Duration;

use callboard_broker::error::Result;
use callboard_broker::messages::ASK_DEADLINE;
use callboard_broker::payload::Payload as Body;
use callboard_broker::task::{Entry, Outcome, Status};
use tokio::time::sleep;

use super::live::{Began, Live};
use crate::host::{Answer, Call, Host, Order, Place};

/// The longest wait before the second child of a delegation: whoever waits longer for children may be parked.
pub const MAX_HEDGE: Duration = Duration::from_secs(15);

/// Asks, and asks once more when there is no answer after this time. Both have the deadline of the first. When both fail,
/// the error is that of the first.
pub(super) async fn ask(host: &Arc<dyn Host>, call: Call, after: Duration) -> Result<Answer> {
    let limit = call.deadline.unwrap_or(ASK_DEADLINE);
    let mut first = host.ask(call.clone());
    tokio::select! {
        biased;
        answer = &mut first => return answer,
        () = sleep(after.min(limit)) => {}
    }
    let mut second = host.ask(Call { deadline: Some(limit.saturating_sub(after)), ..call });
    tokio::select! {
        biased;
        answer = &mut first => match answer {
            Ok(answer) => Ok(answer),
            Err(error) => second.await.or(Err(error)),
        },
        answer = &mut second => match answer {
            Ok(answer) => Ok(answer),
            Err(_) => first.await,
        },
    }
}

/// Delegates, and delegates once more when that has not ended after this time; the outcome of the child that is completed
/// first. When neither is, that of the first child.
///
/// That the second was begun is recorded: the loser is cancelled, and a parent that runs again must not take that for the
/// end of what it asked for.
pub(super) async fn child(host: &Arc<dyn Host>, order: Order, after: Duration, began: &Began) -> Result<Outcome> {
    let place = Arc::new(host.place(&order.capability).await?);
    let first = began.delegate(host, order.clone()).await?;
    // Only those who wait for the children keep the place, or it would not be free while nobody polls this future.
    let shared = Arc::downgrade(&place);
    let (live, mut one) = (Live::new(host, first.clone()), host.outcome_in(first.clone(), Place::of(place)));
    let name = format!("hedge.{first}");
    if host.recorded_if_any(&name)?.is_none() {
        tokio::select! {
            biased;
            outcome = &mut one => {
                live.ended();
                return outcome;
            }
            () = sleep(after.min(MAX_HEDGE)) => {}
        }
        host.record(Entry::Step { name, value: Body::from_json("true")?, input: None }).await?;
    }
    let again = Order { key: Some(format!("hedge:{first}")), ..order };
    let Ok(second) = began.delegate(host, again).await else {
        let outcome = one.await;
        live.ended();
        return outcome;
    };
    // None when the first has just ended, and then the second is hardly wanted any more.
    let place = shared.upgrade().map(Place::of).unwrap_or_default();
    let (other, mut two) = (Live::new(host, second.clone()), host.outcome_in(second, place));
    let (ended, first_ended) = tokio::select! {
        biased;
        outcome = &mut one => (outcome, true),
        outcome = &mut two => (outcome, false),
    };
    let is_completed = |outcome: &Result<Outcome>| outcome.as_ref().is_ok_and(|o| o.status == Status::Completed);
    if is_completed(&ended) {
        if first_ended {
            live.ended()
        } else {
            other.ended()
        }
        return ended;
    }
    let rest = if first_ended { two.await } else { one.await };
    live.ended();
    other.ended();
    if is_completed(&rest) || !first_ended { rest } else { ended }
}
