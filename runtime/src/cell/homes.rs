//! The states of stateful agents that are awake on this node, as other nodes ask for them.
//!
//! Each node has a queue for this by its own name, open as long as an agent of it may be at work. Whoever wants a state
//! asks there: a node that has it awake lets go of it after the requests that it has; one that has not says so at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callboard_agents::stateful::{Homes, Keeper, Move};
use callboard_agents::{Capability, Value};
use callboard_broker::BoxFuture;
use callboard_broker::code;
use callboard_broker::dead_letter::Reason;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::NodeName;
use callboard_broker::messages::{Address, Incoming, Message, Messages};
use callboard_broker::payload::Payload;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::hub::Hub;
use crate::tree::ChildSpec;

/// How long the answer of another node is waited for.
const ANSWER: Duration = Duration::from_secs(1);
/// After how long a node that works on a state says that it is not done yet.
const NOT_YET: Duration = Duration::from_millis(500);
/// How often a node that does not answer is asked before it counts as gone.
const TRIES: usize = 3;
/// How long a node that has just come may not know the others yet.
const NEW: Duration = Duration::from_secs(1);
/// Between two looks whether another node is there.
const LOOK: Duration = Duration::from_millis(50);
/// Questions that wait for this node at a time.
const WAITING: usize = 1_000;
/// In whose terms it is asked.
const TERMS: Capability<Value, bool> = Capability::new("callboard.home");

/// See the module.
pub(crate) struct Rooms {
    node: NodeName,
    messages: Arc<dyn Messages>,
    since: Instant,
    /// By the key of shared state below which theirs are.
    keepers: Mutex<HashMap<String, Arc<dyn Keeper>>>,
    /// States that are being let go of, each until its sender is dropped: however often one is asked for, it is let go once.
    leaving: Mutex<HashMap<String, watch::Receiver<()>>>,
}

#[derive(Serialize, Deserialize)]
struct Question {
    below: String,
    key: String,
}

impl Rooms {
    pub(crate) fn new(node: NodeName, messages: Arc<dyn Messages>) -> Arc<Self> {
        Arc::new(Self { node, messages, since: Instant::now(), keepers: Mutex::default(), leaving: Mutex::default() })
    }

    fn keepers(&self) -> MutexGuard<'_, HashMap<String, Arc<dyn Keeper>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, node: &str, question: Question, hops: Vec<Arc<str>>) -> Result<Move> {
        let to = address(node);
        let body = Payload::of(question);
        let asking = async {
            for _ in 0..TRIES {
                match self.ask_once(&to, body.clone(), hops.clone()).await {
                    Ok(answer) if matches!(answer.read(), Ok(true)) => return Ok(Move::Done),
                    Ok(_) => return Ok(Move::NotYet),
                    Err(Error::NoRecipient { .. }) => return Ok(Move::Gone),
                    Err(error) if error.code() == code::LOOP => return Err(error),
                    Err(error) => tracing::debug!(%error, node, "a node does not say whether it lets go of a state"),
                }
            }
            Ok(Move::Gone)
        };
        // Nobody asks where nobody listens: that would be a dead letter.
        while self.is_new() && !self.messages.is_served(&to) {
            tokio::time::sleep(LOOK).await;
        }
        let gone = async {
            while self.messages.is_served(&to) {
                tokio::time::sleep(LOOK).await;
            }
            Ok(Move::Gone)
        };
        let moved = tokio::select! {
            biased;
            moved = gone => moved,
            moved = asking => moved,
        }?;
        if moved == Move::Gone {
            tracing::info!(node, "a node that had a state awake is gone; the state wakes elsewhere");
        }
        Ok(moved)
    }

    fn is_new(&self) -> bool {
        self.since.elapsed() < NEW
    }

    async fn ask_once(&self, to: &Address, body: Payload, hops: Vec<Arc<str>>) -> Result<Payload> {
        let message = Message {
            to: to.clone(),
            capability: TERMS.id(),
            from: self.node.as_str().into(),
            body,
            deadline: Instant::now() + ANSWER,
            run: None,
            hops,
            traceparent: None,
        };
        self.messages.ask(message).await
    }

    /// Lets go of a state. That keeps its place in the line of requests, whether or not somebody still waits for the answer.
    fn leave(self: &Arc<Self>, keeper: Arc<dyn Keeper>, key: String) -> watch::Receiver<()> {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = leaving.get(&key) {
            return known.clone();
        }
        let (done, told) = watch::channel(());
        leaving.insert(key.clone(), told.clone());
        let rooms = self.clone();
        tokio::spawn(async move {
            keeper.let_go(&key).await;
            rooms.leaving.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            drop(done);
        });
        told
    }

    /// Answers one question, after this node has let go or could not yet.
    async fn answer(self: Arc<Self>, incoming: Incoming) {
        let question = match incoming.message.body.read::<Question>() {
            Ok(question) => question,
            Err(error) => return incoming.refuse(Reason::Undecodable, &error.to_string()),
        };
        let keeper = self.keepers().get(&question.below).cloned();
        let is_done = match keeper {
            None => Ok(true),
            Some(keeper) => match keeper.check(&question.key, &incoming.message.hops) {
                Err(error) => Err(error),
                Ok(()) => {
                    let mut leaving = self.leave(keeper, question.key);
                    // It ends with its sender.
                    Ok(timeout(NOT_YET, leaving.changed()).await.is_ok())
                }
            },
        };
        if let Some(reply) = incoming.reply {
            reply.send(is_done.map(Payload::of));
        }
    }
}

