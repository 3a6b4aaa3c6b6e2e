//! Wings with one sin each, over the memory wing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::event::{Event, NewEvent};
use callboard_broker::events::{EventFilter, EventStream, Events};
use callboard_broker::id::TaskId;
use callboard_broker::memory::{self, Options};
use callboard_broker::messages::{Address, Broadcast, Inbox, Message, MessageCounts, Messages, Subscription};
use callboard_broker::payload::Payload;
use callboard_broker::state::{Change, Expect, Key, Moment, Put, StateEntry, States, Watch, Write};
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Record, Task};
use callboard_broker::tasks::{
    Child, Claim, Depth, Fence, Finish, GiveBack, Lease, Park, Recorded, Submitted, TaskFilter, TaskView, Tasks, Until,
};
use callboard_broker::{BoxFuture, Broker};
use callboard_tests::contract::{Setup, Wing};

/// What a wing does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sin {
    /// Records any outcome, whoever brings it, over the one that is there.
    Unfenced,
    /// Acknowledges every third submission without storing it.
    LosesSubmissions,
    /// Gives each task to its claimer twice.
    HandsOutTwice,
    /// Returns from a claim at once.
    DoesNotWait,
    /// Says that every attempt is the first.
    ForgetsAttempts,
    /// Cancels the one task and nothing below it.
    CancelsTheTop,
    /// Keeps no dead letter of a failed task.
    NoDeadLetter,
    /// Shows no event whose number can be divided by three.
    DropsEvents,
    /// Writes whatever version is there.
    BlindWrites,
    /// Knows the past only at every third change.
    NoTail,
    /// Keeps every third change from its watchers.
    SkipsChanges,
    /// Gives the answer of one asker to another.
    MixesAnswers,
    /// Takes in more than it may.
    NoBound,
    /// Lets senders hear themselves.
    HearsItself,
}

/// A memory wing with a sin.
pub(crate) struct Sinner(pub(crate) Sin);

impl Wing for Sinner {
    fn open(&self, setup: Setup) -> BoxFuture<'_, Broker> {
        let (sin, options) = (self.0, Options { clock: setup.clock, ..Options::default() });
        Box::pin(async move {
            let inner = memory::open(options);
            let sinful =
                Arc::new(Sinful { sin, inner: inner.clone(), count: AtomicU64::new(0), kept: Mutex::default() });
            Broker { messages: sinful.clone(), tasks: sinful.clone(), states: sinful.clone(), events: sinful, ..inner }
        })
    }

    fn reopen(&self, _: Broker, _: Setup) -> BoxFuture<'_, Option<Broker>> {
        Box::pin(async { None })
    }
}

struct Sinful {
    sin: Sin,
    inner: Broker,
    count: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    outcomes: HashMap<TaskId, Outcome>,
    answer: Option<Payload>,
}

impl Sinful {
    fn every_third(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) % 3 == 2
    }

    fn forge(&self, mut view: TaskView) -> TaskView {
        if let Some(outcome) = self.kept.lock().unwrap().outcomes.get(&view.task.id) {
            (view.status, view.outcome, view.node) = (outcome.status, Some(outcome.clone()), None);
        }
        view
    }
}

