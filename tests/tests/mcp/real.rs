use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use callboard::{Node, Value, json};
use callboard_tests::nats::Port;
use callboard_tests::programs::{folder, root};

use crate::{call, node, text};

/// The servers that others wrote, by name, installed below the target directory.
fn servers() -> &'static HashMap<String, Vec<String>> {
    static FOUND: OnceLock<HashMap<String, Vec<String>>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let target = folder().parent().expect("a profile lies in the target directory").to_owned();
        let ran = Command::new(root().join("scripts/mcp-servers")).env("CARGO_TARGET_DIR", target).output();
        let ran = ran.expect("scripts/mcp-servers runs");
        let read = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            let command = serde_json::from_value(line["command"].clone()).expect("a list");
            (line["name"].as_str().expect("a name").to_owned(), command)
        };
        let found: HashMap<_, _> = String::from_utf8_lossy(&ran.stdout).lines().map(read).collect();
        assert!(found.len() >= 4, "{}", String::from_utf8_lossy(&ran.stderr));
        found
    })
}

async fn with(name: &str, more: &[&str]) -> Node {
    let command = servers().get(name).unwrap_or_else(|| panic!("{name} cannot be had here"));
    let command: Vec<&str> = command.iter().map(String::as_str).chain(more.iter().copied()).collect();
    node(&format!("[mcp.{name}]\ncommand = {}\nstart = \"60s\"\n", json!(command))).await
}

async fn offers(node: &Node) -> Vec<String> {
    serde_json::from_value(call(node, "offers", json!({})).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filesystem_server_reads_what_it_was_given_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("in"), folder.path().join("out.txt"));
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("mill.txt"), "built in 1850").unwrap();
    std::fs::write(&outside, "secret").unwrap();
    let node = with("filesystem", &[inside.to_str().unwrap()]).await;
    assert!(offers(&node).await.contains(&"filesystem.read_text_file".to_owned()));
    let read = text(&node, "filesystem.read_text_file", json!({ "path": inside.join("mill.txt") })).await;
    assert!(read.contains("1850"), "{read}");
    let denied = text(&node, "filesystem.read_text_file", json!({ "path": outside })).await;
    assert!(denied.starts_with("error: ") && !denied.contains("secret"), "{denied}");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_everything_server_echoes() {
    let node = with("everything", &[]).await;
    assert!(text(&node, "everything.echo", json!({ "message": "hello" })).await.contains("hello"));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_server_remembers() {
    let node = with("memory", &[]).await;
    let entity = json!({ "entities": [{ "name": "mill", "entityType": "building", "observations": ["old"] }] });
    text(&node, "memory.create_entities", entity).await;
    assert!(text(&node, "memory.read_graph", json!({})).await.contains("mill"));
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_server_makes_a_table_and_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let node = with("sqlite", &["--db-path", file.to_str().unwrap()]).await;
    text(&node, "sqlite.create_table", json!({ "query": "CREATE TABLE mills (name TEXT)" })).await;
    text(&node, "sqlite.write_query", json!({ "query": "INSERT INTO mills VALUES ('upper')" })).await;
    let read = text(&node, "sqlite.read_query", json!({ "query": "SELECT name FROM mills" })).await;
    assert!(read.contains("upper"), "{read}");
    node.shutdown().await.unwrap();
}

/// How long a server, which others wrote, may take to listen, and to be found again.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server at an address of this machine, killed on drop.
struct Remote {
    process: std::process::Child,
}

impl Remote {
    /// On a port that nobody else gets while the server is away.
    async fn start(port: &Port) -> Self {
        let port = port.number();
        let command = servers().get("everything").expect("it can be had here");
        let (last, first) = command.split_last().unwrap();
        assert_eq!(last, "stdio");
        let mut process = Command::new(&first[0]);
        process.args(&first[1..]).arg("streamableHttp").env("PORT", port.to_string());
        let process = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let (remote, begun) = (Self { process }, Instant::now());
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "it does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        remote
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_an_address_is_called_over_http_and_found_again_when_it_comes_back() {
    let port = Port::reserve();
    let remote = Remote::start(&port).await;
    let address = format!("http://127.0.0.1:{}/mcp", port.number());
    let node = node(&format!("[mcp.far]\nurl = \"{address}\"\ntimeout = \"30s\"\nstart = \"120s\"\n")).await;
    assert!(offers(&node).await.contains(&"far.echo".to_owned()));
    let sum = text(&node, "far.get-sum", json!({ "a": 2, "b": 3 })).await;
    assert!(sum.contains('5'), "{sum}");
    drop(remote);
    let away = call(&node, "far.echo", json!({ "message": "hello" })).await.unwrap_err();
    assert!(away.to_string().contains("MCP server far"), "{away}");
    let _remote = Remote::start(&port).await;
    let again = async {
        loop {
            if let Ok(done) = call(&node, "far.echo", json!({ "message": "hello" })).await {
                return done["text"].to_string();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let said = tokio::time::timeout(PATIENCE, again).await.expect("it is called again");
    assert!(said.contains("hello"), "{said}");
    node.shutdown().await.unwrap();
}
