//! Which nats-server the tests run.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::programs::{folder, root};

/// The program: what the environment variable `NATS_SERVER` names, else what `scripts/nats-server` finds in `PATH` or
/// installs. Looked for once a process.
///
/// # Panics
/// When there is none and none can be installed, with what the script said.
pub fn binary() -> &'static PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| match std::env::var_os("NATS_SERVER") {
        Some(named) => named.into(),
        None => ask_script(),
    })
}

fn ask_script() -> PathBuf {
    let script = root().join("scripts/nats-server");
    let target = folder().parent().expect("a profile lies in the target directory").to_owned();
    let asked = Command::new(&script).env("CARGO_TARGET_DIR", target).output();
    let answer = asked.unwrap_or_else(|why| panic!("{} does not run: {why}", script.display()));
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8_lossy(&answer.stdout).trim().into()
}
