//! State, facts and dead letters on a real server.

use std::sync::{Arc, Mutex};

use callboard_broker::id::NodeName;
use callboard_broker::nats::{Layout, Link, Options, Seen, provision, state};
use callboard_broker::{BoxFuture, Broker, memory};
use callboard_tests::contract::{Setup, Wing};
use callboard_tests::nats::Server;

/// The rooms on a server, beside the memory wing's for tasks and messages.
#[derive(Default)]
struct Rooms {
    servers: Mutex<Vec<Server>>,
}

async fn connect(server: &Server, setup: &Setup) -> Arc<Link> {
    let node = NodeName::parse("n").unwrap();
    let options = Options { servers: vec![server.url()], clock: setup.clock.clone(), ..Options::new(node) };
    let link = Arc::new(Link::connect(&options).await.unwrap());
    provision::provision(&link, &Layout::default()).await.unwrap();
    link
}

fn rooms(link: Arc<Link>, setup: Setup) -> Broker {
    let seen = Arc::new(Seen::default());
    let states = Arc::new(state::StateRoom::new(link, seen));
    Broker { states, ..memory::open(memory::Options { clock: setup.clock, ..memory::Options::default() }) }
}

impl Wing for Rooms {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move {
            let server = Server::start();
            let link = connect(&server, &setup).await;
            self.servers.lock().unwrap().push(server);
            rooms(link, setup)
        })
    }

    fn reopen(&self, _: Broker, _: Setup) -> BoxFuture<'_, Option<Broker>> {
        Box::pin(async { None })
    }
}

macro_rules! checks {
    ($($room:ident: $name:ident,)*) => { $(callboard_tests::still_test! { (Rooms::default) $room $name })* };
}

checks! {
    state: a_write_is_applied_or_meets_a_conflict,
    state: a_version_is_never_used_twice,
    state: writes_are_answered_in_order_and_each_alone,
    state: history_tells_who_changed_what_from_what_to_what,
    state: a_key_and_what_lies_below_it_are_listed,
    state: a_watcher_sees_what_is_there_and_then_every_change,
    state: a_watcher_that_falls_behind_sees_all_or_is_told_and_ends,
    state: the_past_is_there_by_number_and_by_time,
    state: any_snapshot_and_its_tail_are_the_whole_replay,
}
