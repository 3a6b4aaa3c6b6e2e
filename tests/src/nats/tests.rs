//! That the server is real, and that nothing of it is left.

use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use super::log::Log;
use super::*;

fn alive(pid: u32) -> bool {
    std::process::Command::new("kill").args(["-0", &pid.to_string()]).output().is_ok_and(|asked| asked.status.success())
}

fn make_stream(wire: &mut Wire) {
    let made = wire.ask("$JS.API.STREAM.CREATE.KEPT", &json!({"name": "KEPT", "subjects": ["kept.>"]}));
    assert_eq!(made.unwrap()["config"]["name"], "KEPT");
    assert_eq!(wire.ask("kept.one", &json!({"n": 1})).unwrap()["seq"], 1);
}

fn messages(wire: &mut Wire) -> serde_json::Value {
    wire.ask("$JS.API.STREAM.INFO.KEPT", &json!(null)).unwrap()["state"]["messages"].clone()
}

#[test]
fn it_starts_and_is_new_enough() {
    let server = Server::start();
    let wire = server.wire();
    assert_eq!(wire.info()["jetstream"], true);
    let version = wire.info()["version"].as_str().unwrap().to_owned();
    let numbers: Vec<u32> = version.split(['.', '-']).take(2).map(|part| part.parse().unwrap()).collect();
    assert!(numbers >= vec![2, 12], "{version}");
    assert!(server.store().join("jetstream").is_dir());
}

#[test]
fn after_a_kill_it_comes_back_with_its_port_and_store() {
    let server = Server::start();
    let (url, first) = (server.url(), server.pid());
    make_stream(&mut server.wire());
    server.kill();
    assert!(TcpStream::connect(server.address()).is_err() && !alive(first));
    server.restart();
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), first);
    assert_eq!(messages(&mut server.wire()), 1);
}

#[test]
fn it_stops_when_asked_and_starts_again() {
    let server = Server::start();
    make_stream(&mut server.wire());
    server.terminate();
    assert!(TcpStream::connect(server.address()).is_err());
    server.restart();
    assert_eq!(messages(&mut server.wire()), 1);
}

#[test]
fn a_frozen_one_answers_nothing_until_it_is_thawed() {
    let server = Server::start();
    let mut wire = server.wire();
    server.freeze();
    let asked = Instant::now();
    let answer = std::thread::spawn(move || {
        wire.publish("x", b"").unwrap();
        asked.elapsed()
    });
    // The kernel still takes connections for it; what it would say first never comes.
    let silent = TcpStream::connect(server.address()).unwrap();
    silent.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    assert!(std::io::Read::read(&mut &silent, &mut [0]).is_err());
    assert!(!answer.is_finished());
    server.thaw();
    assert!(answer.join().unwrap().as_millis() >= 200);
}

#[test]
fn two_at_once_do_not_know_each_other() {
    let (one, two) = (Server::start(), Server::start());
    assert_ne!(one.port(), two.port());
    make_stream(&mut one.wire());
    assert_eq!(two.wire().ask("$JS.API.STREAM.INFO.KEPT", &json!(null)).unwrap()["error"]["code"], 404);
}

#[test]
fn nothing_is_left_when_it_is_dropped_also_by_a_panic() {
    let server = Server::start();
    let (pid, folder) = (server.pid(), server.folder().to_owned());
    let ended = std::thread::spawn(move || {
        server.freeze();
        panic!("a test fails: {}", server.port());
    });
    assert!(ended.join().is_err());
    assert!(!alive(pid) && !folder.exists());
}

#[test]
fn one_that_cannot_start_says_why() {
    let panic = std::panic::catch_unwind(|| Server::with(Config::text("no_such_option: 1"))).err().unwrap();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.contains("no_such_option"), "{said}");
}

#[test]
fn what_it_was_configured_with_holds_after_a_restart() {
    let server = Server::with(Config::text("max_payload: 4096"));
    server.restart();
    assert_eq!(server.wire().info()["max_payload"], 4096);
}

