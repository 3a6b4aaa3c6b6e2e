//! How durable a broker is: proved from what its servers say on their monitoring ports, refused otherwise, and what nodes
//! make of it. The servers run with the limits of `deploy/nats` as they are, or without them.
#![cfg(unix)]

use std::process::{Command, Output};

use callboard::broker::profile::Profile;
use callboard::{Config as NodeConfig, Error, Node};
use callboard_broker::id::NodeName;
use callboard_broker::nats::{Asked, Durability, Layout, Link, Made, Options, Report, names, provision};
use callboard_tests::nats::{Cluster, Config, Port, Server};
use callboard_tests::programs;
use serde_json::Value;

/// A server whose monitoring port is known.
struct Seen {
    server: Server,
    monitor: String,
    _port: Port,
}

/// What is deployed: every server syncs always.
fn deployed() -> Config {
    Config::file(&programs::root().join("deploy/nats/limits.conf"))
}

fn seen(config: Config) -> Seen {
    let port = Port::reserve();
    let monitor = format!("http://127.0.0.1:{}", port.number());
    let server = Server::with(config.argument("-m").argument(port.number().to_string()));
    Seen { server, monitor, _port: port }
}

async fn link(server: &Server) -> Link {
    let options = Options { servers: vec![server.url()], ..Options::new(NodeName::parse("n").unwrap()) };
    Link::connect(&options).await.unwrap()
}

async fn provisioned(server: &Server, replicas: u32) -> Link {
    let link = link(server).await;
    provision::provision(&link, &Layout { replicas, ..Layout::default() }).await.unwrap();
    link
}

async fn node(server: &Server, asked: Profile) -> Result<Node, Error> {
    let mut config = NodeConfig { name: Some("a".into()), ..NodeConfig::default() };
    (config.broker.servers, config.broker.profile) = (vec![server.url()], Some(asked));
    Node::configured(config).start().await
}

