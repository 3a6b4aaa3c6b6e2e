use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::messages::ASK_DEADLINE;
use callboard_broker::payload::Payload as Body;
use callboard_broker::state::States;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Task};
use tokio::time::Instant;

use super::script::Script;
use super::world::{Inner, Said, lock};
use crate::host::{Answer, Call, Facts, Host, Order, Served, Spend, Standing};
use crate::keys::ChildKeys;
use crate::llm::Models;
use crate::tool::{Desk, Taint};
use crate::{Context, Grant, TaskInfo};

/// One attempt in a [`World`](super::World).
pub(super) struct TestHost {
    world: Arc<Inner>,
    facts: Facts,
    said: Arc<Mutex<Said>>,
    keys: Mutex<ChildKeys>,
    steps: Mutex<HashSet<String>>,
    effects: Mutex<HashSet<String>>,
    desk: Arc<Desk>,
}

/// Who works, on what, and what it says meanwhile to whoever waits.
pub(super) struct Attempt {
    pub(super) agent: Arc<str>,
    pub(super) capability: CapabilityName,
    pub(super) task: Option<TaskId>,
    pub(super) attempt: u32,
    pub(super) attempts: u32,
    pub(super) said: Arc<Mutex<Said>>,
}

impl TestHost {
    pub(super) fn context(world: Arc<Inner>, of: Attempt) -> Context {
        let Attempt { agent, capability, task, attempt, attempts, said } = of;
        let (run, team) = (Some(world.run.clone()), "test".into());
        let (again, deadline) = (attempt > 1, Instant::now() + ASK_DEADLINE);
        let facts = Facts { agent, capability, task, run, team, attempt, again, attempts, deadline, model: None };
        let (keys, steps, effects) = (Mutex::default(), Mutex::default(), Mutex::default());
        let granted: Vec<Grant> = lock(&world.may_use).iter().cloned().map(Grant::Tool).collect();
        let desk = Desk::new(world.toolbox.clone(), &granted, Taint::default());
        Context::new(Arc::new(Self { world, facts, said, keys, steps, effects, desk }))
    }

    fn wanted(&self) -> Result<()> {
        self.world.cancelled.borrow().clone().map_or(Ok(()), Err)
    }

    /// Until `work` is done, the time is over, or the request is no longer wanted.
    async fn within<T>(&self, to: &str, limit: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.wanted()?;
        let over = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            why = self.cancelled() => Err(why),
            done = work => done,
            () = over => Err(Error::Deadline { to: to.into(), limit: limit.unwrap_or_default() }),
        }
    }

    /// Has somebody else work; a failure carries the best answer that was kept.
    async fn work(&self, script: Script, to: &CapabilityName, body: Body, task: Option<(&Task, u32)>) -> Result<Body> {
        let attempts = task.map_or(1, |(task, _)| task.retry.attempts);
        let (task, attempt) = task.map_or((None, 1), |(task, attempt)| (Some(task.id.clone()), attempt));
        let said: Arc<Mutex<Said>> = Arc::default();
        let (agent, capability, said_here) = (script.agent.clone(), to.clone(), said.clone());
        let of = Attempt { agent, capability, task, attempt, attempts, said: said_here };
        let context = Self::context(self.world.clone(), of);
        context.taint(&format!("agent {}", self.facts.capability));
        let answer = script.answer(context, body).await;
        if !to.is_human() {
            self.desk.taint().add(&format!("agent {to}"));
        }
        answer.map_err(|mut e| {
            if let Error::Failed { failure, .. } = &mut e {
                failure.partial = failure.partial.take().or_else(|| lock(&said).kept.take());
            }
            e
        })
    }

    /// Has somebody else answer a message.
    async fn answer(&self, call: Call) -> Result<(Arc<str>, Body)> {
        let script = lock(&self.world.scripts).get(&call.capability)?;
        let agent = script.agent.clone();
        Ok((agent, self.work(script, &call.capability, call.body, None).await?))
    }

    fn asked(&self, to: &CapabilityName, body: &Body) {
        lock(&self.world.seen).asked.push((to.clone(), body.clone()));
    }

    fn task(&self, to: &str) -> Result<&TaskId> {
        let denied =
            || Error::Denied { who: (&*self.facts.agent).into(), what: format!("delegate {to} outside a task").into() };
        self.facts.task.as_ref().ok_or_else(denied)
    }
}

