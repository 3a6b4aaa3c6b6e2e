//! Work that people approve, edit or reject before it is delegated.

use std::time::Duration;

use super::{Approval, Decision};
use crate::testing::World;
use crate::{Capability, Error, Value, human, json, payload};

/// What is bought, and with what.
#[payload]
#[derive(Debug, PartialEq)]
struct Order {
    article: String,
    euros: u32,
    #[serde(default)]
    with: Vec<Order>,
}

const BUY: Capability<Order, String> = Capability::new("shop.buy");

fn order(euros: u32) -> Order {
    Order { article: "lamp".into(), euros, with: Vec::new() }
}

fn world(answer: impl Fn(Value) -> Result<Value, Error> + Send + Sync + 'static) -> World {
    let bought = |order: Order| Ok(format!("{} for {}", order.article, order.euros));
    World::new().answers(human::queue("finance").unwrap(), answer).answers(BUY, bought)
}

#[tokio::test]
async fn what_is_approved_is_done_and_the_question_shows_what() {
    let world = world(|_| Ok("approve".into()));
    assert_eq!(world.context().delegate(BUY, order(40)).approved_by("finance").await.unwrap(), "lamp for 40");
    let asked = world.asked(human::queue("finance").unwrap()).remove(0);
    assert_eq!(asked["context"]["capability"], "shop.buy");
    assert_eq!(asked["context"]["input"]["euros"], 40);
    assert!(asked["question"].as_str().unwrap().contains("may shop.buy be given this?"));
    assert_eq!(asked["schema"]["oneOf"][1]["properties"]["edit"]["properties"]["euros"]["type"], "integer");
}

#[tokio::test]
async fn what_is_edited_is_done_as_edited() {
    let world = world(|_| Ok(json!({ "edit": { "article": "candle", "euros": 3 } })));
    assert_eq!(world.context().delegate(BUY, order(40)).approved_by("finance").await.unwrap(), "candle for 3");
    assert_eq!(world.asked(BUY), [Order { article: "candle".into(), ..order(3) }], "and only so");
}

#[tokio::test]
async fn an_edit_that_does_not_fit_is_asked_for_again_and_at_last_given_up() {
    let queue = human::queue("finance").unwrap();
    let poor = world(|_| Ok(json!({ "edit": { "euros": "much" } })));
    let error = poor.context().delegate(BUY, order(40)).key("buy").approved_by("finance").await.unwrap_err();
    assert!(error.to_string().contains("3 edits"), "{error}");
    assert_eq!((poor.asked(queue).len(), poor.asked(BUY).len()), (3, 0));
}

#[tokio::test]
async fn what_is_rejected_is_given_to_nobody_and_says_who_said_so() {
    const OTHER: Capability<Order, String> = Capability::new("shop.other");
    let rejecting = || world(|_| Ok(json!({ "reject": "too dear" }))).answers(OTHER, |_| Ok("from another".into()));
    let world = rejecting();
    let error = world.context().delegate(BUY, order(400)).approved_by("finance").or(OTHER).await.unwrap_err();
    let Error::Failed { to, failure } = error else { panic!("{error}") };
    assert_eq!((&*to, failure.code.as_str()), ("shop.buy", callboard_broker::code::REJECTED));
    assert!(failure.message.starts_with("rejected by ") && failure.message.ends_with(": too dear"), "{failure:?}");
    assert!(world.asked(BUY).is_empty() && world.asked(OTHER).is_empty());
    let world = rejecting();
    let skipped = world.context().delegate(BUY, order(400)).approved_by("finance").or_skip("nothing".into());
    let reply = skipped.full().await.unwrap();
    assert_eq!(reply.value, "nothing");
    assert!(reply.degraded.unwrap().contains("done without"));
}

#[tokio::test]
async fn silence_means_what_was_declared() {
    let silent = || world(|_| Err(Error::Expired)).answers(human::queue("boss").unwrap(), |_| Ok("approve".into()));
    let of = |approval: Approval| async move {
        let world = silent();
        world.context().delegate(BUY, order(1)).approved_by(approval.within(Duration::from_secs(60))).await
    };
    let finance = || Approval::of("finance");
    let Err(Error::Failed { failure, .. }) = of(finance()).await else { panic!("it was done") };
    assert_eq!(failure.message, "not approved: nobody answered within 60 s");
    assert_eq!(of(finance().or(&Decision::Approve)).await.unwrap(), "lamp for 1");
    let Err(Error::Failed { failure, .. }) = of(finance().or(&Decision::Reject("late".into()))).await else { panic!() };
    assert_eq!(failure.message, "rejected by default: late");
    assert_eq!(of(finance().or_escalate("boss")).await.unwrap(), "lamp for 1");
}
