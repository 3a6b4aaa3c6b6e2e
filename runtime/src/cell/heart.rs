//! The claims that a node holds: kept alive while they are worked on, and written back whatever becomes of the attempt.
//!
//! Who takes a claim out of the heart is the one who writes it back, so that it is done once: the attempt with its
//! outcome; or, when the attempt was dropped half-way, its [`Claimed`]; or, when its code cannot be dropped because it
//! spins, the [`Charges`] of the cell that was killed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use callboard_agents::human::Doubt;
use callboard_broker::Broker;
use callboard_broker::code;
use callboard_broker::error::{Class, Error, Remote, Result};
use callboard_broker::id::TaskId;
use callboard_broker::task::{Outcome, Release, Status, failures};
use callboard_broker::tasks::{Fence, Finish, GiveBack, LEASE, Revoked};
use serde::Serialize;
use tokio::sync::watch;

use super::decide::{Attempted, Verdict, given_up, verdict};
use super::hub::Hub;
use super::journal::{Given, Journal};
use super::stats::Stats;

/// How long code whose cell was killed may take to be gone before its tasks are handed back without it; and how long
/// code whose task was cancelled may take, before it is told to be a zombie.
const GRACE: Duration = Duration::from_secs(1);
/// The chance by which a wait is neither longer nor shorter: what panics while it is dropped does so by itself.
const EVEN: f64 = 0.5;
/// How often it is looked whether something has ended, while somebody waits for that.
const LOOK: Duration = Duration::from_millis(10);

/// The claims of a node.
pub(crate) struct Heart {
    claims: Mutex<BTreeMap<u64, Claim>>,
    held: watch::Sender<usize>,
}

enum Claim {
    /// An attempt has it.
    Held(Arc<Journal>, Work),
    /// It is being handed back.
    Leaving,
}

/// Who works on a claim, and what says that it is wanted no more.
pub(crate) struct Work {
    pub(crate) agent: Arc<str>,
    pub(crate) revoked: watch::Receiver<Option<Revoked>>,
}

/// Code that goes on though nobody wants it to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Zombie {
    pub(crate) task: TaskId,
    pub(crate) agent: Arc<str>,
}

impl Default for Heart {
    fn default() -> Self {
        Self { claims: Mutex::default(), held: watch::Sender::new(0) }
    }
}

impl Heart {
    fn hold(&self, lease: u64, journal: Arc<Journal>, work: Work) {
        self.change(|claims| claims.insert(lease, Claim::Held(journal, work)));
    }

    /// Waits until none of these tasks is at work here, a second at most: how many were, and those that still are.
    pub(crate) async fn until_stopped(&self, tasks: &HashSet<TaskId>) -> (usize, Vec<Zombie>) {
        let at_work = || self.at_work(|task, _| tasks.contains(task));
        let before = at_work().len();
        let gone = async {
            while !at_work().is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(GRACE, gone).await {
            Ok(()) => (before, Vec::new()),
            Err(_) => (before, at_work()),
        }
    }

    /// What works on though its claim holds no more.
    fn unwanted(&self) -> Vec<Zombie> {
        self.at_work(|_, work| work.revoked.borrow().is_some())
    }

    fn at_work(&self, which: impl Fn(&TaskId, &Work) -> bool) -> Vec<Zombie> {
        let zombie = |claim: &Claim| match claim {
            Claim::Held(journal, work) if which(&journal.claim().task, work) => {
                Some(Zombie { task: journal.claim().task.clone(), agent: work.agent.clone() })
            }
            _ => None,
        };
        self.claims().values().filter_map(zombie).collect()
    }

    /// Makes the caller the one who hands this claim back, unless somebody has let it go already.
    fn leave(&self, lease: u64) -> Option<(Arc<Journal>, Work)> {
        let mut claims = self.claims();
        let claim = claims.get_mut(&lease)?;
        match std::mem::replace(claim, Claim::Leaving) {
            Claim::Held(journal, work) => Some((journal, work)),
            Claim::Leaving => None,
        }
    }

    fn let_go(&self, lease: u64) {
        self.change(|claims| claims.remove(&lease));
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<u64, Claim>) -> T) {
        let mut claims = self.claims();
        change(&mut claims);
        self.held.send_replace(claims.len());
    }

