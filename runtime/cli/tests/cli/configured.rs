//! What a file, a variable and an option say of one process, and which of them holds.

use crate::kit::{Did, Running, World, endless};

const DOCUMENT: &str = "The otter eats fish. It lives in rivers.";
const ASK: [&str; 5] = ["run", "--ask", "What does the otter eat?", "--sources", "docs"];
/// Nobody listens there.
const AWAY: &str = "nats://127.0.0.1:1";

/// Starts a node with `node.toml`; where it says that it works.
fn place(world: &World, more: &[&str]) -> (Running, String) {
    let mut node = world.start(&[&["node", "start", "--name", "n", "--config", "node.toml"], more].concat());
    let said = node.err();
    let place = said.rsplit_once(", on ").unwrap_or_else(|| panic!("{more:?}: {said}")).1.to_owned();
    (node, place)
}

/// For once `--store memory` left the store of the file in force, and a store that was typed its broker.
#[test]
fn a_node_works_where_it_was_typed_whatever_the_file_and_the_environment_say() {
    let world = World::new();
    let works = |file: &str, more: &[&str], where_: &str| {
        world.file("node.toml", file);
        let (node, place) = place(&world, more);
        node.kill();
        assert!(place.contains(where_), "{more:?}: {place}");
    };
    let (store, broker) = ("store = \"file.db\"\n", format!("[broker]\naddress = \"{AWAY}\"\n"));
    works(store, &["--store", "memory"], "memory");
    assert!(!world.path().join("file.db").exists());
    works(&broker, &["--store", "typed.db"], "typed.db");
    works(&broker, &["--store=memory"], "memory");
    // Typed although the variable says the same.
    works(&broker, &["--store", "store.db"], "store.db");
    world.file("node.toml", store);
    let away = world.run(&["node", "start", "--config", "node.toml", "--broker", AWAY]);
    assert!(away.exit == 3 && away.err.contains("no broker answers"), "{}", away.err);
    let creds = ["node", "start", "--config", "broker.toml", "--creds", "no.creds"];
    world.file("broker.toml", broker);
    let did = world.run(&creds);
    assert!(did.exit == 2 && did.err.contains("no.creds"), "{}", did.err);
    for both in [["--store", "a.db", "--broker", AWAY], ["--broker", AWAY, "--store", "store.db"]] {
        let did = world.run(&[&["node", "start"], &both[..]].concat());
        assert!(did.exit == 2 && did.err.contains("--store and --broker"), "{both:?}: {}", did.err);
    }
}

#[test]
fn a_node_and_a_run_read_within_the_limits_of_their_file_also_when_nothing_is_to_be_served_by_name() {
    let world = World::new();
    world.file("docs/otter.md", DOCUMENT);
    world.file("node.toml", "[limits]\nfile_bytes = 10\n");
    let refused = |did: Did| {
        assert_eq!(did.exit, 2, "{}", did.err);
        let told = did.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("otter.md: larger than 10 bytes"), "{told}");
    };
    let (node, _) = place(&world, &[]);
    refused(world.run(&ASK));
    node.kill();
    refused(world.run(&[&ASK[..], &["--store", "own.db", "--config", "node.toml"]].concat()));
    let mut exported = world.command(&[&ASK[..], &["--store", "own.db"]].concat());
    let exported = exported.env("CALLBOARD_FILE_BYTES", "10").output().unwrap();
    assert_eq!(exported.status.code(), Some(2), "{exported:?}");
}

/// A file of over 16 MiB passes two limits: of what is sent, and of what is read.
#[cfg(feature = "mcp")]
#[test]
fn a_door_sends_and_reads_within_the_limits_of_its_file() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;

    use serde_json::{Value, json};

    let world = World::new();
    world.file("docs/otter.md", format!("{DOCUMENT}{}", " ".repeat(17 << 20)));
    world.file("node.toml", "[limits]\nfile_bytes = 20_000_000\n");
    let mut door = world.command(&["mcp", "--sources", "docs", "--config", "node.toml"]);
    let mut door = door.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut into, mut from) = (door.stdin.take().unwrap(), BufReader::new(door.stdout.take().unwrap()).lines());
    let mut say = |message: Value| writeln!(into, "{message}").unwrap();
    let mut answer = || serde_json::from_str::<Value>(&from.next().unwrap().unwrap()).unwrap();
    let who = json!({ "name": "test", "version": "1" });
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": who });
    say(json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello }));
    assert_eq!(answer()["id"], 1);
    say(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    let call = json!({ "name": "executive", "arguments": { "question": "What does the otter eat?" } });
    say(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call }));
    let said = answer();
    assert_eq!(said["result"]["structuredContent"]["claims"][0]["text"], "The otter eats fish.", "{said}");
    drop(into);
    assert!(door.wait().unwrap().success());
}

/// Of a node that goes on nobody reads an answer, so what is wrong on the way was told nowhere.
#[test]
fn a_node_tells_its_warnings_unless_told_otherwise() {
    let world = World::new();
    world.file("slow.toml", endless());
    world.file("node.toml", "");
    world.start_slow(&[]).kill();
    let warned = |more: &[&str], level: Option<&str>| {
        let mut node = world.command(&[&["node", "start", "--config", "node.toml"], more].concat());
        let node = node.envs(level.map(|level| ("RUST_LOG", level))).stderr(std::process::Stdio::piped());
        let node = Running::of(node.spawn().unwrap());
        world.until("the node", || world.look(&["node", "ls"]).is_some_and(|nodes| nodes[0]["state"] == "up"));
        // It is killed at work again, which is what the next one warns of.
        node.signal("KILL");
        let Did { err, .. } = node.end();
        err.lines().any(|line| line.contains("WARN") && line.contains("the process that had the store died at work"))
    };
    assert!(warned(&[], None));
    assert!(!warned(&[], Some("error")));
    assert!(!warned(&["--quiet"], None));
    assert!(warned(&["--verbose"], Some("error")));
    let run = world.run(&["task", "ls"]);
    assert!(run.exit == 0 && run.err.is_empty(), "{}", run.err);
}

#[test]
fn the_file_of_a_program_with_agents_of_its_own_is_checked_when_that_is_said() {
    let world = World::new();
    world.file("own.toml", "public = [\"shop.price\"]\n[serve]\n\"shop.price\" = 2\n");
    let did = world.run(&["config", "check", "own.toml"]);
    assert!(did.exit == 2 && did.err.contains("no agent that is built in serves shop.price"), "{}", did.err);
    let did = world.run(&["config", "check", "--any-capability", "own.toml"]);
    assert_eq!((did.exit, did.out.lines().next()), (0, Some("own.toml  ok, a node that serves 1 pool")), "{}", did.err);
    world.file("name.toml", "name = \"a\"\n[budget]\ntasks = 9\n");
    let did = world.run(&["config", "check", "name.toml"]);
    assert_eq!(
        (did.exit, did.out.lines().next()),
        (0, Some("name.toml  ok, a node that serves 0 pools")),
        "{}",
        did.err
    );
}
