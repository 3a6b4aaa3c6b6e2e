//! The contract suite over the wing on NATS.

use std::sync::{Arc, Mutex};

use callboard_broker::id::NodeName;
use callboard_broker::nats::{self, Options};
use callboard_broker::{BoxFuture, Broker};
use callboard_tests::contract::{Setup, Wing};
use callboard_tests::nats::Server;

/// Each store is a server of its own.
#[derive(Default)]
struct Nats(Mutex<Option<Arc<Server>>>);

impl Nats {
    fn options(server: &Server, setup: &Setup) -> Options {
        let mut options = Options::new(NodeName::parse("n").unwrap());
        options.servers = vec![server.url()];
        options.clock = setup.clock.clone();
        options.layout.max_tasks = setup.max_tasks as u64;
        options
    }
}

impl Wing for Nats {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move {
            let server = Arc::new(Server::start());
            let options = Self::options(&server, &setup);
            *self.0.lock().unwrap() = Some(server);
            nats::open(options).await.unwrap()
        })
    }

    fn reopen(&self, broker: Broker, setup: Setup) -> BoxFuture<'_, Option<Broker>> {
        Box::pin(async move {
            drop(broker);
            let server = self.0.lock().unwrap().clone().unwrap();
            server.kill();
            server.restart();
            Some(nats::open(Self::options(&server, &setup)).await.unwrap())
        })
    }

    fn rounds(&self) -> usize {
        20
    }
}

mod on_nats {
    callboard_tests::for_each_check!(still_test super::Nats::default);
    callboard_tests::for_each_race!(race_test super::Nats::default);
}
