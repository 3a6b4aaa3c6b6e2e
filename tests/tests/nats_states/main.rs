//! State, facts and dead letters on a real server: the contract's checks, and what only this wing can get wrong.

use std::sync::{Arc, Mutex};

use callboard_broker::clock::Clock;
use callboard_broker::id::NodeName;
use callboard_broker::nats::{Layout, Link, Options, Seen, events, provision, state};
use callboard_broker::{BoxFuture, Broker, memory};
use callboard_tests::contract::{Setup, Wing};
use callboard_tests::nats::Server;

mod clocks;
mod dead;
mod doubt;
mod ends;
mod facts;
mod follow;
mod keys;

/// The rooms on a server, beside the memory wing's for tasks and messages.
#[derive(Default)]
struct Rooms {
    servers: Mutex<Vec<Server>>,
}

async fn connect_to(url: String, clock: Clock) -> Arc<Link> {
    let node = NodeName::parse("n").unwrap();
    Arc::new(Link::connect(&Options { servers: vec![url], clock, ..Options::new(node) }).await.unwrap())
}

/// A connection to a server that has the broker's streams.
async fn connect(server: &Server, clock: Clock) -> Arc<Link> {
    let link = connect_to(server.url(), clock).await;
    provision::provision(&link, &Layout::default()).await.unwrap();
    link
}

fn rooms(link: Arc<Link>, clock: Clock) -> (Broker, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let states = Arc::new(state::StateRoom::new(link.clone(), seen.clone()));
    let events = Arc::new(events::EventRoom::new(link, seen.clone()));
    (Broker { states, events, ..memory::open(memory::Options { clock, ..memory::Options::default() }) }, seen)
}

/// A server, a connection and the rooms, in real time.
struct Real {
    server: Server,
    link: Arc<Link>,
    broker: Broker,
    seen: Arc<Seen>,
}

impl Real {
    async fn start() -> Self {
        let server = Server::start();
        let link = connect(&server, Clock::system()).await;
        let (broker, seen) = rooms(link.clone(), Clock::system());
        Self { server, link, broker, seen }
    }

    /// Stores a message as somebody with the server's own tools would. Its sequence.
    async fn store(&self, subject: &str, body: &str) -> u64 {
        let answer = self.link.client.request(subject.to_owned(), body.to_owned().into()).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        answer["seq"].as_u64().unwrap_or_else(|| panic!("{subject}: {answer}"))
    }
}

impl Wing for Rooms {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move {
            let server = Server::start();
            let link = connect(&server, setup.clock.clone()).await;
            self.servers.lock().unwrap().push(server);
            rooms(link, setup.clock).0
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
    events: a_reader_gets_what_passes_from_where_it_asked,
    events: following_has_no_seam_between_stored_and_new,
    events: state_changes_are_facts_with_what_was_there_before,
}
