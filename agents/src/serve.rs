//! Binds agents to capabilities: here the typed world ends and a [`Service`] begins.
//!
//! Three verbs for one act: a single one over `Fn` and [`Agent`] alike compiles, but then no closure's arguments are
//! inferred and the message for a wrong agent speaks of `Fn`.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::payload::Payload as Body;

use crate::service::{Handler, Start};
use crate::{Agent, Capability, Context, Failure, Payload, Result, Service, TaskInfo};

impl<Req: Payload, Res: Payload> Capability<Req, Res> {
    /// Served by this agent. All cells of the pool share it, and it outlives their restarts.
    pub fn by<A: Agent<Req, Res>>(self, agent: A) -> Service {
        let handler: Arc<dyn Handler> = Arc::new(Typed::new(agent));
        let start: Start = Arc::new(move || {
            let handlers = vec![handler.clone()];
            Box::pin(async move { Ok(handlers) })
        });
        Service::new(vec![self.door()], start)
    }

    /// Served by an `async fn(Context, Req) -> Result<Res>` or a closure of that shape.
    pub fn by_fn<F, Fut>(self, f: F) -> Service
    where
        F: Fn(Context, Req) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Res>> + Send + 'static,
    {
        self.by(Function(f))
    }

    /// Served by a fresh agent in each cell, made anew at each start and restart: for connections, files and whatever
    /// else a crash may have left in doubt. A start that fails counts as a failure of the cell.
    pub fn by_fresh<A, F, Fut>(self, start: F) -> Service
    where
        A: Agent<Req, Res>,
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A>> + Send + 'static,
    {
        let start: Start = Arc::new(move || {
            let agent = start();
            Box::pin(async move {
                let handler: Arc<dyn Handler> = Arc::new(Typed::new(agent.await?));
                Ok(vec![handler])
            })
        });
        Service::new(vec![self.door()], start)
    }
}

/// An agent made of a function.
struct Function<F>(F);

impl<Req, Res, F, Fut> Agent<Req, Res> for Function<F>
where
    Req: Payload,
    Res: Payload,
    F: Fn(Context, Req) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Res>> + Send + 'static,
{
    fn handle(&self, ctx: Context, request: Req) -> impl Future<Output = Result<Res>> + Send {
        (self.0)(ctx, request)
    }
}

/// An agent with its types erased.
struct Typed<A, Req, Res> {
    agent: A,
    types: PhantomData<fn(Req) -> Res>,
}

impl<A, Req, Res> Typed<A, Req, Res> {
    fn new(agent: A) -> Self {
        Self { agent, types: PhantomData }
    }
}

impl<A: Agent<Req, Res>, Req: Payload, Res: Payload> Handler for Typed<A, Req, Res> {
    fn handle(&self, ctx: Context, request: Body) -> BoxFuture<'_, Result<Body, Failure>> {
        Box::pin(async move {
            let request = request.take::<Req>()?;
            Ok(Body::of(self.agent.handle(ctx, request).await?))
        })
    }

    fn can_handle(&self, task: &TaskInfo) -> bool {
        self.agent.can_handle(task)
    }
}