impl Host for TestHost {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn ask(&self, call: Call) -> BoxFuture<'_, Result<Answer>> {
        Box::pin(async move {
            self.wanted()?;
            self.asked(&call.capability, &call.body);
            let (began, to, limit) = (Instant::now(), call.capability.clone(), call.deadline);
            let (agent, body) = self.within(to.as_str(), limit, self.answer(call)).await?;
            Ok(Answer { body, agent, took: began.elapsed() })
        })
    }

    fn tell(&self, call: Call) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.wanted()?;
            self.asked(&call.capability, &call.body);
            self.answer(call).await.map(drop)
        })
    }

    fn broadcast(&self, topic: &str, body: Body) -> BoxFuture<'_, Result<()>> {
        let sent = self.wanted().map(|()| lock(&self.world.seen).broadcast.push((topic.into(), body)));
        Box::pin(std::future::ready(sent))
    }

    fn delegate(&self, order: Order) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move {
            self.wanted()?;
            let task = self.task(order.capability.as_str())?;
            let key = lock(&self.keys).key(&order)?;
            let (to, input) = (order.capability.clone(), order.input.clone());
            let mut journal = lock(&self.world.journal);
            let child = journal.delegate(task, &key, order)?;
            if journal.child(&child)?.1.is_none() {
                self.asked(&to, &input);
            }
            Ok(child)
        })
    }

    fn outcome(&self, child: TaskId) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            self.wanted()?;
            let (task, ended) = lock(&self.world.journal).child(&child)?;
            if let Some(outcome) = ended {
                if !task.capability.is_human() {
                    self.desk.taint().add(&format!("agent {}", task.capability));
                }
                return Ok(outcome);
            }
            let (name, attempt) = (&task.capability, lock(&self.world.journal).begin(&child));
            let limit = lock(&self.world.journal).limit(&child).unwrap_or(Duration::MAX);
            let script = lock(&self.world.scripts).get(name)?;
            let agent = script.agent.clone();
            let work = self.work(script, name, task.input.clone(), Some((&task, attempt)));
            let work = async { Ok(tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::Expired))) };
            let answer = self.within(name.as_str(), None, work).await?;
            Ok(lock(&self.world.journal).ended(&task, &agent, attempt, answer))
        })
    }

    fn abandon(&self, child: TaskId) {
        let mut journal = lock(&self.world.journal);
        if let Ok((task, _)) = journal.child(&child) {
            journal.cancel(&child, format!("{}, which no longer waits for it", self.facts.agent));
            lock(&self.world.seen).abandoned.push((task.capability, task.input));
        }
    }

    fn recorded(&self, step: &str) -> Result<Option<Body>> {
        self.wanted()?;
        if !lock(&self.steps).insert(step.into()) {
            return Err(Error::decode(format!("step \"{step}\" was used before in this attempt")));
        }
        Ok(self.facts.task.as_ref().and_then(|task| lock(&self.world.journal).step(task, step)))
    }

    fn effect(&self, name: &str) -> BoxFuture<'_, Result<Standing>> {
        let standing = self.wanted().and_then(|()| {
            if !lock(&self.effects).insert(name.into()) {
                return Err(Error::decode(format!("effect \"{name}\" was used before in this attempt")));
            }
            Ok(match &self.facts.task {
                Some(task) => lock(&self.world.journal).effect(task, name),
                None => Standing::Open(name.into()),
            })
        });
        Box::pin(std::future::ready(standing))
    }

    fn record(&self, entry: Entry) -> BoxFuture<'_, Result<()>> {
        let recorded = self.wanted().map(|()| {
            if let Some(task) = &self.facts.task {
                lock(&self.world.journal).record(task, entry);
            }
        });
        Box::pin(std::future::ready(recorded))
    }

    fn spend(&self, spend: Spend) -> BoxFuture<'_, Result<()>> {
        let mut spent = lock(&self.world.spent);
        *spent = Spend {
            tasks: spent.tasks + spend.tasks,
            steps: spent.steps + spend.steps,
            tokens: spent.tokens + spend.tokens,
            cost_micros: spent.cost_micros + spend.cost_micros,
        };
        Box::pin(std::future::ready(self.wanted()))
    }

    fn book(&self, spend: Spend) -> BoxFuture<'_, Result<()>> {
        self.spend(spend)
    }

    fn give_back(&self, spend: Spend) -> BoxFuture<'_, Result<()>> {
        let mut spent = lock(&self.world.spent);
        spent.tokens = spent.tokens.saturating_sub(spend.tokens);
        spent.cost_micros = spent.cost_micros.saturating_sub(spend.cost_micros);
        Box::pin(std::future::ready(Ok(())))
    }

    fn models(&self) -> Option<Arc<Models>> {
        Some(Arc::new(lock(&self.world.models).clone()))
    }

    fn desk(&self) -> Option<Arc<Desk>> {
        Some(self.desk.clone())
    }

    fn states(&self) -> Arc<dyn States> {
        self.world.states()
    }

    fn cache(&self) -> Option<Arc<dyn States>> {
        Some(self.world.states())
    }

    fn degrade(&self, how: String) {
        lock(&self.said).degraded.push(how);
    }

    fn emit(&self, kind: &str, fact: Body) -> BoxFuture<'_, Result<()>> {
        let emitted = self.wanted().map(|()| lock(&self.world.seen).emitted.push((kind.into(), fact)));
        Box::pin(std::future::ready(emitted))
    }

    fn progress(&self, done: f32, note: String) {
        lock(&self.said).progress.push((done, note));
    }

    fn say(&self, text: String) {
        lock(&self.said).text.push_str(&text);
    }

    fn keep(&self, partial: Body) {
        lock(&self.said).kept = Some(partial);
    }

    fn served(&self) -> Vec<Served> {
        lock(&self.world.scripts).served()
    }

    fn is_declined(&self, task: &TaskInfo) -> bool {
        lock(&self.world.scripts).get(&task.capability).is_ok_and(|script| !script.would_take(task))
    }

    fn cancelled(&self) -> BoxFuture<'_, Error> {
        let mut cancelled = self.world.cancelled.subscribe();
        Box::pin(async move {
            let why = cancelled.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            match why {
                Some(why) => why,
                // The sender lives in the world that this host holds, so the wait cannot end without a reason.
                None => std::future::pending().await,
            }
        })
    }
}
