//! JavaScript with exactly the packages that a person without our programs would install.
//!
//! They lie in the target directory and are installed once, whichever test comes first: the others wait for it. Where
//! this machine has no node, [`scripts/node`](../../../scripts/node) brings one.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use crate::programs::{folder, root};

/// A script of `tests/javascript`, ready to be run with the packages of its `package.json`.
///
/// # Panics
/// When there is no node and none can be had, or the packages cannot.
pub fn script(name: &str) -> Command {
    let (node, npm) = (tool(&[]), tool(&["npm"]));
    let target = folder().parent().expect("a profile lies in the target directory").to_owned();
    let (from, place) = (root().join("tests/javascript"), target.join("javascript"));
    fs::create_dir_all(&place).expect("the target directory");
    let lock = File::create(target.join("javascript.lock")).expect("a file in the target directory");
    lock.lock().expect("the lock of the packages");
    let read = |folder: &PathBuf, name: &str| fs::read_to_string(folder.join(name)).ok();
    let wanted = read(&from, "package-lock.json").expect("the list of packages");
    let made = "installed-package-lock.json";
    if read(&place, made).as_ref() != Some(&wanted) {
        for name in ["package.json", "package-lock.json"] {
            fs::copy(from.join(name), place.join(name)).expect("a file");
        }
        let mut install = Command::new(&node);
        install.arg(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&place);
        let ran = install.output().expect("npm runs");
        assert!(ran.status.success(), "{install:?}: {}", String::from_utf8_lossy(&ran.stderr));
        // Last, so that what was not finished is made again.
        fs::write(place.join(made), &wanted).expect("a file");
    }
    // A script finds packages beside itself.
    let script = place.join(name);
    fs::copy(from.join(name), &script).unwrap_or_else(|why| panic!("{name}: {why}"));
    let mut command = Command::new(node);
    command.arg(script);
    command
}

/// What `scripts/node` prints.
fn tool(arguments: &[&str]) -> PathBuf {
    let mut script = Command::new(root().join("scripts/node"));
    let target = folder().parent().expect("a profile lies in the target directory").to_owned();
    let ran = script.args(arguments).env("CARGO_TARGET_DIR", target).output().expect("it starts");
    assert!(ran.status.success(), "scripts/node: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim().into()
}
