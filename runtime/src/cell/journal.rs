//! The log of one task as its attempt sees it: what earlier attempts recorded, and the fence for the next record.
//!
//! One append at a time: each shows the record that the one before it made, so an attempt that was replaced finds out at
//! its next write and can record nothing. A write that has begun runs to its end though the handler drops the call: else
//! nobody would know which record is the last, and the attempt could never write again.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;

use callboard_agents::host::{Order, Spend, Standing};
use callboard_agents::keys::{self, ChildKeys};
use callboard_broker::Broker;
use callboard_broker::budget::Budget;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::lineage::Link;
use callboard_broker::payload::Payload;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Record, Status, Task};
use callboard_broker::tasks::{Child, Fence, TaskView};
use callboard_broker::trace::TraceContext;
use tokio::sync::oneshot;

use super::account::Account;
use super::append::append;
use super::effects::Effects;
use super::guarded::Hold;
use super::inherit::{self, Present};
use super::stats::Stats;
use crate::limits;

/// How many generations of one child are looked up.
const MAX_GENERATIONS: u32 = 1_000;

/// A child that an earlier attempt delegated.
#[derive(Clone, Debug)]
struct Delegated {
    child: TaskId,
    input_hash: String,
    /// Whether people answer it.
    human: bool,
}

impl Delegated {
    /// Whether it asks people about an effect in doubt, when this is its key.
    fn is_about_doubt(&self, key: &str) -> bool {
        self.human && keys::is_of_doubt(key)
    }
}

/// What this attempt knows and has used so far.
#[derive(Debug, Default)]
struct Seen {
    steps: HashMap<String, Payload>,
    used_steps: HashSet<String>,
    children: HashMap<String, Delegated>,
    keys: ChildKeys,
    used_effects: HashSet<String>,
}

impl Seen {
    fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Step { name, value, .. } => {
                self.steps.insert(name.clone(), value.clone());
            }
            Entry::Delegated { key, child, input_hash, capability } => {
                let (child, input_hash, human) = (child.clone(), input_hash.clone(), capability.is_human());
                self.children.insert(key.clone(), Delegated { child, input_hash, human });
            }
            _ => {}
        }
    }
}

/// What a child gets from the request that delegates it.
pub(crate) struct Given {
    /// The trace that it is part of.
    pub(crate) trace: Option<TraceContext>,
    /// Where what the request knows comes from.
    pub(crate) origins: Vec<String>,
}

/// The log of one task under one claim.
#[derive(Debug)]
pub(crate) struct Journal {
    task: Task,
    /// The fence at the beginning: which claim this is.
    claim: Fence,
    fence: Arc<tokio::sync::Mutex<Fence>>,
    /// The last record that was written, as the fence has it.
    last: Arc<AtomicU64>,
    seen: Mutex<Seen>,
    effects: Arc<Effects>,
    account: Option<Account>,
    /// What those above this task and it itself were asked for.
    lineage: OnceLock<Vec<Link>>,
    /// Of a fork: what its own log had at the beginning.
    present: Present,
    /// Whether the handler may have begun under this claim.
    begun: AtomicBool,
    /// Of the node.
    stats: Arc<Stats>,
}

impl Journal {
    pub(crate) fn new(task: Task, log: &[Record], fence: Fence, stats: Arc<Stats>) -> Self {
        let mut seen = Seen::default();
        let effects = Arc::new(Effects::new(&task, log));
        log.iter().for_each(|record| seen.add(&record.entry));
        let own = log.iter().map(|record| &record.entry);
        let present = if task.forked.is_some() { inherit::present(own) } else { Present::new() };
        // A root whose id makes no key has no account; ids are checked where they come in.
        let account = Account::of(&task).unwrap_or_default();
        let claim = fence.clone();
        Self {
            task,
            claim,
            last: Arc::new(AtomicU64::new(fence.last)),
            fence: Arc::new(tokio::sync::Mutex::new(fence)),
            seen: Mutex::new(seen),
            effects,
            account,
            lineage: OnceLock::new(),
            present,
            begun: AtomicBool::new(false),
            stats,
        }
    }