#[test]
fn the_wire_tells_denied_from_unheard() {
    let server = Server::with(Config::text(
        r#"authorization { users = [{ user: a, password: b, permissions { publish: ["ok.>"], subscribe: ["_INBOX.>"] } }] }"#,
    ));
    assert!(Wire::connect(&server.url()).is_err());
    let mut wire = Wire::connect(&server.url_as("a", "b")).unwrap();
    assert!(matches!(wire.request("ok.nobody", b""), Err(Refused::Unheard)));
    assert!(matches!(wire.request("secret", b""), Err(Refused::Denied(why)) if why.contains("\"secret\"")));
    assert!(matches!(wire.subscribe("ok.nobody"), Err(Refused::Denied(_))));
    wire.publish("ok.nobody", b"").unwrap();
}

#[tokio::test]
async fn it_can_be_used_where_others_run() {
    let server = Server::start();
    server.restart();
    assert!(tokio::net::TcpStream::connect(server.address()).await.is_ok());
}

#[test]
fn three_keep_a_stream_when_one_is_gone() {
    let cluster = Cluster::start();
    let stream = json!({"name": "KEPT", "subjects": ["kept.>"], "num_replicas": 3});
    let made = cluster.server(0).wire().ask("$JS.API.STREAM.CREATE.KEPT", &stream).unwrap();
    assert_eq!(made["config"]["num_replicas"], 3, "{made}");
    cluster.server(0).wire().ask("kept.one", &json!({})).unwrap();
    let leader = made["cluster"]["leader"].as_str().unwrap();
    let gone = usize::from(leader.as_bytes()[3] - b'0');
    cluster.server(gone).kill();
    let left = cluster.server((gone + 1) % 3);
    let until = Instant::now() + std::time::Duration::from_secs(30);
    let mut wire = left.wire();
    // Until there is a new leader nobody listens on the stream's subjects.
    let seq = std::iter::from_fn(|| (Instant::now() < until).then(|| wire.ask("kept.two", &json!({}))))
        .find_map(|answer| answer.ok().filter(|answer| answer["seq"].is_number()));
    assert_eq!(seq.expect("a new leader")["seq"], 2);
    cluster.server(gone).restart();
    cluster.wait_until_ready();
}

#[test]
fn a_line_that_is_cut_delivers_when_it_heals() {
    let server = Server::start();
    let proxy = Proxy::to(&server.address());
    let mut there = server.wire();
    there.subscribe("x").unwrap();
    let mut wire = Wire::connect(&proxy.url()).unwrap();
    proxy.cut_one_way(Direction::Down);
    let (say, said) = std::sync::mpsc::sync_channel(1);
    let asked = std::thread::spawn(move || {
        let answer = wire.publish("x", b"1");
        say.send(()).unwrap();
        answer.map(|()| wire)
    });
    // Upwards it gets through, the answer does not.
    assert_eq!(there.receive().unwrap().payload, b"1");
    assert!(said.try_recv().is_err());
    proxy.heal();
    let mut wire = asked.join().unwrap().unwrap();
    proxy.delay(Direction::Up, std::time::Duration::from_millis(50));
    let asked = Instant::now();
    wire.publish("x", b"2").unwrap();
    assert!(asked.elapsed().as_millis() >= 50);
    proxy.refuse();
    assert!(wire.publish("x", b"3").is_err() && Wire::connect(&proxy.url()).is_err());
    proxy.heal();
    Wire::connect(&proxy.url()).unwrap();
}

/// Run by the test below in a process of its own, which is killed.
#[test]
#[ignore = "it waits to be killed"]
fn holds_a_server_until_it_is_killed() {
    let server = Server::start();
    println!("pid {}", server.pid());
    std::thread::park();
}

#[test]
fn nothing_is_left_when_the_test_process_is_killed() {
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "nats::tests::holds_a_server_until_it_is_killed", "--ignored", "--nocapture"]);
    let mut test = test.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let said = Log::read(test.stdout.take().unwrap()).wait_for("pid ").unwrap();
    let pid: u32 = said.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(alive(pid));
    test.kill().unwrap();
    test.wait().unwrap();
    // The server is nobody's child any more, so its end is seen by asking.
    let until = Instant::now() + std::time::Duration::from_secs(10);
    while alive(pid) {
        assert!(Instant::now() < until, "server {pid} is still there");
        std::thread::yield_now();
    }
}
