//! What our own program tells whoever may not do all: what is in the way, and never that nobody is there.

use std::process::{Command, Output};

use callboard::Node;
use callboard_broker::nats::{Layout, provision};
use callboard_tests::nats::Server;
use callboard_tests::programs;
use serde_json::Value;

use super::prompts::named;
use super::{link, server};

/// Types it as this user.
fn typed(server: &Server, user: &str, words: &[&str]) -> Output {
    let mut command = Command::new(programs::callboard());
    command.args(words).env("CALLBOARD_BROKER", server.url()).env("CALLBOARD_USER", user);
    command.env("CALLBOARD_PASSWORD", format!("secret-{user}")).output().expect("it runs")
}

/// Both streams, as if lines had no end.
fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    both.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn whoever_starts_a_node_too_early_or_under_a_wrong_name_reads_what_to_do() {
    let server = server();
    let refused = |user: &str, words: &[&str], parts: &[&str]| {
        let output = typed(&server, user, words);
        assert_eq!(output.status.code(), Some(3), "{words:?}: {}", said(&output));
        for part in parts {
            assert!(said(&output).contains(part), "{words:?}: no {part} in {}", said(&output));
        }
    };
    let start = ["node", "start", "--name", "a", "--serve", "diag.echo"];
    refused("a", &start, &["CB0004", "streams are missing", "fix: callboard provision, as the user `deploy`"]);
    refused("client", &["node", "ls"], &["CB0004", "streams are missing", "fix: callboard provision, or start a node"]);
    refused("a", &["provision"], &["CB0015", "may not publish on $JS.API.STREAM.CREATE", "of a user who may"]);
    assert!(typed(&server, "deploy", &["provision"]).status.success());
    let other = ["node", "start", "--name", "z", "--serve", "diag.echo"];
    refused("a", &other, &["CB0015", "hear answers under the name z", "fix: set CALLBOARD_NAME"]);
}

/// A client was shown all nodes as silent, and none of their pools and trees.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_who_lives_and_that_it_may_not_ask_them() {
    let server = server();
    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    let node = Node::configured(named(&server, &[])).start().await.unwrap();
    for (user, pid) in [("client", false), ("observer", true)] {
        let output = typed(&server, user, &["node", "ls", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let nodes: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&nodes[0]["node"], &nodes[0]["state"]), (&"a".into(), &"up".into()), "{user}: {text}");
        assert_eq!((nodes[0]["pid"].is_u64(), nodes[0]["error"].is_null()), (pid, pid), "{user}: {text}");
        assert_eq!(text.matches("\"state\"").count(), 1, "{user}: {text}");
    }
    for words in [&["pool", "ls"][..], &["agent", "ls"], &["tree"]] {
        let output = typed(&server, "client", words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", said(&output));
        assert!(said(&output).starts_with("error[CB0015]: this process may not publish on cb.v1.ctl.a."), "{output:?}");
        assert!(typed(&server, "operator", words).status.success(), "{words:?}");
    }
    let doctor = typed(&server, "client", &["doctor"]);
    assert!(
        doctor.status.success() && said(&doctor).contains("dead letters this user may not read them"),
        "{doctor:?}"
    );
    node.shutdown().await.unwrap();
}