    /// From now on the task is the work of this claim's version.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Of a fork: what its own log had at the beginning.
    pub(super) fn present(&self) -> Present {
        self.present.clone()
    }

    /// Takes what a fork has from elsewhere into its own log. Done before the handler begins.
    pub(crate) async fn inherit(&self, broker: &Broker) -> Result<()> {
        match &self.task.forked {
            Some(forked) => inherit::inherit(self, broker, &self.task, forked).await,
            None => Ok(()),
        }
    }

    /// Appends records that were made elsewhere, with the children that they name.
    pub(super) async fn take_over(&self, broker: &Broker, entries: Vec<Entry>, children: Vec<Child>) -> Result<()> {
        self.append(broker, entries.clone(), children, || ()).await?;
        entries.iter().for_each(|entry| self.lock().add(entry));
        self.effects.add(&entries);
        Ok(())
    }

    /// The claim, with the first record that it has to show.
    pub(crate) fn claim(&self) -> &Fence {
        &self.claim
    }

    /// The task.
    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    /// Where this task spends; none without a budget.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The children that were delegated so far, in the order of their ids, but for questions about effects in doubt.
    pub(crate) fn children(&self) -> Vec<TaskId> {
        let seen = self.lock();
        let children = seen.children.iter().filter(|(key, one)| !one.is_about_doubt(key));
        let mut children: Vec<TaskId> = children.map(|(_, one)| one.child.clone()).collect();
        children.sort_unstable();
        children
    }

    /// The claim as it stands at any moment.
    pub(crate) fn hold(&self) -> Hold {
        Hold { claim: self.claim.clone(), last: self.last.clone() }
    }

    /// The fence that the attempt's last write has to show.
    pub(crate) async fn fence(&self) -> Fence {
        self.fence.lock().await.clone()
    }

    /// What a child was delegated for.
    pub(crate) fn link_of(&self, child: &TaskId, capability: &CapabilityName) -> Option<Link> {
        let seen = self.lock();
        let input_hash = seen.children.values().find(|one| one.child == *child)?.input_hash.clone();
        Some(Link { capability: capability.clone(), input_hash })
    }

    /// Whether people are to answer this child.
    pub(crate) fn is_for_people(&self, child: &TaskId) -> bool {
        self.lock().children.values().any(|one| one.human && one.child == *child)
    }

    /// Whether people are asked about an effect in doubt by this child.
    pub(crate) fn is_about_doubt(&self, child: &TaskId) -> bool {
        self.lock().children.iter().any(|(key, one)| one.child == *child && one.is_about_doubt(key))
    }

    pub(crate) fn recorded(&self, step: &str) -> Result<Option<Payload>> {
        let mut seen = self.lock();
        if !seen.used_steps.insert(step.to_owned()) {
            return Err(Error::decode(format!(
                "the step \"{step}\" was used twice in one attempt: give each its own name"
            )));
        }
        Ok(seen.steps.get(step).cloned())
    }

    /// Where an effect stands by this log and those of the earlier generations, whose effects are not done again.
    pub(crate) async fn effect(&self, broker: &Broker, name: &str) -> Result<Standing> {
        if !self.lock().used_effects.insert(name.to_owned()) {
            return Err(Error::decode(format!(
                "the effect \"{name}\" was used twice in one attempt: give each its own name"
            )));
        }
        self.effects.standing(broker, name).await
    }

    pub(crate) async fn record(&self, broker: &Broker, entry: Entry) -> Result<()> {
        let (effects, recorded) = (self.effects.clone(), entry.clone());
        self.append(broker, vec![entry], Vec::new(), move || effects.add(&[recorded])).await
    }

    /// The effects that are in doubt now, and about which nobody was asked: each with its key and how often it was begun.
    pub(super) async fn unasked_doubts(&self, broker: &Broker) -> Result<Vec<(String, String, u32)>> {
        let mut doubts = self.effects.in_doubt(broker).await?;
        let seen = self.lock();
        doubts.retain(|(name, _, intents)| !seen.children.contains_key(&keys::of_doubt(name, *intents, 1)));
        Ok(doubts)
    }

