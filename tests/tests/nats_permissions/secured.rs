//! The encrypted configurations, one server and three, with certificates that the deployed script makes.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use callboard_broker::nats::{Layout, Link, Options, Tls, provision};
use callboard_tests::nats::{Cluster, Config, Server, Wire};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{deployed, options, with_passwords};

/// Certificates of one authority, and a file of another one.
static CERTIFICATES: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    for authority in ["ours", "other"] {
        let made = Command::new(deployed("certificates")).arg(folder.path().join(authority)).output();
        let made = made.expect("there is a shell");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    folder
});

fn certificate(name: &str) -> String {
    CERTIFICATES.path().join(name).to_string_lossy().into_owned()
}

fn secured(file: &str) -> Config {
    with_passwords(Config::file(&deployed(file)))
        .variable("CB_TLS_CERT", certificate("ours/server.pem"))
        .variable("CB_TLS_KEY", certificate("ours/server.key"))
        .variable("CB_TLS_CA", certificate("ours/ca.pem"))
}

fn encrypted(server: &Server, user: &str, authority: Option<&str>) -> Options {
    let mut options = options(server, user);
    let ca = authority.map(|name| Path::new(&certificate(name)).to_owned());
    options.tls = Tls { required: true, ca, identity: None };
    options
}

#[tokio::test]
async fn one_server_takes_encrypted_connections_only() {
    let server = Server::with(secured("secured.conf"));
    let link = Link::connect(&encrypted(&server, "deploy", Some("ours/ca.pem"))).await.unwrap();
    provision::provision(&link, &Layout::default()).await.unwrap();
    assert!(Wire::connect(&server.url_as("deploy", "secret-deploy")).is_err(), "in the clear");
    for authority in [None, Some("other/ca.pem")] {
        let stranger = Link::connect(&encrypted(&server, "deploy", authority)).await;
        assert!(stranger.is_err(), "trusting {authority:?}");
    }
}

#[test]
fn three_servers_keep_every_stream_three_times() {
    let files = ["cluster/a.conf", "cluster/b.conf", "cluster/c.conf"];
    let runtime = Runtime::new().unwrap();
    let layout = Layout { replicas: 3, ..Layout::default() };
    let cluster = Cluster::with_probe(
        |number| secured(files[number]),
        |server| {
            runtime.block_on(async {
                let link = Link::connect(&encrypted(server, "deploy", Some("ours/ca.pem"))).await;
                let link = link.map_err(|why| why.to_string())?;
                provision::provision(&link, &layout).await.map(drop).map_err(|why| why.to_string())
            })
        },
    );
    cluster.server(0).kill();
    let answer = runtime.block_on(async {
        let link = Link::connect(&encrypted(cluster.server(1), "observer", Some("ours/ca.pem"))).await.unwrap();
        // The one that is gone may have led; until there is another leader, nobody answers.
        for _ in 0..6 {
            if let Ok(answer) = link.request("$JS.API.STREAM.INFO.CB_RUNS", None, Vec::new().into()).await {
                return answer;
            }
        }
        panic!("no new leader after half a minute");
    });
    let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(info["config"]["num_replicas"], 3, "{info}");
}
