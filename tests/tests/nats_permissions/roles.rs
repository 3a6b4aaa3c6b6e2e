//! What the roles are for: each does its work with what it may, in the presence of the real streams.

use std::process::Command;

use callboard_broker::nats::{Layout, Made, provision};
use callboard_tests::nats::Refused;
use serde_json::{Value, json};

use super::table::ROLES;
use super::{deployed, link, role, server, wire};

const NOTHING: Value = Value::Null;

fn consumer(capability: &str, priority: &str, filter: &str) -> (String, Value) {
    let name = format!("cap-{capability}-{priority}");
    let config = json!({"name": name, "durable_name": name, "filter_subject": filter, "ack_policy": "explicit"});
    let subject = format!("$JS.API.CONSUMER.CREATE.CB_TASKS.{name}.cb.v1.task.{capability}.{priority}.*");
    (subject, json!({"stream_name": "CB_TASKS", "config": config}))
}

#[tokio::test]
async fn deploy_makes_everything_and_reads_nothing() {
    let server = server();
    let deploy = link(&server, "deploy").await;
    let report = provision::provision(&deploy, &Layout::default()).await.unwrap();
    assert!(report.streams.iter().all(|(_, made)| *made == Made::Created), "{report:?}");
    let again = provision::provision(&deploy, &Layout::default()).await.unwrap();
    assert!(again.streams.iter().all(|(_, made)| *made == Made::Unchanged), "{again:?}");
    let read = wire(&server, "deploy").ask("$JS.API.STREAM.MSG.GET.CB_RUNS", &json!({"seq": 1}));
    assert!(matches!(read, Err(Refused::Denied(_))), "{read:?}");
    let node = provision::provision(&link(&server, "a").await, &Layout { max_tasks: 5, ..Layout::default() }).await;
    assert!(matches!(node, Err(callboard_broker::error::Error::Denied { .. })), "{node:?}");
}

#[tokio::test]
async fn a_node_makes_its_own_queues_and_works() {
    let server = server();
    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    let (mut node, mut client) = (wire(&server, "a"), wire(&server, "client"));
    let (subject, config) = consumer("diag-echo", "normal", "cb.v1.task.diag-echo.normal.*");
    assert_eq!(node.ask(&subject, &config).unwrap()["name"], "cap-diag-echo-normal");

    assert_eq!(client.ask("cb.v1.task.diag-echo.normal.t1", &json!({"input": {"text": "x"}})).unwrap()["seq"], 1);
    let pull = json!({"batch": 1, "expires": 2_000_000_000_u64});
    let next = "$JS.API.CONSUMER.MSG.NEXT.CB_TASKS.cap-diag-echo-normal";
    let task = node.request(next, pull.to_string().as_bytes()).unwrap();
    assert_eq!(task.subject, "cb.v1.task.diag-echo.normal.t1");
    assert!(node.ask("cb.v1.run.t1.t1.completed", &json!({"status": "completed"})).unwrap()["seq"].is_number());
    node.request(&task.reply.unwrap(), b"+ACK").unwrap();
    let left = client.ask("$JS.API.STREAM.INFO.CB_TASKS", &NOTHING).unwrap();
    assert_eq!(left["state"]["messages"], 0, "{left}");
    let outcome = client.ask("$JS.API.STREAM.MSG.GET.CB_RUNS", &json!({"last_by_subj": "cb.v1.run.t1.t1.*"})).unwrap();
    assert_eq!(outcome["message"]["subject"], "cb.v1.run.t1.t1.completed");
}

/// The subject of the request names consumer and filter, and the server holds the configuration to it.
#[tokio::test]
async fn a_node_cannot_make_a_queue_that_takes_from_others() {
    let server = server();
    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    let mut node = wire(&server, "a");
    for wider in ["cb.v1.task.>", "cb.v1.task.billing-refund.normal.*", "cb.v1.task.*.normal.*"] {
        let (subject, config) = consumer("diag-echo", "normal", wider);
        assert!(node.ask(&subject, &config).unwrap()["error"].is_object(), "{wider}");
    }
    let (subject, mut config) = consumer("diag-echo", "normal", "");
    config["config"]["filter_subjects"] = json!(["cb.v1.task.>"]);
    assert!(node.ask(&subject, &config).unwrap()["error"].is_object());
    let (subject, mut config) = consumer("diag-echo", "normal", "cb.v1.task.diag-echo.normal.*");
    config["stream_name"] = "CB_RUNS".into();
    assert!(node.ask(&subject, &config).unwrap()["error"].is_object());
    let made = node.ask("$JS.API.CONSUMER.NAMES.CB_TASKS", &NOTHING).unwrap();
    assert_eq!(made["total"], 0, "{made}");
}

