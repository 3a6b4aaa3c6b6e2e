//! The Model Context Protocol's own client, unmodified, calls capabilities as tools.

use std::process::Command;

use callboard_tests::process::Child;
use callboard_tests::{programs, python};
use serde_json::Value;

use crate::kit::{NOTES, callboard};

#[test]
fn the_protocols_own_client_calls_tools_and_runs_by_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, notes) = (folder.path().join("main.db"), folder.path().join("otters.md"));
    std::fs::write(&notes, NOTES).expect("a file");
    let script = python::script("tests/python/mcp_door.py");
    let mut command = Command::new(python::interpreter());
    command.arg(script).arg(programs::callboard()).args(["mcp", "--public", "executive", "diag.echo", "--store"]);
    let mut client = Child::start(command.arg(&store).arg("--sources").arg(&notes).env("HOME", folder.path()));
    for step in ["tools", "call", "progress", "errors", "runs", "cancel"] {
        if !client.says(step) {
            panic!("{step}: {:?}", client.end());
        }
    }
    let ended = client.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // The call that was taken back, and the run that was cancelled by id: nothing else was.
    let mut list = callboard(folder.path());
    let listed = list.args(["task", "ls", "--json", "--status", "cancelled", "--store"]).arg(&store).output();
    let listed: Value = serde_json::from_slice(&listed.expect("it runs").stdout).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
}
