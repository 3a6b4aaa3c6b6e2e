//! Binds agents to capabilities: here the typed world ends and a [`Service`] begins.
//!
//! Three verbs for one act: a single one over `Fn` and [`Agent`] alike compiles, but then no closure's arguments are
//! inferred and the message for a wrong agent speaks of `Fn`.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
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

    fn fits(&self, request: &Body) -> Result<(), Error> {
        request.fits::<Req>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::testing::World;
    use crate::{Class, Topic};

    const SHOUT: Capability<String, String> = Capability::new("text.shout").about("says it louder");

    async fn shout(_ctx: Context, text: String) -> Result<String> {
        Ok(text.to_uppercase())
    }

    async fn call(service: &Service, text: &str) -> Result<String> {
        let handlers = service.starter()().await?;
        Ok(handlers[0].handle(World::new().context(), Body::of(text.to_owned())).await?.take()?)
    }

    #[tokio::test]
    async fn a_function_and_a_closure_are_agents_and_a_service_is_named_after_its_capability() {
        let service = SHOUT.by_fn(shout);
        assert_eq!((service.name(), &*service.doors()[0].about), ("text.shout", "says it louder"));
        assert_eq!(call(&service, "a").await.unwrap(), "A");
        assert_eq!(call(&SHOUT.by_fn(|_ctx, text| async move { Ok(text + "!") }), "a").await.unwrap(), "a!");
    }

    #[tokio::test]
    async fn a_request_of_another_shape_is_refused_before_the_agent_sees_it() {
        let handlers = SHOUT.by_fn(shout).starter()().await.unwrap();
        let refused = handlers[0].handle(World::new().context(), Body::of(7)).await.unwrap_err();
        assert_eq!(refused.class(), Class::Permanent);
        assert!(refused.to_string().contains("String expected"), "{refused}");
    }

    /// Takes nothing twice, and says which of the agents made so far it is.
    struct Numbered(u32);

    impl Agent<String, String> for Numbered {
        async fn handle(&self, _ctx: Context, _text: String) -> Result<String> {
            Ok(self.0.to_string())
        }

        fn can_handle(&self, task: &TaskInfo) -> bool {
            task.attempt == 1
        }
    }

    fn task(attempt: u32) -> TaskInfo {
        TaskInfo { capability: SHOUT.id(), description: None, input: Body::null(), attempt }
    }

    #[tokio::test]
    async fn one_agent_serves_all_starts_unless_each_is_to_have_a_fresh_one() {
        let shared = SHOUT.by(Numbered(7));
        assert_eq!((call(&shared, "").await.unwrap(), call(&shared, "").await.unwrap()), ("7".into(), "7".into()));
        let made = AtomicU32::new(0);
        let fresh = SHOUT.by_fresh(move || {
            let n = made.fetch_add(1, Ordering::Relaxed);
            async move { if n == 1 { Err(Failure::transient("not yet")) } else { Ok(Numbered(n)) } }
        });
        assert_eq!(call(&fresh, "").await.unwrap(), "0");
        assert_eq!(call(&fresh, "").await.unwrap_err().to_string(), "not yet", "a failed start is one");
        assert_eq!(call(&fresh, "").await.unwrap(), "2");
    }

    #[tokio::test]
    async fn an_agent_says_itself_what_it_takes() {
        let shared = SHOUT.by(Arc::new(Numbered(0))).starter()().await.unwrap();
        assert!(shared[0].can_handle(&task(1)) && !shared[0].can_handle(&task(2)));
        let function = SHOUT.by_fn(shout).starter()().await.unwrap();
        assert!(function[0].can_handle(&task(2)));
    }

    #[tokio::test]
    async fn a_service_hears_its_topics_in_their_own_type() {
        const PRICES: Topic<u32> = Topic::new("prices");
        const SUM: crate::StateKey<u32> = crate::StateKey::run("sum");
        let hears = |ctx: Context, price: u32| async move {
            ctx.state(SUM).update(|sum| *sum += price).await?;
            Ok(())
        };
        let service = SHOUT.by_fn(shout).hears(PRICES, hears);
        let [hearing] = &*service.options().hears else { panic!("one topic") };
        assert_eq!(&*hearing.topic, "prices");
        let world = World::new();
        for price in [3, 4] {
            (hearing.hear)(world.context(), Body::of(price)).await.unwrap();
        }
        assert_eq!(*world.state(SUM).get().await.unwrap().unwrap(), 7);
        assert!((hearing.hear)(world.context(), Body::of("seven".to_owned())).await.is_err());
    }
}