    /// How many claims are held or being handed back.
    pub(crate) fn held(&self) -> usize {
        self.claims().len()
    }

    /// How many are held or being handed back, and every change of that.
    pub(crate) fn watch(&self) -> watch::Receiver<usize> {
        self.held.subscribe()
    }

    /// Resolves when none is left.
    pub(crate) async fn until_empty(&self) {
        // The sender is ours.
        let _ = self.held.subscribe().wait_for(|held| *held == 0).await;
    }

    fn fences(&self) -> Vec<Fence> {
        let fence = |claim: &Claim| match claim {
            Claim::Held(journal, _) => Some(journal.claim().clone()),
            Claim::Leaving => None,
        };
        self.claims().values().filter_map(fence).collect()
    }

    fn claims(&self) -> MutexGuard<'_, BTreeMap<u64, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Extends all claims of a node at a third of their life. A claim that no longer holds tells its attempt by itself; code
/// that has not ended by the next beat is told to be a zombie, once.
pub(crate) async fn beat(hub: Arc<Hub>) {
    let (mut suspects, mut told): (Vec<Zombie>, Vec<Zombie>) = (Vec::new(), Vec::new());
    let mut ticks = tokio::time::interval(LEASE / 3);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let unwanted = hub.heart.unwanted();
        for zombie in unwanted.iter().filter(|one| suspects.contains(one) && !told.contains(one)) {
            let Zombie { task, agent } = zombie;
            tracing::warn!(%task, %agent, "a zombie: code goes on though its claim holds no more, and keeps a thread");
        }
        told = unwanted.iter().filter(|one| suspects.contains(one)).cloned().collect();
        suspects = unwanted;
        let fences = hub.heart.fences();
        if fences.is_empty() {
            continue;
        }
        for answer in hub.broker.tasks.extend(fences).await {
            if let Err(error) = answer {
                tracing::debug!(%error, "a claim was not extended");
            }
        }
    }
}

/// A claim in the hands of an attempt. Dropped without having been written back, it hands its task back.
pub(crate) struct Claimed {
    hub: Arc<Hub>,
    journal: Arc<Journal>,
    lease: u64,
}

impl Claimed {
    pub(crate) fn new(hub: &Arc<Hub>, journal: Arc<Journal>, work: Work) -> Self {
        let lease = journal.claim().lease;
        hub.heart.hold(lease, journal.clone(), work);
        Self { hub: hub.clone(), journal, lease }
    }

    pub(crate) fn lease(&self) -> u64 {
        self.lease
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Hands the task back, to be claimed again so much later.
    pub(crate) fn put_off(self, delay: Duration) {
        give_back(&self.hub, self.lease, Why::PutOff(delay));
    }

    /// There is nothing more to write: it was written, or the claim no longer holds.
    pub(crate) fn done(self) {
        self.hub.heart.let_go(self.lease);
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        // The panic of a handler was caught; what unwinds here is the drop of something of the handler's.
        let why = if std::thread::panicking() { Why::Panicked } else { Why::Dropped };
        give_back(&self.hub, self.lease, why);
    }
}

/// The claims that one pump of a cell has begun to work on, by the task that works on each.
pub(crate) struct Charges {
    hub: Arc<Hub>,
    leases: HashMap<tokio::task::Id, u64>,
}

impl Charges {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        Self { hub: hub.clone(), leases: HashMap::new() }
    }

    pub(crate) fn add(&mut self, work: tokio::task::Id, lease: u64) {
        self.leases.insert(work, lease);
    }

    pub(crate) fn remove(&mut self, work: tokio::task::Id) {
        self.leases.remove(&work);
    }
}

impl Drop for Charges {
    fn drop(&mut self) {
        let mut leases: Vec<u64> = self.leases.drain().map(|(_, lease)| lease).collect();
        leases.sort_unstable();
        let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| !leases.is_empty()) else { return };
        // Does not keep the store of a node that has gone.
        let hub: Weak<Hub> = Arc::downgrade(&self.hub);
        runtime.spawn(async move {
            tokio::time::sleep(GRACE).await;
            let Some(hub) = hub.upgrade() else { return };
            for lease in leases {
                give_back(&hub, lease, Why::Dropped);
            }
        });
    }
}