#[tokio::test]
async fn a_node_brings_back_what_a_restart_of_the_server_took_away() {
    let server = server();
    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    server.kill();
    server.restart();
    let mut node = wire(&server, "a");
    assert_eq!(node.ask("$JS.API.STREAM.INFO.KV_cb_nodes", &NOTHING).unwrap()["error"]["code"], 404);
    let config = json!({"name": "KV_cb_nodes", "storage": "memory", "subjects": ["$KV.cb_nodes.>"]});
    assert!(node.ask("$JS.API.STREAM.CREATE.KV_cb_nodes", &config).unwrap()["error"].is_null());
    assert!(node.ask("$KV.cb_nodes.a", &json!({})).unwrap()["seq"].is_number());
    assert!(node.ask("$JS.API.STREAM.INFO.CB_RUNS", &NOTHING).unwrap()["error"].is_null());
}

#[test]
fn a_node_answers_whoever_asked_it_and_nobody_else() {
    let server = server();
    let (mut node, mut client) = (wire(&server, "a"), wire(&server, "client"));
    node.subscribe("cb.v1.req.diag-echo").unwrap();
    client.subscribe("_INBOX_client.>").unwrap();
    let unasked = node.publish("_INBOX_client.1", b"nobody asked");
    assert!(matches!(unasked, Err(Refused::Denied(_))), "{unasked:?}");
    client.publish_with_reply("cb.v1.req.diag-echo", "_INBOX_client.1", b"question").unwrap();
    let asked = node.receive().unwrap();
    node.publish(&asked.reply.unwrap(), b"answer").unwrap();
    assert_eq!(client.receive().unwrap().payload, b"answer");
    let elsewhere = node.publish("_INBOX_client.2", b"nobody asked");
    assert!(matches!(elsewhere, Err(Refused::Denied(_))), "{elsewhere:?}");
}

#[test]
fn a_forged_sender_reaches_nobody() {
    let server = server();
    let (mut a, mut b) = (wire(&server, "a"), wire(&server, "b"));
    b.subscribe("cb.v1.lane.b.>").unwrap();
    for forged in ["cb.v1.lane.b.client", "cb.v1.lane.b.b", "cb.v1.lane.b.nr.a.1.2"] {
        assert!(matches!(a.publish(forged, b"forged"), Err(Refused::Denied(_))), "{forged}");
    }
    a.publish("cb.v1.lane.b.a", b"true").unwrap();
    assert_eq!(b.receive().unwrap().payload, b"true");
}

