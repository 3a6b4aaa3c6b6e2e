//! The programs of the workspace, built and ready to run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// Where `cargo` puts what it builds for the profile that this test was built for: `target/debug`.
pub fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a file");
    test.parent().and_then(Path::parent).expect("tests lie in `deps`").to_owned()
}

/// `cargo`, to be run at the root with the target directory of this test, as a person would start it.
///
/// What `cargo test` tells a test about its package must not get through: build scripts look at it, and would build for
/// this test what they have built for everyone.
pub fn cargo() -> Command {
    let folder = folder();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let about_a_package = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if about_a_package.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", folder.parent().expect("a profile lies in the target directory"));
    cargo
}

/// The binary `callboard`, as the sources are now. Built with the features of `cargo test --workspace`, where it is
/// built already, so this costs a look at the files.
///
/// # Panics
/// When it cannot be built.
pub fn callboard() -> PathBuf {
    build();
    folder().join(format!("callboard{}", std::env::consts::EXE_SUFFIX))
}

/// An example by its name, as the sources are now.
///
/// # Panics
/// When it cannot be built.
pub fn example(name: &str) -> PathBuf {
    build();
    folder().join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--workspace", "--bins", "--examples"]);
        if folder().ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.output().expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    });
}
