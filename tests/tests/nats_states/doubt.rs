//! A write whose answer is lost: sent again, it meets itself.

use std::sync::Arc;

use callboard_broker::clock::Clock;
use callboard_broker::error::Error;
use callboard_broker::nats::{Seen, state::StateRoom};
use callboard_broker::payload::Payload;
use callboard_broker::state::{Expect, Key, Put, States, Write};
use callboard_tests::nats::{Direction, Proxy};
use serde_json::json;

use super::{Real, connect_to};

fn write(expect: Expect, value: Option<u64>) -> Write {
    let value = value.map(|value| json!(value).into());
    Write { key: Key::parse("global.a").unwrap(), expect, value, by: "w".into(), task: None }
}

/// Puts through a line that loses the answer, while `between` happens on the server after it was stored.
async fn put_without_answer(real: &Real, write: Write, between: Option<Write>) -> Put {
    let proxy = Proxy::to(&real.server.address());
    let link = connect_to(proxy.url(), Clock::system()).await;
    let room = StateRoom::new(link, Arc::new(Seen::default()));
    let before = real.broker.states.history(write.key.clone()).await.unwrap().len();
    proxy.cut_one_way(Direction::Down);
    let key = write.key.clone();
    let put = tokio::spawn(async move { room.put(vec![write]).await.remove(0).unwrap() });
    while real.broker.states.history(key.clone()).await.unwrap().len() == before {
        tokio::task::yield_now().await;
    }
    if let Some(between) = between {
        assert!(matches!(real.broker.states.put(vec![between]).await[0], Ok(Put::Applied(_))));
    }
    proxy.disconnect();
    proxy.heal();
    put.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_meets_itself_was_applied_once() {
    let real = Real::start().await;
    assert_eq!(put_without_answer(&real, write(Expect::Version(0), Some(1)), None).await, Put::Applied(1));
    assert_eq!(put_without_answer(&real, write(Expect::Version(1), Some(2)), None).await, Put::Applied(2));
    assert_eq!(put_without_answer(&real, write(Expect::Any, Some(3)), None).await, Put::Applied(3));
    // Also when somebody else has written since.
    let after = |version| Some(write(Expect::Version(version), Some(9)));
    assert_eq!(put_without_answer(&real, write(Expect::Version(3), Some(4)), after(4)).await, Put::Applied(4));
    assert_eq!(put_without_answer(&real, write(Expect::Any, Some(6)), after(6)).await, Put::Applied(6));
    let history = real.broker.states.history(Key::parse("global.a").unwrap()).await.unwrap();
    let values: Vec<u64> = history.iter().map(|change| change.value.as_ref().unwrap().read().unwrap()).collect();
    assert_eq!(values, [1, 2, 3, 4, 9, 6, 9], "each once");
}

#[tokio::test]
async fn what_the_server_would_not_take_is_refused_at_once() {
    let real = Real::start().await;
    let large = Write { value: Some(Payload::of("x".repeat(1 << 20))), ..write(Expect::Any, None) };
    let refused = real.broker.states.put(vec![large]).await.remove(0);
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}