/// The server does not ask whether somebody may publish where it wants its answer to go. In one account that would be a
/// command to a node, an entry of the state or the outcome of a task, from whoever may ask anything at all.
#[tokio::test]
async fn an_answer_goes_to_nobody_else() {
    let server = server();
    provision::provision(&link(&server, "deploy").await, &Layout::default()).await.unwrap();
    let mut node = wire(&server, "a");
    node.subscribe("cb.v1.ctl.a.drain").unwrap();
    node.subscribe("cb.v1.lane.a.>").unwrap();
    let mut client = wire(&server, "client");
    let stored = json!({"status": "completed"});
    client.ask("cb.v1.run.own.own.submitted", &stored).unwrap();
    let goals = ["cb.v1.ctl.a.drain", "cb.v1.lane.a.b", "$KV.cb_state.forged", "cb.v1.run.t1.t1.completed"];
    let own = json!({"last_by_subj": "cb.v1.run.own.own.submitted"}).to_string();
    for goal in goals {
        client.publish_with_reply("$JS.API.DIRECT.GET.CB_RUNS", goal, own.as_bytes()).unwrap();
        client.publish_with_reply("$JS.API.INFO", goal, b"").unwrap();
        for user in ["observer", "deploy"] {
            wire(&server, user).publish_with_reply("$JS.API.INFO", goal, b"").unwrap();
        }
    }
    // A consumer delivers where its maker says, in the account of its stream: no door keeps that in.
    for user in ["client", "observer"] {
        for stream in ["CB_EVENTS", "CB_RUNS", "KV_cb_state"] {
            let config = json!({"name": "far", "ack_policy": "none", "deliver_subject": "cb.v1.ctl.a.drain"});
            let ask = json!({"stream_name": stream, "config": config});
            let refused = wire(&server, user).ask(&format!("$JS.API.CONSUMER.CREATE.{stream}.far"), &ask);
            assert!(matches!(refused, Err(Refused::Denied(_))), "{user} {stream}: {refused:?}");
        }
    }
    // Behind all of that, and the first that arrives.
    wire(&server, "operator").publish("cb.v1.ctl.a.drain", b"{}").unwrap();
    assert_eq!(node.receive().unwrap().payload, b"{}");
    for (stream, messages) in [("KV_cb_state", 0), ("CB_RUNS", 1)] {
        let info = node.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &NOTHING).unwrap();
        assert_eq!(info["state"]["messages"], messages, "{info}");
    }
    // The control: nodes share an account, and between them it works. They trust one another that far.
    wire(&server, "b").publish_with_reply("$JS.API.INFO", "cb.v1.ctl.a.drain", b"").unwrap();
    assert!(String::from_utf8_lossy(&node.receive().unwrap().payload).contains("account_info_response"));
}

/// What the work of a client needs goes through the doors between accounts: conditional writes, pages of many answers,
/// hints, followers, lanes both ways, and the word that nobody listens.
#[tokio::test]
async fn a_client_works_from_its_own_account() {
    let server = server();
    let deploy = link(&server, "deploy").await;
    provision::provision(&deploy, &Layout::default()).await.unwrap();
    let (mut node, mut client) = (wire(&server, "a"), wire(&server, "client"));

    let hints = client.subscribe("cb.v1.done.r1.*.*").unwrap();
    for n in 1..=3 {
        assert_eq!(client.ask(&format!("cb.v1.run.r1.t{n}.submitted"), &json!({"n": n})).unwrap()["seq"], n);
    }
    for n in 1..=3 {
        let hint = client.receive().unwrap();
        assert_eq!((hint.subject, hint.subscription), (format!("cb.v1.done.r1.t{n}.submitted"), hints));
    }
    client.unsubscribe(hints).unwrap();

    client.subscribe("_INBOX_client.page").unwrap();
    let page = json!({"next_by_subj": "cb.v1.run.r1.*.*", "seq": 1, "batch": 10}).to_string();
    client.publish_with_reply("$JS.API.DIRECT.GET.CB_RUNS", "_INBOX_client.page", page.as_bytes()).unwrap();
    let page: Vec<_> = (0..4).map(|_| client.receive().unwrap()).collect();
    assert!(
        page[..3].iter().all(|m| m.headers.contains("Nats-Sequence")) && page[3].headers.contains("204"),
        "{page:?}"
    );

    let told = client.subscribe("cb.v1.changed.>").unwrap();
    for seq in 1..=2 {
        node.ask("$KV.cb_state.k", &json!("value")).unwrap();
        let hint = client.receive().unwrap();
        assert!(hint.headers.contains(&format!("Nats-Sequence: {seq}\r\n")), "{hint:?}");
    }
    client.unsubscribe(told).unwrap();

    node.subscribe("cb.v1.lane.a.>").unwrap();
    client.subscribe("cb.v1.lane.client.>").unwrap();
    client.publish_with_reply("cb.v1.lane.a.client", "cb.v1.lane.client.nr.a.1.1", b"question").unwrap();
    assert_eq!(node.receive().unwrap().subject, "cb.v1.lane.a.client");
    node.publish("cb.v1.lane.client.a", b"answer").unwrap();
    assert_eq!(client.receive().unwrap().payload, b"answer");
    client.publish_with_reply("cb.v1.lane.b.client", "cb.v1.lane.client.nr.b.2.1", b"question").unwrap();
    let unheard = client.receive().unwrap();
    assert!(unheard.subject == "cb.v1.lane.client.nr.b.2.1" && unheard.headers.contains("503"), "{unheard:?}");
}

