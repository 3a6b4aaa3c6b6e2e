//! The log of one task as its attempt sees it: what earlier attempts recorded, and the fence for the next record.
//!
//! One append at a time: each shows the record that the one before it made, so an attempt that was replaced finds out at
//! its next write and can record nothing. A write that has begun runs to its end though the handler drops the call: else
//! nobody would know which record is the last, and the attempt could never write again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use callboard_agents::host::{Order, Spend, Standing};
use callboard_agents::keys::ChildKeys;
use callboard_broker::Broker;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::lineage::Link;
use callboard_broker::payload::Payload;
use callboard_broker::task::{Entry, Record, Status, Task};
use callboard_broker::tasks::{Child, Fence};
use callboard_broker::trace::TraceContext;
use tokio::sync::oneshot;

use super::account::Account;
use super::append::append;
use super::effects::Effects;
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

/// What this attempt knows and has used so far.
#[derive(Debug, Default)]
struct Seen {
    steps: HashMap<String, Payload>,
    used_steps: HashSet<String>,
    children: HashMap<String, Delegated>,
    keys: ChildKeys,
    used_effects: HashSet<String>,
}

/// The log of one task under one claim.
#[derive(Debug)]
pub(crate) struct Journal {
    task: Task,
    /// The fence at the beginning: which claim this is.
    claim: Fence,
    fence: Arc<tokio::sync::Mutex<Fence>>,
    seen: Mutex<Seen>,
    effects: Effects,
    account: Option<Account>,
    /// What those above this task and it itself were asked for.
    lineage: OnceLock<Vec<Link>>,
}

impl Journal {
    pub(crate) fn new(task: Task, log: &[Record], fence: Fence) -> Self {
        let mut seen = Seen::default();
        let effects = Effects::new(&task, log);
        for record in log {
            match &record.entry {
                Entry::Step { name, value } => {
                    seen.steps.insert(name.clone(), value.clone());
                }
                Entry::Delegated { key, child, input_hash, capability } => {
                    let (child, input_hash, human) = (child.clone(), input_hash.clone(), capability.is_human());
                    let delegated = Delegated { child, input_hash, human };
                    seen.children.insert(key.clone(), delegated);
                }
                _ => {}
            }
        }
        // A root whose id makes no key has no account; ids are checked where they come in.
        let account = Account::of(&task).unwrap_or_default();
        let claim = fence.clone();
        Self {
            task,
            claim,
            fence: Arc::new(tokio::sync::Mutex::new(fence)),
            seen: Mutex::new(seen),
            effects,
            account,
            lineage: OnceLock::new(),
        }
    }

    /// The claim, with the first record that it has to show.
    pub(crate) fn claim(&self) -> &Fence {
        &self.claim
    }

    /// Where this task spends; none without a budget.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The children that were delegated so far.
    pub(crate) fn children(&self) -> Vec<TaskId> {
        self.lock().children.values().map(|one| one.child.clone()).collect()
    }

    /// The fence that the attempt's last write has to show.
    pub(crate) async fn fence(&self) -> Fence {
        self.fence.lock().await.clone()
    }

    /// Whether people are to answer this child.
    pub(crate) fn is_for_people(&self, child: &TaskId) -> bool {
        self.lock().children.values().any(|one| one.human && one.child == *child)
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
        self.append(broker, vec![entry], Vec::new(), || ()).await
    }

    /// The child for an order: the one that was recorded under its key, or a new one.
    ///
    /// When the future is dropped while the child is on its way to the store, the child is given to `abandon`.
    pub(crate) async fn delegate(
        self: &Arc<Self>,
        broker: &Broker,
        order: Order,
        trace: Option<TraceContext>,
        abandon: impl FnOnce(TaskId) + Send + 'static,
    ) -> Result<TaskId> {
        let input_hash = order.input.content_hash()?;
        let key = self.lock().keys.key(&order)?;
        if let Some(known) = self.lock().children.get(&key) {
            if known.input_hash == input_hash {
                return Ok(known.child.clone());
            }
            let (recorded, given) = (known.input_hash.as_str().into(), input_hash.as_str().into());
            return Err(Error::Diverged { key: key.into(), recorded, given });
        }
        let next = Link { capability: order.capability.clone(), input_hash: input_hash.clone() };
        let root = self.task.ancestors.first().unwrap_or(&self.task.id).as_str();
        limits::delegates(&self.task.budget, root, self.task.ancestors.len(), self.lineage()?, &next)?;
        if order.budget.counts() {
            return Err(Error::decode(
                "tasks, steps, tokens and cost are the budget of a whole run: set them where it is submitted",
            ));
        }
        if let Some(account) = &self.account {
            account.spend(broker, Spend { tasks: 1, ..Spend::default() }).await?;
        }
        let skipped = order.skipped.clone();
        let child = Task { traceparent: trace, ..self.child(broker, &key, order).await? };
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

    /// The task for an order. Under a retried parent, a child that was completed is inherited and one that is at work
    /// is joined; one that ended otherwise gets its next generation.
    async fn child(&self, broker: &Broker, key: &str, order: Order) -> Result<Task> {
        let now = broker.clock.now();
        let fresh = Task { lineage: self.lineage()?.to_vec(), ..self.fresh(key, order, now) };
        if self.task.generation == 1 {
            return Ok(fresh);
        }
        let mut newest = None;
        for generation in 1..=MAX_GENERATIONS {
            let id = TaskId::child(&self.task.run, &self.task.base, key, generation);
            match broker.tasks.get(vec![id]).await?.pop().flatten() {
                Some(view) => newest = Some(view),
                None => break,
            }
        }
        Ok(match newest {
            None => fresh,
            // It is left as it is stored; only the turn that it comes with wants its own task named.
            Some(view) if view.status == Status::Completed || !view.status.is_final() => {
                Task { parent: Some(self.task.id.clone()), ..view.task }
            }
            Some(view) => {
                // What is to be done is what is ordered now, also where the parent's retry orders it differently.
                let next = view.task.next_generation(Some(&self.task), now);
                Task { id: next.id, base: next.base, generation: next.generation, retry_of: next.retry_of, ..fresh }
            }
        })
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
        let Order { capability, input, description, deadline, timeout, retry, priority, depends_on, budget, .. } =
            order;
        let mut task = self.task.child(key, capability, input, now);
        let ms = callboard_broker::clock::millis;
        task.deadline = deadline.map_or(task.deadline, |d| task.deadline.min(now.saturating_add(ms(d))));
        task.budget = task.budget.within(budget);
        task.timeout_ms = timeout.map(ms);
        task.description = description;
        task.retry = retry.unwrap_or_default();
        task.priority = priority.unwrap_or(task.priority);
        task.depends_on = depends_on;
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
        let mut fence = self.fence.clone().lock_owned().await;
        let tasks = broker.tasks.clone();
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            let written = append(&*tasks, &fence, &entries, &children).await;
            let made = written.map(|next| {
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