    /// The child for an order: the one that was recorded under its key, or a new one.
    ///
    /// When the future is dropped while the child is on its way to the store, the child is given to `abandon`. Whether a
    /// new one without a key of its own makes any headway, `repeats` says.
    pub(crate) async fn delegate(
        self: &Arc<Self>,
        broker: &Broker,
        order: Order,
        given: Given,
        repeats: impl FnOnce(&Link) -> Result<()>,
        abandon: impl FnOnce(TaskId) + Send + 'static,
    ) -> Result<TaskId> {
        let input_hash = order.input.content_hash()?;
        let key = self.lock().keys.key(&order)?;
        if let Some(known) = self.lock().children.get(&key) {
            // A doubt stays the same in whatever words it was put.
            if known.input_hash == input_hash || known.is_about_doubt(&key) {
                return Ok(known.child.clone());
            }
            let (recorded, given) = (known.input_hash.as_str().into(), input_hash.as_str().into());
            return Err(Error::Diverged { key: key.into(), recorded, given });
        }
        let next = Link { capability: order.capability.clone(), input_hash: input_hash.clone() };
        // Nobody works below a person, so a question is no level.
        if !order.capability.is_human() {
            let root = self.task.ancestors.first().unwrap_or(&self.task.id).as_str();
            limits::delegates(&self.task.budget, root, self.task.ancestors.len(), self.lineage()?, &next)?;
        }
        if order.key.is_none() {
            repeats(&next)?;
        }
        if order.budget.counts() || order.budget.wall_ms.is_some() {
            return Err(Error::decode(
                "tasks, steps, tokens, cost and wall time are the budget of a whole run: set them where it is submitted",
            ));
        }
        if let Some(account) = self.account.as_ref().filter(|_| !order.is_about_doubt) {
            account.spend(broker, Spend { tasks: 1, ..Spend::default() }).await?;
        }
        let skipped = order.skipped.clone();
        let Given { trace: traceparent, origins } = given;
        let child = Task { traceparent, origins, ..self.child(broker, &key, order).await? };
        let id = child.id.clone();
        let entry = Entry::Delegated {
            key: key.clone(),
            child: id.clone(),
            capability: child.capability.clone(),
            input_hash: input_hash.clone(),
        };
        let human = child.capability.is_human();
        let child = match skipped {
            Some(reason) => Child::Skipped(Box::new(child), reason),
            None => Child::Queued(Box::new(child)),
        };
        let journal = self.clone();
        let stored = move || {
            journal.lock().children.insert(key, Delegated { child: id.clone(), input_hash, human });
            Stored { child: id, abandon: Some(abandon) }
        };
        self.append(broker, vec![entry], vec![child], stored).await.map(Stored::keep)
    }

    /// Whether there is a child for an order already, so that nothing new would be begun for it.
    pub(crate) async fn has_child(&self, broker: &Broker, order: &Order) -> Result<bool> {
        let key = self.lock().keys.next(order)?;
        let is_known = self.lock().children.contains_key(&key);
        Ok(is_known || self.newest(broker, &key).await?.is_some_and(|view| is_wanted(&view)))
    }

    /// The task for an order. Under a retried parent, a child that was completed is inherited and one that is at work
    /// is joined; one that ended otherwise gets its next generation.
    async fn child(&self, broker: &Broker, key: &str, order: Order) -> Result<Task> {
        let now = broker.clock.now();
        let fresh = Task { lineage: self.lineage()?.to_vec(), ..self.fresh(key, order, now) };
        Ok(match self.newest(broker, key).await? {
            None => fresh,
            // It is left as it is stored; only the turn that it comes with wants its own task named.
            Some(view) if is_wanted(&view) => Task { parent: Some(self.task.id.clone()), ..view.task },
            Some(view) => {
                // What is to be done is what is ordered now, also where the parent's retry orders it differently.
                let next = view.task.next_generation(Some(&self.task), now);
                Task { id: next.id, base: next.base, generation: next.generation, retry_of: next.retry_of, ..fresh }
            }
        })
    }

