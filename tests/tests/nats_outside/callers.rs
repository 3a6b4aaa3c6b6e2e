//! A whole node: what becomes of a task whose caller has gone, and what cannot be offered.

use std::sync::Arc;
use std::time::Duration;

use callboard::config::Config;
use callboard::human::{CALLER, Question};
use callboard::{Capability, Context, Error, Node, diag};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::Status;
use callboard_broker::tasks::TaskFilter;
use callboard_tests::nats::Server;
use serde_json::Value;
use tokio::sync::Notify;

const SLOW: Capability<String, (String, u32)> = Capability::new("test.slow");
const ORDER: Capability<String, String> = Capability::new("test.order");
const PATIENCE: Duration = Duration::from_secs(60);

fn public(server: Option<&Server>, name: &str) -> Config {
    let mut config = Config { public: vec![CapabilityName::parse(name).unwrap()], ..Config::default() };
    config.broker.servers = server.map(Server::url).into_iter().collect();
    config.name = Some("a".into());
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_any_more_is_cancelled() {
    let server = Server::start();
    let node = Node::configured(public(Some(&server), "diag.echo")).serve(diag::echo()).start().await.unwrap();
    let mut events = node.events().await.unwrap();
    let mut caller = server.wire();
    caller.subscribe("mine").unwrap();
    // Its second attempt is told, when nobody hears it.
    let request = br#"{"text": "x", "delay_ms": 1000, "fail_times": 9}"#;
    let envelope = serde_json::json!({ "prompt": String::from_utf8_lossy(request) }).to_string();
    caller.publish_with_reply("agents.prompt.callboard.local.diag-echo", "mine", envelope.as_bytes()).unwrap();
    let ack = caller.receive().unwrap();
    assert!(String::from_utf8_lossy(&ack.payload).contains("ack"), "{ack:?}");
    let ended = async {
        let mut caller = Some(caller);
        loop {
            let event = events.next().await.unwrap().unwrap();
            match event.kind.as_str() {
                "task.started" => drop(caller.take()),
                "task.cancelled" => return,
                "task.failed" | "task.completed" | "task.expired" => panic!("{event:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    let tasks = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    assert_eq!(tasks.iter().map(|view| view.status).collect::<Vec<_>>(), [Status::Cancelled]);
    assert!(tasks[0].task.deadline <= tasks[0].task.created_at + 9 * 60 * 1000, "it would have ended by itself too");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_answers_what_it_was_prompted() {
    let server = Server::start();
    // A task that was claimed and not yet begun would be handed back.
    let begun = Arc::new(Notify::new());
    let slow = SLOW.by_fn({
        let begun = begun.clone();
        move |ctx: Context, text: String| {
            let begun = begun.clone();
            async move {
                begun.notify_one();
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok((text, ctx.attempt()))
            }
        }
    });
    let node = Node::configured(public(Some(&server), "test.slow")).serve(slow).start().await.unwrap();
    let mut caller = server.wire();
    caller.subscribe("mine").unwrap();
    let envelope = serde_json::json!({ "prompt": "x" }).to_string();
    caller.publish_with_reply("agents.prompt.callboard.local.test-slow", "mine", envelope.as_bytes()).unwrap();
    tokio::time::timeout(PATIENCE, begun.notified()).await.unwrap();
    node.shutdown().await.unwrap();
    let mut said = Vec::new();
    while said.last().is_none_or(|one: &String| !one.is_empty()) {
        said.push(String::from_utf8(caller.receive().unwrap().payload).unwrap());
    }
    let answer: Value = serde_json::from_str(&said[said.len() - 2]).unwrap();
    assert_eq!(answer["data"], r#"["x",1]"#, "{said:?}");
}

/// Once an answer that could not be read ended the asking, and the work waited for one in the inbox until its deadline.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_an_answer_that_cannot_be_read_is_asked_again() {
    let server = Server::start();
    let order = ORDER.by_fn(|ctx: Context, what: String| async move {
        let colour: String = ctx.human(Question::new("which colour?")).queue(CALLER).await?;
        Ok(format!("{what}: {colour}"))
    });
    let node = Node::configured(public(Some(&server), "test.order")).serve(order).start().await.unwrap();
    let mut caller = server.wire();
    caller.set_patience(PATIENCE).unwrap();
    caller.subscribe("mine").unwrap();
    caller.publish_with_reply("agents.prompt.callboard.local.test-order", "mine", b"a lamp").unwrap();
    let mut answers = ["", r#"{"prompt": "#, "red"].into_iter();
    let (mut asked, mut answer) = (Vec::new(), None);
    while answer.is_none() {
        let said: Value = serde_json::from_slice(&caller.receive().unwrap().payload).unwrap();
        match said["type"].as_str() {
            Some("query") => {
                asked.push(said["data"]["prompt"].as_str().unwrap().to_owned());
                let reply = said["data"]["reply_subject"].as_str().unwrap();
                caller.publish(reply, answers.next().expect("asked thrice at most").as_bytes()).unwrap();
            }
            Some("response") => answer = Some(said["data"].clone()),
            _ => {}
        }
    }
    assert_eq!(answer.unwrap(), "a lamp: red");
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[1].starts_with("the answer cannot be read: ") && asked[1].ends_with("which colour?"), "{asked:?}");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_offered_is_told_at_the_start() {
    let server = Server::start();
    for (config, why) in
        [(public(None, "diag.echo"), "needs a broker"), (public(Some(&server), "executive"), "does not serve")]
    {
        let refused = Node::configured(config).serve(diag::echo()).start().await;
        let Err(Error::Config(problems)) = refused else { panic!("{refused:?}") };
        assert!(problems.to_string().contains(why), "{problems}");
    }
}
