//! What one node sees of a capability that fails all the time, another knows within a second.

use std::time::Duration;

use callboard::{Capability, Context, Failure, Node};
use callboard_tests::bounds::within;
use callboard_tests::nats::Server;
use tokio::time::{Instant, timeout};

const ASK: Capability<u32, u32> = Capability::new("test.ask");
const ELSE: Capability<u32, u32> = Capability::new("test.else");
const FIRST: Capability<u32, u32> = Capability::new("test.first");

#[tokio::test]
async fn a_breaker_that_one_node_opened_is_open_on_another_within_a_second() {
    let server = Server::start();
    let first = FIRST.by_fn(|_ctx: Context, _: u32| async { Err::<u32, _>(Failure::transient("away")) });
    let asking = ASK.by_fn(|ctx: Context, n: u32| async move { Ok(ctx.ask(FIRST, n).await?) });
    let one = Node::on(server.url()).name("one").serve(first).serve(asking).start().await.unwrap();
    // Looks without asking: each ask of its own would be one more failure, which it could count itself.
    let looking = ELSE.by_fn(|ctx: Context, _: u32| async move {
        let admitted = ctx.host().admits(&FIRST.id()).await;
        Ok(u32::from(admitted.is_ok()))
    });
    let two = Node::on(server.url()).name("two").serve(looking).start().await.unwrap();
    assert_eq!(two.ask(ELSE, 1).await.unwrap(), 1);
    for _ in 0..5 {
        assert!(one.ask(ASK, 1).await.is_err());
    }
    let opened = Instant::now();
    let closed = async {
        while two.ask(ELSE, 1).await.unwrap() == 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), closed).await.expect("the other node comes to know");
    within("until the other node knows", opened.elapsed(), Duration::from_secs(1));
    two.shutdown().await.unwrap();
    one.shutdown().await.unwrap();
}