    /// The newest generation of a child; none under a parent that was not retried, whose log knows all its children.
    async fn newest(&self, broker: &Broker, key: &str) -> Result<Option<TaskView>> {
        let mut newest = None;
        if self.task.generation == 1 {
            return Ok(newest);
        }
        for generation in 1..=MAX_GENERATIONS {
            let id = TaskId::child(&self.task.run, &self.task.base, key, generation);
            match broker.tasks.get(vec![id]).await?.pop().flatten() {
                Some(view) => newest = Some(view),
                None => break,
            }
        }
        Ok(newest)
    }

    /// What the children of this task come through.
    fn lineage(&self) -> Result<&[Link]> {
        if let Some(known) = self.lineage.get() {
            return Ok(known);
        }
        let own = Link { capability: self.task.capability.clone(), input_hash: self.task.input.content_hash()? };
        let lineage = self.task.lineage.iter().cloned().chain([own]).collect();
        Ok(self.lineage.get_or_init(|| lineage))
    }

    fn fresh(&self, key: &str, order: Order, now: u64) -> Task {
        let is_about_doubt = order.is_about_doubt;
        let Order {
            capability, input, description, deadline, timeout, retry, priority, model, depends_on, budget, ..
        } = order;
        let mut task = self.task.child(key, capability, input, now);
        let ms = callboard_broker::clock::millis;
        task.deadline = deadline.map_or(task.deadline, |d| task.deadline.min(now.saturating_add(ms(d))));
        task.budget = task.budget.within(budget);
        task.timeout_ms = timeout.map(ms);
        task.description = description;
        task.retry = retry.unwrap_or_default();
        task.priority = priority.unwrap_or(task.priority);
        task.model = model.or(task.model);
        task.depends_on = depends_on;
        if is_about_doubt {
            // The doubt does not end with the time of whoever asks.
            task.deadline = deadline.map_or(task.deadline, |d| now.saturating_add(ms(d)));
            task.budget = Budget { wall_ms: None, until: None, ..task.budget };
        }
        task
    }

    /// Appends, and makes of that what the caller gets. When the caller has gone, what was made is dropped.
    async fn append<T: Send + 'static>(
        &self,
        broker: &Broker,
        entries: Vec<Entry>,
        children: Vec<Child>,
        then: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let mut line = Box::pin(self.fence.clone().lock_owned());
        // Its place in the line is taken here, in the order of calls, and waited for apart: a handler that polls another of
        // its futures meanwhile would hold up all that stand behind.
        let place = std::future::poll_fn(|cx| Poll::Ready(line.as_mut().poll(cx))).await;
        let (tasks, stats, last) = (broker.tasks.clone(), self.stats.clone(), self.last.clone());
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            let mut fence = match place {
                Poll::Ready(fence) => fence,
                Poll::Pending => {
                    let fence = line.await;
                    // Nothing had begun, and nobody wants it any more.
                    if reply.is_closed() {
                        return;
                    }
                    fence
                }
            };
            let written = append(&*tasks, &fence, &entries, &children).await;
            stats.written(&written);
            let made = written.map(|next| {
                last.store(next.last, Ordering::Release);
                *fence = next;
                then()
            });
            // A caller that has gone is the reason why this runs apart.
            let _ = reply.send(made);
        });
        answer.await.unwrap_or_else(|_| Err(Error::unavailable("the runtime is stopping")))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a retried parent goes on with this child of an earlier generation.
fn is_wanted(view: &TaskView) -> bool {
    view.status == Status::Completed || !view.status.is_final()
}

/// A child that was stored for a caller who has not got it yet; dropped with it, it is abandoned.
struct Stored<A: FnOnce(TaskId)> {
    child: TaskId,
    abandon: Option<A>,
}

impl<A: FnOnce(TaskId)> Stored<A> {
    fn keep(mut self) -> TaskId {
        self.abandon = None;
        self.child.clone()
    }
}

impl<A: FnOnce(TaskId)> Drop for Stored<A> {
    fn drop(&mut self) {
        if let Some(abandon) = self.abandon.take() {
            abandon(self.child.clone());
        }
    }
}
