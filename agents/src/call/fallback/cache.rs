use std::time::Duration;

use callboard_broker::clock::Millis;
use callboard_broker::error::Result;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::{Expect, Key, Scope, States, Write};
use callboard_broker::task::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::host::Order;

/// A response that was given before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Earlier {
    /// When.
    pub(super) at: Millis,
    /// What.
    pub(super) response: Value,
}

/// `global.callboard-cache.<capability>.<hash of the input>`.
fn key(order: &Order) -> Result<Key> {
    Ok(Key::new(&Scope::Global, &format!("callboard-cache.{}.{}", order.capability, order.input.content_hash()?))?)
}

/// The newest response to the same work, if it is not older than `max_age`.
pub(super) async fn find(
    states: &dyn States,
    order: &Order,
    max_age: Duration,
    now: Millis,
) -> Result<Option<Earlier>> {
    let Some(entry) = states.get(vec![key(order)?]).await?.pop().flatten() else { return Ok(None) };
    let earlier: Earlier = entry.value.read()?;
    let limit = callboard_broker::clock::millis(max_age);
    Ok(Some(earlier).filter(|earlier| now.saturating_sub(earlier.at) <= limit))
}

/// Leaves a response behind, unless a newer one is there.
pub(super) async fn keep(states: &dyn States, order: &Order, by: &str, outcome: &Outcome) -> Result<()> {
    let key = key(order)?;
    let there = states.get(vec![key.clone()]).await?.pop().flatten();
    let version = there.as_ref().map_or(0, |entry| entry.version);
    let newest = there.and_then(|entry| entry.value.read::<Earlier>().ok()).map_or(0, |earlier| earlier.at);
    if newest >= outcome.finished_at {
        return Ok(());
    }
    let value = Body::of(Earlier { at: outcome.finished_at, response: outcome.output.value()? });
    let expect = Expect::Version(version);
    let write = Write { key, expect, value: Some(value), by: by.to_owned(), task: None };
    // A conflict means that somebody else was quicker with a response as good.
    states.put(vec![write]).await.into_iter().try_for_each(|put| put.map(drop))
}
