//! Large bodies: kept once, read back whole, and never passed off as another.

use std::sync::Arc;

use callboard_broker::Broker;
use callboard_broker::blobs::{Blobs, Hash, MAX_BLOB};
use callboard_broker::error::Error;
use callboard_broker::id::NodeName;
use callboard_broker::nats::blobs::BlobRoom;
use callboard_broker::nats::{Layout, Link, Options, names, provision};
use callboard_tests::nats::Server;

/// A connection to a server that has its streams.
pub(crate) async fn link(server: &Server) -> Arc<Link> {
    let options = Options { servers: vec![server.url()], ..Options::new(NodeName::parse("n").unwrap()) };
    let link = Arc::new(Link::connect(&options).await.unwrap());
    provision::provision(&link, &Layout::default()).await.unwrap();
    link
}

async fn room(server: &Server) -> (Arc<Link>, BlobRoom) {
    let link = link(server).await;
    (link.clone(), BlobRoom::new(link))
}

async fn stored(link: &Link) -> u64 {
    let said = link.client.request(format!("$JS.API.STREAM.INFO.{}", names::BLOBS), "".into()).await.unwrap();
    let said: serde_json::Value = serde_json::from_slice(&said.payload).unwrap();
    said["state"]["messages"].as_u64().unwrap()
}

#[tokio::test]
async fn a_body_is_kept_once_and_comes_back_whole() {
    let server = Server::start();
    let (link, blobs) = room(&server).await;
    // No multiple of a piece, and no two pieces alike.
    let large: Vec<u8> = (0..1_000_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for body in [Vec::new(), b"abc".to_vec(), large] {
        let name = blobs.put(body.clone()).await.unwrap();
        let before = stored(&link).await;
        assert_eq!(blobs.put(body.clone()).await.unwrap(), name);
        assert_eq!(stored(&link).await, before, "the second time stores nothing");
        assert!(blobs.get(&name).await.unwrap() == body);
    }
    let abc = Hash::parse("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
    assert_eq!(blobs.get(&abc).await.unwrap(), b"abc");
}

#[tokio::test]
async fn what_is_missing_too_large_or_forged_is_told() {
    let server = Server::start();
    let (link, blobs) = room(&server).await;
    let nobody = Hash::parse(&"0".repeat(64)).unwrap();
    assert!(matches!(blobs.get(&nobody).await, Err(Error::NotFound { .. })));
    assert!(matches!(blobs.put(vec![0; MAX_BLOB + 1]).await, Err(Error::TooLarge { .. })));

    // Somebody puts other bytes under a name that is taken.
    let name = blobs.put(b"the contract".to_vec()).await.unwrap();
    let found = link.client.request(format!("$JS.API.DIRECT.GET.{}.{}", names::BLOBS, names::blob(&name)), "".into());
    let info: serde_json::Value = serde_json::from_slice(&found.await.unwrap().payload).unwrap();
    let piece = names::pieces(info["nuid"].as_str().unwrap());
    link.client.request(piece, "and a forged clause".into()).await.unwrap();
    assert!(matches!(blobs.get(&name).await, Err(Error::Decode { .. })));
}

#[tokio::test]
async fn the_embedded_wings_have_no_such_room() {
    let embedded: Broker = callboard_broker::memory::open(callboard_broker::memory::Options::default());
    assert!(embedded.blobs.is_none());
}