#[derive(Clone, Copy)]
enum Why {
    Dropped,
    PutOff(Duration),
    Panicked,
}

fn give_back(hub: &Arc<Hub>, lease: u64, why: Why) {
    let Some((journal, work)) = hub.heart.leave(lease) else { return };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return hub.heart.let_go(lease) };
    let hub = hub.clone();
    runtime.spawn(async move {
        let (what, written) = match why {
            Why::Dropped => ("release", release(&hub, &journal, Release::Drained, None, Duration::ZERO).await),
            Why::PutOff(delay) => ("release", release(&hub, &journal, Release::Drained, None, delay).await),
            Why::Panicked => ("outcome", fail(&hub, &journal, &work.agent).await),
        };
        report(&hub.stats, what, written);
        hub.heart.let_go(lease);
    });
}

async fn release(hub: &Hub, journal: &Journal, reason: Release, error: Option<Remote>, delay: Duration) -> Result<()> {
    let (fence, begun) = (journal.fence().await, journal.has_begun());
    hub.broker.tasks.release(GiveBack { fence, reason, error, delay, agent: None, begun }).await
}

/// An attempt whose code panicked while it was dropped has failed as any other does: its task is tried again as its retry
/// policy and the budget of its run allow.
async fn fail(hub: &Hub, journal: &Arc<Journal>, agent: &str) -> Result<()> {
    let (task, tasks, now) = (journal.task(), &hub.broker.tasks, hub.broker.clock.now());
    let failed = failures(&tasks.log(task.id.clone()).await?);
    let decided = match verdict(task, Attempted::Failed(panicked()), failed, now, EVEN) {
        Verdict::Retry(error, _) if !hub.budgets().take(&task.run) => given_up(task, error, now),
        decided => decided,
    };
    let (outcome, dead) = match decided {
        Verdict::Retry(error, delay) => return release(hub, journal, Release::Retry, Some(error), delay).await,
        Verdict::Finish(outcome, dead) => (*outcome, dead),
    };
    // The outcome is more than the questions.
    let asked = raise_doubts(&hub.broker, journal, agent, outcome.status).await;
    report(&hub.stats, "question about an effect in doubt", asked);
    let view = tasks.get(vec![task.id.clone()]).await?.pop().flatten();
    let (attempt, started_at) = view.map_or((0, None), |view| (view.attempt, view.started_at));
    let (node, agent) = (Some(hub.name.clone()), Some(agent.to_owned()));
    let outcome = Outcome { attempt, started_at, node, agent, ..outcome };
    let turn = Finish { fence: journal.fence().await, entries: Vec::new(), outcome, dead };
    let written = tasks.finish(vec![turn]).await.pop();
    written.unwrap_or_else(|| Err(Error::Unknown { what: "an outcome".into() })).map(drop)
}

/// Asks people about each effect that ends in doubt with a task that has ended so.
pub(super) async fn raise_doubts(broker: &Broker, journal: &Arc<Journal>, agent: &str, ended: Status) -> Result<()> {
    let task = journal.task();
    for (effect, key, intents) in journal.unasked_doubts(broker).await? {
        let (capability, id, run) = (&task.capability, Some(&task.id), Some(&task.run));
        let doubt = Doubt { effect: &effect, key: &key, intents, capability, task: id, run, agent };
        let given = Given { trace: task.traceparent, origins: Vec::new() };
        journal.delegate(broker, doubt.order(ended.as_str())?, given, |_| Ok(()), drop).await?;
    }
    Ok(())
}

fn panicked() -> Remote {
    Remote {
        class: Class::Transient,
        code: code::CRASHED.into(),
        message: "the agent panicked while it was being dropped".into(),
        retry_after_ms: None,
        partial: None,
        fatal: false,
    }
}

/// What became of a last write.
pub(crate) fn report(stats: &Stats, what: &str, written: Result<()>) {
    stats.written(&written);
    match written {
        Ok(()) => {}
        Err(error @ (Error::Replaced | Error::Cancelled { .. })) => tracing::info!(what, %error, "not recorded"),
        Err(error) => tracing::warn!(what, %error, "not recorded"),
    }
}
