//! The contract of messages over a node on a real server that is alone there; all else is the memory wing's.

use std::sync::{Arc, Mutex};

use callboard_broker::clock::Clock;
use callboard_broker::dead_letter::{DeadLetter, DeadLetters, Reason};
use callboard_broker::error::{Error, Result};
use callboard_broker::id::{NodeName, TaskId};
use callboard_broker::messages::{DeadMessages, Message};
use callboard_broker::nats::messages::NatsMessages;
use callboard_broker::nats::{Link, Options};
use callboard_broker::{BoxFuture, Broker, facts, memory};
use callboard_tests::contract::{Setup, Wing};
use callboard_tests::nats::Server;

/// The dead letters of messages only.
#[derive(Debug)]
struct Dead(Mutex<Vec<DeadLetter>>, Clock);

impl DeadMessages for Dead {
    fn bury(&self, message: &Message, reason: Reason, why: &str) {
        let mut letters = self.0.lock().unwrap();
        let letter = facts::dead_message(message, reason, Some(why.into()));
        let seq = letters.len() as u64 + 1;
        letters.push(DeadLetter::new(seq, self.1.now(), letter));
    }
}

impl DeadLetters for Dead {
    fn list(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        let letters = self.0.lock().unwrap();
        let found = letters.iter().filter(|letter| letter.seq > after).take(limit).cloned().collect();
        Box::pin(async move { Ok(found) })
    }

    fn get(&self, seq: u64) -> BoxFuture<'_, Result<Option<DeadLetter>>> {
        let found = self.0.lock().unwrap().iter().find(|letter| letter.seq == seq).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn retry(&self, seq: u64) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move { Err(Error::not_found(format!("task in dead letter {seq}"))) })
    }

    fn purge(&self, _: Option<u64>) -> BoxFuture<'_, Result<u64>> {
        let letters = std::mem::take(&mut *self.0.lock().unwrap());
        Box::pin(async move { Ok(letters.len() as u64) })
    }
}

/// A server of its own for each store, which lives as long as the wing does.
#[derive(Default)]
struct Alone(Mutex<Vec<Server>>);

impl Wing for Alone {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        Box::pin(async move {
            let server = Server::start();
            let options = Options {
                servers: vec![server.url()],
                clock: setup.clock.clone(),
                ..Options::new(NodeName::parse("alone").unwrap())
            };
            self.0.lock().unwrap().push(server);
            let link = Arc::new(Link::connect(&options).await.unwrap());
            let dead = Arc::new(Dead(Mutex::default(), setup.clock.clone()));
            let messages = NatsMessages::start(link, dead.clone()).await.unwrap();
            Broker {
                messages,
                dead,
                ..memory::open(memory::Options { clock: setup.clock, ..memory::Options::default() })
            }
        })
    }

    fn reopen(&self, _: Broker, _: Setup) -> BoxFuture<'_, Option<Broker>> {
        Box::pin(async { None })
    }
}

callboard_tests::for_each_check!(messages_test Alone::default);

#[test]
fn asks_from_everywhere_get_their_own_answers() {
    use callboard_tests::contract::{in_real_time, races};
    in_real_time(Arc::new(Alone::default()), races::asks_from_everywhere_get_their_own_answers);
}
