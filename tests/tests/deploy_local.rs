//! `deploy/local/up`: one command gives a server and two nodes, and takes them down so that nodes can hand back.
//!
//! The server is real. A script stands in for the nodes, because what is looked at is what they are started with, and
//! in which order all of it goes: the nodes say that they have drained while the server still takes connections.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use callboard_tests::nats::{Port, binary};
use callboard_tests::programs::root;

/// Drains when it is told to: only with the server there can it hand back.
const NODE: &str = r#"#!/bin/bash
drain() {
    port=$(grep -o '127.0.0.1:[0-9]*' <<<"$*" | cut -d: -f2)
    if (: <"/dev/tcp/127.0.0.1/$port") 2>&-; then echo "drained with the server"; else echo "drained too late"; fi
    exit 0
}
trap 'drain "$*"' TERM
echo "started: $*"
while :; do sleep 0.05; done
"#;

/// The command on its way. Told to stop when it is dropped, so that a test that fails leaves nothing behind.
struct Up(Child);

impl Up {
    fn start(folder: &Path, port: u16) -> Self {
        let node = folder.join("callboard");
        fs::write(&node, NODE).unwrap();
        fs::set_permissions(&node, Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [binary().parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path));
        let mut up = Command::new(root().join("deploy/local/up"));
        up.arg(port.to_string()).env("CALLBOARD", node).env("CARGO_TARGET_DIR", folder);
        up.env("PATH", std::env::join_paths(path).unwrap());
        Self(up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.0.stderr.take().unwrap()).lines().map_while(Result::ok)
    }

    fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).stderr(Stdio::null()).status();
        sent.expect("there is a kill command");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.terminate();
        let _ = self.0.wait();
    }
}

#[test]
fn one_command_starts_a_server_and_two_nodes_and_stops_them_in_order() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let mut up = Up::start(folder.path(), port.number());
    let (mut lines, mut heard) = (up.lines(), Vec::new());
    let flags = format!("--broker nats://127.0.0.1:{} --serve diag.echo=4 --team research", port.number());
    let expected = ["a", "b"].map(|name| format!("{name}     started: node start --name {name} {flags}"));
    while !expected.iter().all(|line| heard.contains(line)) {
        heard.push(lines.next().unwrap_or_else(|| panic!("it ended: {heard:#?}")));
    }
    assert!(TcpStream::connect(("127.0.0.1", port.number())).is_ok());
    up.terminate();
    heard.extend(lines);
    let drained = heard.iter().filter(|line| line.ends_with("drained with the server")).count();
    assert_eq!(drained, 2, "{heard:#?}");
    assert!(heard.last().is_some_and(|line| line.ends_with("Server Exiting..")), "{heard:#?}");
    assert_eq!(up.0.wait().unwrap().code(), Some(143));
    assert!(TcpStream::connect(("127.0.0.1", port.number())).is_err());
    assert!(folder.path().join("local/nats/jetstream").is_dir());
}

#[test]
fn a_port_that_is_taken_is_said_and_nothing_is_started() {
    let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
    let _taken = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
    let mut up = Up::start(folder.path(), port.number());
    let said: Vec<String> = up.lines().collect();
    assert_eq!(said, [format!("port {} is in use: give another one as the argument", port.number())]);
    assert_eq!(up.0.wait().unwrap().code(), Some(1));
}
