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
use callboard_broker::task::Outcome;
use tokio::time::Instant;

use super::world::{Inner, lock};
use crate::TaskInfo;
use crate::host::{Answer, Call, Facts, Host, Order, Served};
use crate::keys::ChildKeys;

/// One attempt in a [`World`](super::World).
pub(super) struct TestHost {
    world: Arc<Inner>,
    facts: Facts,
    keys: Mutex<ChildKeys>,
    steps: Mutex<HashSet<String>>,
}

impl TestHost {
    pub(super) fn new(world: Arc<Inner>, attempt: u32) -> Self {
        let agent = lock(&world.agent).clone();
        let facts = Facts {
            agent,
            capability: CapabilityName::parse("agent.under.test").expect("three words are a name"),
            task: world.task(),
            run: Some(world.run.clone()),
            team: "test".into(),
            attempt,
            deadline: Instant::now() + ASK_DEADLINE,
        };
        Self { world, facts, keys: Mutex::default(), steps: Mutex::default() }
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

    fn answer(&self, to: &CapabilityName, body: Body) -> BoxFuture<'static, Result<Body>> {
        lock(&self.world.scripts).answer(to, body)
    }

    fn asked(&self, to: &CapabilityName, body: &Body) {
        lock(&self.world.seen).asked.push((to.clone(), body.clone()));
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
            let (to, began) = (call.capability.to_string(), Instant::now());
            let body = self.within(&to, call.deadline, self.answer(&call.capability, call.body)).await?;
            Ok(Answer { body, agent: to.into(), took: began.elapsed() })
        })
    }

    fn tell(&self, call: Call) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.wanted()?;
            self.asked(&call.capability, &call.body);
            self.answer(&call.capability, call.body).await.map(drop)
        })
    }

    fn broadcast(&self, topic: &str, body: Body) -> BoxFuture<'_, Result<()>> {
        let sent = self.wanted().map(|()| lock(&self.world.seen).broadcast.push((topic.into(), body)));
        Box::pin(std::future::ready(sent))
    }

    fn delegate(&self, order: Order) -> BoxFuture<'_, Result<TaskId>> {
        Box::pin(async move {
            self.wanted()?;
            if self.facts.task.is_none() {
                let (who, what) = (&*self.facts.agent, format!("delegate {} outside a task", order.capability));
                return Err(Error::Denied { who: who.into(), what: what.into() });
            }
            let key = lock(&self.keys).key(&order)?;
            let (to, input) = (order.capability.clone(), order.input.clone());
            let child = lock(&self.world.journal).delegate(&self.world.run, &key, order)?;
            if lock(&self.world.journal).child(&child)?.1.is_none() {
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
                return Ok(outcome);
            }
            let work = self.answer(&task.capability, task.input.clone());
            let answer = self.within(task.capability.as_str(), None, async { Ok(work.await) }).await?;
            Ok(lock(&self.world.journal).ended(&task, answer))
        })
    }

    fn abandon(&self, child: TaskId) {
        if let Ok((task, _)) = lock(&self.world.journal).child(&child) {
            lock(&self.world.seen).abandoned.push((task.capability, task.input));
        }
    }

    fn recorded(&self, step: &str) -> Result<Option<Body>> {
        self.wanted()?;
        if !lock(&self.steps).insert(step.into()) {
            return Err(Error::decode(format!("step \"{step}\" was used before in this attempt")));
        }
        Ok(self.facts.task.as_ref().and_then(|_| lock(&self.world.journal).step(step)))
    }

    fn record(&self, step: &str, value: Body) -> BoxFuture<'_, Result<()>> {
        let recorded = self.wanted().map(|()| lock(&self.world.journal).record(step, value));
        Box::pin(std::future::ready(recorded))
    }

    fn states(&self) -> Arc<dyn States> {
        self.world.states.clone()
    }

    fn emit(&self, kind: &str, fact: Body) -> BoxFuture<'_, Result<()>> {
        let emitted = self.wanted().map(|()| lock(&self.world.seen).emitted.push((kind.into(), fact)));
        Box::pin(std::future::ready(emitted))
    }

    fn progress(&self, done: f32, note: String) {
        lock(&self.world.seen).progress.push((done, note));
    }

    fn say(&self, text: String) {
        lock(&self.world.seen).said.push_str(&text);
    }

    fn keep(&self, partial: Body) {
        lock(&self.world.seen).kept = Some(partial);
    }

    fn served(&self) -> Vec<Served> {
        lock(&self.world.scripts).served()
    }

    fn is_declined(&self, _task: &TaskInfo) -> bool {
        false
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