/// A permission names subjects and does not look into a configuration, so who may write one reaches further. Receivers
/// can tell: what a consumer delivers keeps the subject that it was stored under, what a stream republishes says so.
#[test]
fn what_arrives_by_a_detour_can_be_told() {
    let server = server();
    let (mut a, mut b) = (wire(&server, "a"), wire(&server, "b"));
    b.subscribe("cb.v1.lane.b.>").unwrap();
    let config = json!({"name": "KV_cb_nodes", "storage": "memory", "subjects": ["$KV.cb_nodes.>"],
        "republish": {"src": "$KV.cb_nodes.a", "dest": "cb.v1.lane.b.client"}});
    assert!(a.ask("$JS.API.STREAM.CREATE.KV_cb_nodes", &config).unwrap()["error"].is_null());
    a.publish("$KV.cb_nodes.a", b"forged").unwrap();
    let forged = b.receive().unwrap();
    assert_eq!(forged.subject, "cb.v1.lane.b.client");
    assert!(forged.headers.contains("Nats-Stream: KV_cb_nodes"), "{forged:?}");

    let tasks = json!({"name": "CB_TASKS", "retention": "workqueue", "subjects": ["cb.v1.task.*.*.*"]});
    assert!(wire(&server, "deploy").ask("$JS.API.STREAM.CREATE.CB_TASKS", &tasks).unwrap()["error"].is_null());
    b.subscribe("cb.v1.ctl.b.drain").unwrap();
    let (subject, mut config) = consumer("diag-echo", "high", "cb.v1.task.diag-echo.high.*");
    config["config"]["deliver_subject"] = "cb.v1.ctl.b.drain".into();
    assert!(a.ask(&subject, &config).unwrap()["error"].is_null());
    a.publish("cb.v1.task.diag-echo.high.t1", b"forged").unwrap();
    assert_eq!(b.receive().unwrap().subject, "cb.v1.task.diag-echo.high.t1");
}

#[test]
fn tenants_do_not_meet_and_only_the_system_sees_the_server() {
    let server = server();
    let mut system = wire(&server, "system");
    let told = system.ask("$SYS.REQ.SERVER.PING.VARZ", &NOTHING);
    // The system account has inboxes of its own, and is limited by nothing.
    let config = &told.unwrap()["data"]["jetstream"]["config"];
    assert_eq!(config["sync_always"], true, "{config}");
    let streams = system.ask("$JS.API.STREAM.NAMES", &NOTHING);
    assert!(!matches!(streams, Ok(answer) if answer["error"].is_null()));
}

#[test]
fn the_files_are_what_the_script_prints() {
    for user in ROLES {
        let file = role(user);
        let (_, arguments) = file.lines().next().unwrap().split_once("deploy/nats/role ").unwrap();
        let printed = Command::new(deployed("role")).args(arguments.split(' ')).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&printed.stdout), file);
    }
}

/// Every node serves `workflow`, so a node that may serve a list of capabilities may serve that too, named or not.
#[test]
fn a_node_may_serve_workflows_whatever_else_it_may() {
    let printed = |capabilities: &[&str]| {
        let said = Command::new(deployed("role")).args(["node", "c"]).args(capabilities).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    for listed in [&["research.web"][..], &["research.web", "workflow"], &["workflow", "research.web"]] {
        let lines = printed(listed);
        for granted in ["NEXT.CB_TASKS.cap-workflow-normal\"", "\"cb.v1.req.workflow\"", "cap-research-web-bulk\""] {
            assert_eq!(lines.matches(granted).count(), 1, "{listed:?}: {granted}");
        }
    }
    // Without a list it may serve all, and no queue is named.
    assert!(!printed(&[]).contains("workflow"));
}

#[test]
fn nobody_may_be_named_so_that_it_gets_more() {
    let refused = |arguments: &[&str]| {
        let said = Command::new(deployed("role")).args(arguments).output().unwrap();
        assert!(!said.status.success() && said.stdout.is_empty(), "{arguments:?}");
    };
    for bad in ["*", ">", "a.b", "a\"", "", "a b"] {
        refused(&["node", bad]);
        refused(&["client", bad]);
    }
    refused(&["node", "c", "research.*"]);
    refused(&["client", "c", "research.web"]);
    refused(&["root", "c"]);
    refused(&["node"]);
}