impl Homes for Rooms {
    fn node(&self) -> &str {
        self.node.as_str()
    }

    fn keep(&self, below: &str, keeper: Arc<dyn Keeper>) {
        self.keepers().entry(below.to_owned()).or_insert(keeper);
    }

    fn ask<'a>(
        &'a self,
        node: &'a str,
        below: &'a str,
        key: &'a str,
        hops: Vec<Arc<str>>,
    ) -> BoxFuture<'a, Result<Move>> {
        Box::pin(self.call(node, Question { below: below.to_owned(), key: key.to_owned() }, hops))
    }
}

/// Where a node is asked. No agent is named so: its name would begin with that of a capability.
fn address(node: &str) -> Address {
    Address::Agent(format!("_home.{node}").into())
}

/// What answers other nodes, as a child of the tree.
pub(crate) fn child(hub: &Arc<Hub>) -> ChildSpec {
    let hub = hub.clone();
    ChildSpec::task("homes", move |mut ctx| {
        let hub = hub.clone();
        async move {
            let here = address(hub.name.as_str());
            let inbox = hub.broker.messages.serve(here.clone(), WAITING);
            Ok(async move {
                loop {
                    tokio::select! {
                        biased;
                        () = ctx.stopping() => break,
                        incoming = inbox.next() => {
                            let rooms = hub.homes.clone();
                            tokio::spawn(async move { rooms.answer(incoming).await });
                        }
                    }
                }
                hub.broker.messages.close(&here);
                Ok(())
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use callboard_broker::clock::Clock;
    use callboard_broker::memory;
    use tokio::sync::Semaphore;

    use super::*;

    /// Lets go when it may.
    struct Busy {
        may: Semaphore,
        let_go: AtomicUsize,
    }

    impl Keeper for Busy {
        fn check(&self, _: &str, hops: &[Arc<str>]) -> Result<()> {
            if hops.is_empty() { Ok(()) } else { Err(Error::Loop { cycle: "a -> b -> a".into() }) }
        }

        fn let_go<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
            Box::pin(async move {
                self.may.acquire().await.unwrap().forget();
                self.let_go.fetch_add(1, Ordering::Relaxed);
            })
        }
    }

    fn two() -> (Arc<Rooms>, Arc<Rooms>, Arc<dyn Messages>) {
        let options = memory::Options { clock: Clock::following_tokio(), ..memory::Options::default() };
        let messages = memory::open(options).messages;
        let rooms = |name| Rooms::new(NodeName::parse(name).unwrap(), messages.clone());
        (rooms("one"), rooms("two"), messages)
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_not_there_or_does_not_answer_is_not_waited_for_long() {
        let (one, _, messages) = two();
        let began = Instant::now();
        assert_eq!(one.ask("two", "below", "key", Vec::new()).await.unwrap(), Move::Gone);
        assert!(began.elapsed() <= NEW + LOOK);
        let began = Instant::now();
        assert_eq!(one.ask("two", "below", "key", Vec::new()).await.unwrap(), Move::Gone);
        assert!(began.elapsed() <= LOOK, "it is no newcomer any more");
        // It is there, and frozen.
        let _inbox = messages.serve(address("two"), 10);
        let began = Instant::now();
        assert_eq!(one.ask("two", "below", "key", Vec::new()).await.unwrap(), Move::Gone);
        assert_eq!(began.elapsed().as_secs(), (ANSWER * TRIES as u32).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_works_on_a_state_says_so_and_lets_go_of_it_once() {
        let (one, two, messages) = two();
        let inbox = messages.serve(address("two"), 10);
        let answering = two.clone();
        tokio::spawn(async move {
            loop {
                tokio::spawn(answering.clone().answer(inbox.next().await));
            }
        });
        assert_eq!(one.ask("two", "below", "key", Vec::new()).await.unwrap(), Move::Done, "nobody keeps it there");
        let keeper = Arc::new(Busy { may: Semaphore::new(0), let_go: AtomicUsize::new(0) });
        two.keep("below", keeper.clone());
        for _ in 0..5 {
            assert_eq!(one.ask("two", "below", "key", Vec::new()).await.unwrap(), Move::NotYet);
        }
        let error = one.ask("two", "below", "key", vec!["a/b/c".into()]).await.unwrap_err();
        assert!(error.code() == code::LOOP && error.to_string().contains("a -> b -> a"), "{error}");
        keeper.may.add_permits(10);
        assert_eq!(one.ask("two", "below", "key", Vec::new()).await.unwrap(), Move::Done);
        assert!(keeper.let_go.load(Ordering::Relaxed) <= 2, "{:?}", keeper.let_go);
    }
}
