use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::payload::Payload as Body;
use callboard_broker::subject::CapabilityName;
use tokio::sync::OnceCell;

use crate::host::Served;
use crate::service::{Door, Handler};
use crate::{Capability, Context, Failure, Payload, Service, TaskInfo};

type Answer = Arc<dyn Fn(Context, Body) -> BoxFuture<'static, Result<Body>> + Send + Sync>;
type WouldTake = Arc<dyn Fn(&TaskInfo) -> bool + Send + Sync>;

/// Who answers what.
#[derive(Default)]
pub(super) struct Scripts(BTreeMap<CapabilityName, Script>);

/// Who answers one capability.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) agent: Arc<str>,
    answer: Answer,
    would_take: WouldTake,
    served: Served,
}

impl Script {
    pub(super) fn answer(&self, ctx: Context, request: Body) -> BoxFuture<'static, Result<Body>> {
        (self.answer)(ctx, request)
    }

    pub(super) fn would_take(&self, task: &TaskInfo) -> bool {
        (self.would_take)(task)
    }
}

impl Scripts {
    /// A function in the place of an agent.
    pub(super) fn function<Req, Res, F, Fut>(&mut self, to: Capability<Req, Res>, f: F)
    where
        Req: Payload,
        Res: Payload,
        F: Fn(Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Res>> + Send + 'static,
    {
        let f = Arc::new(f);
        let answer: Answer = Arc::new(move |_, body| {
            let f = f.clone();
            Box::pin(async move { Ok(Body::of(f(body.read()?).await?)) })
        });
        self.add(to.name().into(), &to.door(), answer, Arc::new(|_| true));
    }

    /// A real agent, started at its first request.
    pub(super) fn service(&mut self, service: &Service) {
        let started: Arc<OnceCell<Vec<Arc<dyn Handler>>>> = Arc::default();
        for (place, door) in service.doors().iter().enumerate() {
            let (start, name, of) = (service.starter(), service.name().to_owned(), started.clone());
            let answer: Answer = Arc::new(move |ctx, body| {
                let (start, name, of) = (start.clone(), name.clone(), of.clone());
                Box::pin(async move {
                    let failed = |failure: Failure| {
                        let failure = Box::new(failure.into_remote());
                        Error::Failed { to: name.as_str().into(), failure }
                    };
                    let handlers = of.get_or_try_init(|| start()).await.map_err(failed)?;
                    handlers[place].handle(ctx, body).await.map_err(failed)
                })
            });
            let of = started.clone();
            let would_take = move |task: &TaskInfo| of.get().is_none_or(|handlers| handlers[place].can_handle(task));
            self.add(service.name().into(), door, answer, Arc::new(would_take));
        }
    }

    fn add(&mut self, agent: Arc<str>, door: &Door, answer: Answer, would_take: WouldTake) {
        let (capability, about, request) = (door.capability.clone(), door.about.clone(), door.request.clone());
        let served = Served { capability: capability.clone(), about, request };
        self.0.insert(capability, Script { agent, answer, would_take, served });
    }

    /// Who answers a capability.
    pub(super) fn get(&self, to: &CapabilityName) -> Result<Script> {
        self.0.get(to).cloned().ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(CapabilityName::as_str).collect();
            let known = if known.is_empty() { "nothing".into() } else { known.join(", ") };
            Error::not_found(format!("answer to {to} in this world: add `.answers(..)` for it (scripted: {known})"))
        })
    }

    pub(super) fn served(&self) -> Vec<Served> {
        self.0.values().map(|script| script.served.clone()).collect()
    }
}
