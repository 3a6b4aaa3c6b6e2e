use std::time::{Duration, Instant};

use callboard::json;
use callboard_tests::python;

use crate::{call, node, text};

/// How long a server may take to get as far as it must.
const PATIENCE: Duration = Duration::from_secs(60);

/// The table of the server that dies to order.
fn server(more: &str) -> String {
    let script = python::script("tests/python/mcp_server.py");
    format!("[mcp.test]\ncommand = [\"python3\", \"{}\"]\n{more}", script.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_of_a_call_is_started_again_and_the_call_ends() {
    let node = node(&server("")).await;
    let first = text(&node, "test.pid", json!({})).await;
    let dead = call(&node, "test.die", json!({})).await.unwrap_err();
    assert!(dead.to_string().contains("ended before it had answered"), "{dead}");
    let second = again(&node).await;
    assert_ne!(first, second);
    // From outside, while a call is under way.
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    let (asking, arguments) = (node.clone(), json!({ "text": begun }));
    let slow = tokio::spawn(async move { call(&asking, "test.slow", arguments).await });
    let under_way = async {
        while !begun.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, under_way).await.expect("the call gets to the server");
    let killed = std::process::Command::new("kill").args(["-9", &second]).status().expect("kill runs");
    assert!(killed.success());
    let began = Instant::now();
    let ended = slow.await.expect("it does not panic");
    assert!(ended.is_err() && began.elapsed() < Duration::from_secs(20), "{ended:?} after {:?}", began.elapsed());
    assert_ne!(again(&node).await, second);
    node.shutdown().await.unwrap();
}

/// The process of the server, once it is there again.
async fn again(node: &callboard::Node) -> String {
    let again = async {
        loop {
            if let Ok(done) = call(node, "test.pid", json!({})).await {
                return done["text"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the server is started again")
}

/// A call that is given up after two seconds.
async fn late(node: &callboard::Node, tool: &str) {
    let late = call(node, tool, json!({})).await.unwrap_err();
    assert!(late.to_string().contains("longer than"), "{tool}: {late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_alive_and_answers_nothing_is_started_again() {
    // Its calls ended with their time, and nobody looked at the server.
    let node = node(&server("timeout = \"2s\"\n")).await;
    let first = text(&node, "test.pid", json!({})).await;
    let stopped = std::process::Command::new("kill").args(["-STOP", &first]).status().expect("kill runs");
    assert!(stopped.success());
    tokio::join!(late(&node, "test.echo"), late(&node, "test.echo"), late(&node, "test.echo"));
    assert_ne!(again(&node).await, first);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_calls_take_too_long_is_left_alone_when_it_says_that_it_is_there() {
    let node = node(&server("timeout = \"2s\"\n")).await;
    let first = text(&node, "test.pid", json!({})).await;
    tokio::join!(late(&node, "test.mute"), late(&node, "test.mute"));
    assert_eq!(text(&node, "test.pid", json!({})).await, first, "an answer begins the count anew");
    late(&node, "test.mute").await;
    assert_eq!(text(&node, "test.pings", json!({})).await, "0");
    // Another tool, since the circuit of one that fails so often opens.
    tokio::join!(late(&node, "test.mute_too"), late(&node, "test.mute_too"), late(&node, "test.mute_too"));
    let asked = async {
        while text(&node, "test.pings", json!({})).await == "0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it is asked whether it is there");
    assert_eq!(text(&node, "test.pid", json!({})).await, first);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_is_bounded_and_its_environment_is_its_own() {
    let node = node(&server("env = { OWN = \"1\" }\ntimeout = \"10s\"\nmax_result = 1000\n")).await;
    let large = call(&node, "test.large", json!({})).await.unwrap();
    assert_eq!((large["text"].as_str().map(str::len), &large["cut"]), (Some(1_000), &json!(true)));
    let names = text(&node, "test.env", json!({})).await;
    assert!(names.contains("OWN") && names.contains("PATH") && !names.contains("CARGO"), "{names}");
    let late = call(&node, "test.slow", json!({})).await.unwrap_err();
    assert!(late.to_string().contains("longer than"), "{late}");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_backs_off_and_escalates() {
    let node = node("[mcp.none]\ncommand = [\"false\"]\n").await;
    let none = call(&node, "none.any", json!({})).await.unwrap_err();
    assert!(none.to_string().contains("no such tool"), "{none}");
    let began = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(90), node.clone().until_ended()).await;
    let ended = ended.expect("the node gives up").unwrap_err();
    assert!(began.elapsed() > Duration::from_secs(4), "it waited longer before each start: {:?}", began.elapsed());
    assert!(ended.to_string().contains("mcp"), "{ended}");
}