fn refused(proved: Result<Durability, Error>) -> String {
    let Err(Error::Config(problems)) = proved else { panic!("accepted: {proved:?}") };
    assert!(problems.iter().all(|problem| problem.code == "CB0207"), "{problems}");
    // As a whole: what a terminal shows of it is cut to its width.
    problems
        .iter()
        .map(|problem| format!("{} {}\n", problem.what, problem.fix.as_deref().unwrap_or_default()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_deployed_server_says_proves_that_it_is_durable_and_no_more() {
    let Seen { server, monitor, _port } = &seen(deployed().argument("--name").argument("cb-single"));
    let link = provisioned(server, 1).await;
    assert_eq!(provision::durability(&link).await.unwrap().profile, Profile::CrashSafe, "nobody has looked");
    let Err(error) = node(server, Profile::Durable).await else { panic!("it starts without proof") };
    assert_eq!(error.code(), "CB0207", "{error}");

    let monitors = [monitor.clone()];
    let few = refused(provision::prove(&link, Profile::Replicated, &monitors).await);
    assert!(few.contains("1 of 3 copies"), "{few}");
    assert_eq!(provision::durability(&link).await.unwrap().proof, None, "a refusal leaves nothing on record");

    let proved = provision::prove(&link, Profile::Durable, &monitors).await.unwrap();
    assert_eq!((proved.profile, proved.why), (Profile::Durable, None));
    assert!(proved.proof.unwrap().servers.contains("cb-single"));
    let node = node(server, Profile::Durable).await.unwrap();
    assert!(node.broker().about.ends_with("(durable)"), "{}", node.broker().about);
    node.shutdown().await.unwrap();

    // Whoever provisions again, with other bounds, takes no proof away.
    provision::provision(&link, &Layout { max_dead: 7, event_days: 3, ..Layout::default() }).await.unwrap();
    assert_eq!(provision::durability(&link).await.unwrap().profile, Profile::Durable);
    let back = provision::prove(&link, Profile::CrashSafe, &[]).await.unwrap();
    assert_eq!((back.profile, back.proof), (Profile::CrashSafe, None));
}

/// Made with bounds of its operator's own, and of one stream with fewer bytes than are usual.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_provisions_again_changes_only_the_bounds_that_were_asked_for() {
    let server = Server::start();
    let link = link(&server).await;
    let own = Layout { max_dead: 7, event_days: 3, max_tasks: 9, max_blob_bytes: 1 << 20, ..Layout::default() };
    provision::provision(&link, &own).await.unwrap();
    let usual = Layout { event_days: 5, ..Layout::default() };
    let changed = |report: Report| {
        let changed = report.streams.into_iter().filter(|(_, made)| *made != Made::Unchanged);
        changed.map(|(name, _)| name).collect::<Vec<_>>()
    };
    let report = provision::refresh(&link, &usual, Asked::default()).await.unwrap();
    assert_eq!(changed(report), ["OBJ_cb_blobs"], "only what may have had no room is raised");
    let asked = Asked { event_days: true, ..Asked::default() };
    assert_eq!(changed(provision::refresh(&link, &usual, asked).await.unwrap()), [names::EVENTS]);
    assert_eq!(changed(provision::refresh(&link, &usual, asked).await.unwrap()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_syncs_now_and_then_is_refused_and_so_is_one_that_nobody_speaks_of() {
    let (other, now_and_then) = (seen(deployed().argument("--name").argument("other")), seen(Config::default()));
    let link = provisioned(&now_and_then.server, 1).await;
    let why = refused(provision::prove(&link, Profile::Durable, std::slice::from_ref(&now_and_then.monitor)).await);
    assert!(why.contains("every 120 s, not always") && why.contains("sync_interval: always"), "{why}");
    for monitors in [vec![], vec![other.monitor.clone()]] {
        let why = refused(provision::prove(&link, Profile::Durable, &monitors).await);
        assert!(why.contains("no --monitor speaks"), "{why}");
    }
    let nobody = provision::prove(&link, Profile::Durable, &["http://127.0.0.1:1".into()]).await;
    assert!(matches!(nobody, Err(Error::Unavailable { .. })), "{nobody:?}");
    assert_eq!(provision::durability(&link).await.unwrap().proof, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_under_another_name_is_one_of_which_nothing_was_proved() {
    // Without a name of its own it has a new one after each start.
    let Seen { server, monitor, _port } = &seen(deployed());
    let link = provisioned(server, 1).await;
    let proved = provision::prove(&link, Profile::Durable, std::slice::from_ref(monitor)).await.unwrap();
    assert_eq!(proved.profile, Profile::Durable);
    server.kill();
    server.restart();
    let found = provision::durability(&self::link(server).await).await.unwrap();
    assert_eq!(found.profile, Profile::CrashSafe);
    assert!(found.why.unwrap().contains("of which nothing was proved"));
    let Err(error) = node(server, Profile::Durable).await else { panic!("it starts") };
    assert_eq!(error.code(), "CB0207", "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_copies_on_three_servers_that_sync_always_are_replicated() {
    let ports = [Port::reserve(), Port::reserve(), Port::reserve()];
    let number = |n: usize| ports[n].number().to_string();
    let cluster = Cluster::with(|n| deployed().argument("-m").argument(number(n)));
    let link = provisioned(cluster.server(0), 3).await;
    let monitors: Vec<String> = (0..3).map(|n| format!("http://127.0.0.1:{}", number(n))).collect();
    let why = refused(provision::prove(&link, Profile::Replicated, &monitors[..2]).await);
    assert!(why.contains("no --monitor speaks: cb-2"), "{why}");
    let proved = provision::prove(&link, Profile::Replicated, &monitors).await.unwrap();
    assert_eq!((proved.profile, proved.why), (Profile::Replicated, None));
    // Any member says so.
    let node = node(cluster.server(2), Profile::Replicated).await.unwrap();
    assert!(node.broker().about.ends_with("(replicated)"), "{}", node.broker().about);
    node.shutdown().await.unwrap();
}

#[test]
fn operators_see_it_and_are_told_what_to_change() {
    let Seen { server, monitor, _port } = &seen(deployed().argument("--name").argument("cb-single"));
    let run = |words: &[&str]| -> Output {
        let mut command = Command::new(programs::callboard());
        command.args(words).env("CALLBOARD_BROKER", server.url()).env("COLUMNS", "120").output().unwrap()
    };
    let json = |words: &[&str]| -> Value {
        let out = run(&[words, &["--json"]].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let text = |out: &[u8]| String::from_utf8_lossy(out).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(json(&["provision"])["durability"]["profile"], "crash-safe");
    let refused = run(&["provision", "--profile", "replicated", "--monitor", monitor]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("error[CB0207]") && text(&refused.stderr).contains("1 of 3 copies"));
    let start = ["node", "start", "--config"];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "name = \"a\"\n[broker]\nprofile = \"durable\"\n").unwrap();
    let started = run(&[&start[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(started.status.code(), Some(3), "{}", text(&started.stderr));
    assert!(text(&started.stderr).contains("durable was asked for"), "{}", text(&started.stderr));

    let proved = run(&["provision", "--profile", "durable", "--monitor", monitor]);
    assert!(text(&proved.stdout).contains("profile durable: durable was proved of cb-single on 2"), "{proved:?}");
    let doctor = run(&["doctor"]);
    assert!(text(&doctor.stdout).contains("ok profile durable: durable was proved of cb-single"), "{doctor:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_on_a_small_disk_gets_smaller_streams_and_is_told_so() {
    let server = Server::with(Config::text("jetstream { max_file_store: 1700MB }"));
    let link = link(&server).await;
    let report = provision::provision(&link, &Layout::default()).await.unwrap();
    let smaller = |(name, made): &&(String, Made)| *made == Made::Smaller && name == "OBJ_cb_blobs";
    assert_eq!(report.streams.iter().filter(smaller).count(), 1, "{report:?}");
    let again = provision::provision(&link, &Layout::default()).await.unwrap();
    assert_eq!(again.streams.iter().filter(smaller).count(), 1, "still asked for, and still said: {again:?}");
    node(&server, Profile::CrashSafe).await.unwrap().shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_of_three_servers_with_three_copies() {
    let cluster = Cluster::with(|_| Config::text("jetstream { max_file_store: 1700MB }"));
    let layout = Layout { replicas: 3, ..Layout::default() };
    let report = provision::provision(&link(cluster.server(0)).await, &layout).await.unwrap();
    assert!(report.streams.iter().any(|(_, made)| *made == Made::Smaller), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_any_room_is_refused_with_what_to_do() {
    let server = Server::with(Config::text("jetstream { max_file_store: 32MB }"));
    let refused = provision::provision(&link(&server).await, &Layout::default()).await.unwrap_err().to_string();
    assert!(refused.contains("10047") && refused.contains("max_file_store"), "{refused}");
}
