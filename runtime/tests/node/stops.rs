//! Draining, killing, going on elsewhere.

use std::time::Duration;

use callboard::Node;

use crate::kit::*;

on_both_wings! {
    draining_hands_back_what_cannot_finish_and_another_node_goes_on,
    two_nodes_in_one_process_do_not_collide,
}

async fn draining_hands_back_what_cannot_finish_and_another_node_goes_on(wing: &Wing) {
    let broker = wing.broker();
    let first = Node::over(broker.clone()).name("first").serve(WAIT.by_fn(wait)).start().await.unwrap();
    let run = first.submit(WAIT, 30_000).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.shutdown().await.unwrap();
    let second = Node::over(broker).name("second").serve(WAIT.by_fn(wait)).start().await.unwrap();
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value, reply.attempt), (30_000, 1), "a drain costs no attempt");
    second.shutdown().await.unwrap();
}

async fn two_nodes_in_one_process_do_not_collide(wing: &Wing) {
    let make = |tag: &'static str| {
        let service = SHOUT.by_fn(move |_ctx, text: String| async move { Ok(format!("{tag} {text}")) });
        Node::over(wing.open(tag)).name("same").serve(service).start()
    };
    let (one, two) = (make("one").await.unwrap(), make("two").await.unwrap());
    assert_eq!(one.ask(SHOUT, "x".into()).await.unwrap(), "one x");
    assert_eq!(two.ask(SHOUT, "x".into()).await.unwrap(), "two x");
    one.shutdown().await.unwrap();
    assert_eq!(two.ask(SHOUT, "x".into()).await.unwrap(), "two x");
}
