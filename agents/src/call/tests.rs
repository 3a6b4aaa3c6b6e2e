//! What the options of a call put into it.

use std::time::Duration;

use callboard_broker::messages::Address;
use callboard_broker::task::Retry;

use crate::Capability;
use crate::testing::World;

const COUNT: Capability<String, u32> = Capability::new("text.count");

#[test]
fn options_reach_the_order_and_everything_else_stays_at_its_default() {
    let ctx = World::new().context();
    let secs = Duration::from_secs;
    let order = ctx.delegate(COUNT, "a".into()).key("k").deadline(secs(9)).timeout(secs(3)).describe("count").order;
    assert_eq!((order.key.as_deref(), order.description.as_deref()), (Some("k"), Some("count")));
    assert_eq!((order.deadline, order.timeout, order.retry), (Some(secs(9)), Some(secs(3)), None));
    let order = ctx.delegate(COUNT, "a".into()).retry(0).order;
    assert_eq!(order.retry, Some(Retry { attempts: 1, ..Retry::default() }), "there is always one attempt");
    assert_eq!((order.key, order.deadline, order.timeout, order.skipped), (None, None, None, None));
}

#[test]
fn an_ask_goes_to_a_capability_unless_an_agent_is_named() {
    let ctx = World::new().context();
    let plain = ctx.ask(COUNT, "a".into()).call;
    assert_eq!((plain.to, plain.deadline), (Address::Capability(COUNT.id()), None));
    let named = ctx.ask(COUNT, "a".into()).to_agent("second").deadline(Duration::from_secs(1)).call;
    assert_eq!((named.to, named.deadline), (Address::Agent("second".into()), Some(Duration::from_secs(1))));
    assert_eq!(named.capability, COUNT.id());
    let told = format!("{:?}", ctx.tell(COUNT, "a".into()).to_agent("second"));
    assert_eq!(told, "Tell(agent second)");
}