impl Tasks for Sinful {
    fn submit(&self, tasks: Vec<Task>) -> BoxFuture<'_, Vec<Result<Submitted>>> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for task in tasks {
                if self.sin == Sin::LosesSubmissions && self.every_third() {
                    answers.push(Ok(Submitted::New));
                } else {
                    answers.extend(self.inner.tasks.submit(vec![task]).await);
                }
            }
            answers
        })
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Lease>>> {
        Box::pin(async move {
            let wait = if self.sin == Sin::DoesNotWait { Duration::ZERO } else { claim.wait };
            let mut leases = self.inner.tasks.claim(Claim { wait, ..claim }).await?;
            if self.sin == Sin::HandsOutTwice {
                leases = leases.into_iter().flat_map(|lease| [lease.clone(), lease]).collect();
            }
            if self.sin == Sin::ForgetsAttempts {
                leases.iter_mut().for_each(|lease| lease.attempt = 1);
            }
            Ok(leases)
        })
    }

    fn extend(&self, fences: Vec<Fence>) -> BoxFuture<'_, Vec<Result<()>>> {
        self.inner.tasks.extend(fences)
    }

    fn append(&self, fence: Fence, entries: Vec<Entry>, children: Vec<Child>) -> BoxFuture<'_, Result<Fence>> {
        self.inner.tasks.append(fence, entries, children)
    }

    fn release(&self, back: GiveBack) -> BoxFuture<'_, Result<()>> {
        self.inner.tasks.release(back)
    }

    fn park(&self, park: Park) -> BoxFuture<'_, Result<()>> {
        self.inner.tasks.park(park)
    }

    fn finish(&self, mut turns: Vec<Finish>) -> BoxFuture<'_, Vec<Result<Recorded>>> {
        Box::pin(async move {
            if self.sin == Sin::NoDeadLetter {
                turns.iter_mut().for_each(|turn| turn.dead = None);
            }
            let mut answers = self.inner.tasks.finish(turns.clone()).await;
            if self.sin == Sin::Unfenced {
                for (turn, answer) in turns.into_iter().zip(&mut answers) {
                    self.kept.lock().unwrap().outcomes.insert(turn.fence.task, turn.outcome);
                    *answer = Ok(Recorded::New);
                }
            }
            answers
        })
    }

    fn conclude(&self, outcome: Outcome) -> BoxFuture<'_, Result<Recorded>> {
        self.inner.tasks.conclude(outcome)
    }

    fn cancel(&self, task: TaskId, by: String) -> BoxFuture<'_, Result<Vec<TaskId>>> {
        Box::pin(async move {
            if self.sin != Sin::CancelsTheTop {
                return self.inner.tasks.cancel(task, by).await;
            }
            let view = self.inner.tasks.get(vec![task.clone()]).await?.remove(0);
            let Some(view) = view else { return Err(Error::not_found("task")) };
            self.kept
                .lock()
                .unwrap()
                .outcomes
                .insert(task.clone(), Outcome::of(&view.task, callboard_broker::task::Status::Cancelled, None, 1));
            Ok(vec![task])
        })
    }

    fn retry(&self, task: TaskId) -> BoxFuture<'_, Result<TaskId>> {
        self.inner.tasks.retry(task)
    }

    fn wait(&self, tasks: Vec<TaskId>, until: Until, wait: Duration) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        self.inner.tasks.wait(tasks, until, wait)
    }

    fn get(&self, tasks: Vec<TaskId>) -> BoxFuture<'_, Result<Vec<Option<TaskView>>>> {
        Box::pin(async move {
            let views = self.inner.tasks.get(tasks).await?;
            Ok(views.into_iter().map(|view| view.map(|view| self.forge(view))).collect())
        })
    }

    fn log(&self, task: TaskId) -> BoxFuture<'_, Result<Vec<Record>>> {
        self.inner.tasks.log(task)
    }

    fn list(&self, filter: TaskFilter) -> BoxFuture<'_, Result<Vec<TaskView>>> {
        Box::pin(async move {
            let views = self.inner.tasks.list(filter).await?;
            Ok(views.into_iter().map(|view| self.forge(view)).collect())
        })
    }

    fn depth(&self) -> BoxFuture<'_, Result<Vec<(CapabilityName, Depth)>>> {
        self.inner.tasks.depth()
    }
}

