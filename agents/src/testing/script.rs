use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::error::{Error, Result};
use callboard_broker::payload::Payload as Body;
use callboard_broker::subject::CapabilityName;

use crate::host::Served;
use crate::{Capability, Payload};

type Answer = Arc<dyn Fn(Body) -> BoxFuture<'static, Result<Body>> + Send + Sync>;

/// Who answers what.
#[derive(Default)]
pub(super) struct Scripts(BTreeMap<CapabilityName, (Answer, Served)>);

impl Scripts {
    pub(super) fn add<Req, Res, F, Fut>(&mut self, to: Capability<Req, Res>, f: F)
    where
        Req: Payload,
        Res: Payload,
        F: Fn(Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Res>> + Send + 'static,
    {
        let f = Arc::new(f);
        let answer: Answer = Arc::new(move |body| {
            let f = f.clone();
            Box::pin(async move { Ok(Body::of(f(body.read()?).await?)) })
        });
        let door = to.door();
        let served = Served { capability: door.capability, about: door.about, request: door.request };
        self.0.insert(served.capability.clone(), (answer, served));
    }

    /// The answer to a request, still to be awaited.
    pub(super) fn answer(&self, to: &CapabilityName, request: Body) -> BoxFuture<'static, Result<Body>> {
        match self.0.get(to) {
            Some((answer, _)) => answer(request),
            None => Box::pin(std::future::ready(Err(self.missing(to)))),
        }
    }

    fn missing(&self, to: &CapabilityName) -> Error {
        let known: Vec<_> = self.0.keys().map(CapabilityName::as_str).collect();
        let known = if known.is_empty() { "nothing".into() } else { known.join(", ") };
        Error::not_found(format!("answer to {to} in this world: add `.answers(..)` for it (scripted: {known})"))
    }

    pub(super) fn served(&self) -> Vec<Served> {
        self.0.values().map(|(_, served)| served.clone()).collect()
    }
}
