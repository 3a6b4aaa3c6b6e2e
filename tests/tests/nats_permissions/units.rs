//! The server's unit with roles and encryption, as far as it can be tried without systemd: what it is handed is enough to
//! start with, and is no more than that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use callboard_broker::nats::{Link, Tls};
use callboard_tests::nats::{Config, Server};
use callboard_tests::programs::root;

use super::{deployed, options, with_passwords};

const UNIT: &str = "deploy/systemd/nats-server.service.d/secured.conf";

/// The values of this setting, in order.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|why| panic!("{}: {why}", path.display())).permissions().mode() & 0o777
}

/// It named files that its own user, who is made with it, could not read.
#[tokio::test]
async fn the_secured_server_starts_with_the_copies_that_its_unit_is_handed() {
    let folder = tempfile::tempdir().expect("a folder");
    // As after the line in its head, below another root.
    let made = |path: &str| folder.path().join(path.trim_start_matches('/'));
    let script = Command::new(deployed("certificates")).arg(made("/etc/callboard/tls")).output();
    let script = script.expect("there is a shell");
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    assert_eq!(mode(&made("/etc/callboard")) & 0o055, 0o055, "services read what else is there");
    assert_eq!(mode(&made("/etc/callboard/tls")), 0o700);

    let unit = fs::read_to_string(root().join(UNIT)).unwrap();
    let handed = folder.path().join("handed");
    fs::create_dir(&handed).unwrap();
    for credential in settings(&unit, "LoadCredential") {
        let (name, path) = credential.split_once(':').unwrap();
        assert!(!path.ends_with("ca.key"), "whoever has it makes certificates for anybody");
        fs::copy(made(path), handed.join(name)).unwrap_or_else(|why| panic!("{path}: {why}"));
    }
    let [reset, start] = settings(&unit, "ExecStart")[..] else { panic!("it stands in the place of the unit's own") };
    assert_eq!(reset, "");
    let file = start.split_once("-c /etc/callboard/nats/").and_then(|(_, rest)| rest.split(' ').next()).unwrap();
    let of_unit = |config: Config, setting: &str| {
        let (variable, value) = setting.split_once('=').unwrap();
        assert!(value.starts_with("%d/"), "{setting}: the service cannot read it");
        config.variable(variable, value.replace("%d", &handed.to_string_lossy()))
    };
    let config = with_passwords(Config::file(&deployed(file)));
    let server = Server::with(settings(&unit, "Environment").into_iter().fold(config, of_unit));
    let ca = Some(made("/etc/callboard/tls/ca.pem"));
    let mut options = options(&server, "deploy");
    options.tls = Tls { required: true, ca, identity: None };
    Link::connect(&options).await.expect("it is encrypted with what it was handed");
}