impl States for Sinful {
    fn get(&self, keys: Vec<Key>) -> BoxFuture<'_, Result<Vec<Option<StateEntry>>>> {
        self.inner.states.get(keys)
    }

    fn list(&self, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        self.inner.states.list(prefix)
    }

    fn put(&self, mut writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Put>>> {
        if self.sin == Sin::BlindWrites {
            writes.iter_mut().for_each(|write| write.expect = Expect::Any);
        }
        self.inner.states.put(writes)
    }

    fn watch(&self, prefix: String) -> BoxFuture<'_, Result<Box<dyn Watch>>> {
        Box::pin(async move {
            let inner = self.inner.states.watch(prefix).await?;
            let skips = self.sin == Sin::SkipsChanges;
            Ok(Box::new(Skipping { inner, skips, seen: 0 }) as Box<dyn Watch>)
        })
    }

    fn history(&self, key: Key) -> BoxFuture<'_, Result<Vec<Change>>> {
        self.inner.states.history(key)
    }

    fn at(&self, moment: Moment, prefix: String) -> BoxFuture<'_, Result<Vec<StateEntry>>> {
        let moment = match moment {
            Moment::Sequence(n) if self.sin == Sin::NoTail => Moment::Sequence(n - n % 3),
            other => other,
        };
        self.inner.states.at(moment, prefix)
    }
}

struct Skipping {
    inner: Box<dyn Watch>,
    skips: bool,
    seen: u64,
}

impl Watch for Skipping {
    fn next(&mut self) -> BoxFuture<'_, Result<Change>> {
        Box::pin(async move {
            self.seen += 1;
            if self.skips && self.seen.is_multiple_of(3) {
                self.inner.next().await?;
            }
            self.inner.next().await
        })
    }
}

impl Events for Sinful {
    fn publish(&self, facts: Vec<NewEvent>) -> BoxFuture<'_, Vec<Result<u64>>> {
        self.inner.events.publish(facts)
    }

    fn read(&self, filter: EventFilter, from: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Event>>> {
        Box::pin(async move {
            let mut events = self.inner.events.read(filter, from, limit).await?;
            events.retain(|event| self.sin != Sin::DropsEvents || !event.seq.is_multiple_of(3));
            Ok(events)
        })
    }

    fn last(&self) -> BoxFuture<'_, Result<u64>> {
        self.inner.events.last()
    }

    fn follow(&self, filter: EventFilter, from: u64) -> BoxFuture<'_, Result<Box<dyn EventStream>>> {
        self.inner.events.follow(filter, from)
    }
}

impl Messages for Sinful {
    fn serve(&self, address: Address, limit: usize) -> Arc<dyn Inbox> {
        let limit = if self.sin == Sin::NoBound { 10_000 } else { limit };
        self.inner.messages.serve(address, limit)
    }

    fn close(&self, address: &Address) {
        self.inner.messages.close(address);
    }

    fn is_served(&self, address: &Address) -> bool {
        self.inner.messages.is_served(address)
    }

    fn ask(&self, message: Message) -> BoxFuture<'_, Result<Payload>> {
        Box::pin(async move {
            let answer = self.inner.messages.ask(message).await?;
            if self.sin != Sin::MixesAnswers || !self.every_third() {
                self.kept.lock().unwrap().answer = Some(answer.clone());
                return Ok(answer);
            }
            Ok(self.kept.lock().unwrap().answer.replace(answer.clone()).unwrap_or(answer))
        })
    }

    fn tell(&self, messages: Vec<Message>) -> BoxFuture<'_, Vec<Result<()>>> {
        self.inner.messages.tell(messages)
    }

    fn broadcast(&self, broadcast: Broadcast) -> BoxFuture<'_, Result<()>> {
        let from = if self.sin == Sin::HearsItself { "somebody else".into() } else { broadcast.from };
        self.inner.messages.broadcast(Broadcast { from, ..broadcast })
    }

    fn subscribe(&self, topic: &str, who: &str) -> Box<dyn Subscription> {
        self.inner.messages.subscribe(topic, who)
    }

    fn counts(&self) -> MessageCounts {
        self.inner.messages.counts()
    }
}
