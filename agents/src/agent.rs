//! An agent: plain async Rust that serves a capability.
//!
//! No actor is in sight, so an agent can be called in a unit test like any other value. Request and response are
//! parameters of the trait, not associated types: one type may serve several capabilities by several impls.

use std::future::Future;
use std::sync::Arc;

use crate::{Context, Payload, Result, TaskInfo};

/// Serves a capability, many requests at a time.
///
/// ```
/// use callboard_agents::{Agent, Context, Result};
///
/// struct Shouter;
///
/// impl Agent<String, String> for Shouter {
///     async fn handle(&self, _ctx: Context, text: String) -> Result<String> {
///         Ok(text.to_uppercase())
///     }
/// }
/// ```
///
/// # Cancellation
/// The future of `handle` is dropped at an await when its request is cancelled, over its deadline, or taken over by
/// another attempt. A panic in it fails that one request.
#[diagnostic::on_unimplemented(message = "`{Self}` does not serve `{Req}` -> `{Res}`")]
pub trait Agent<Req: Payload, Res: Payload>: Send + Sync + 'static {
    /// Works on one request.
    ///
    /// # Errors
    /// Anything, through `?`. Its class decides whether a task is tried again: see [`Failure`](crate::Failure).
    fn handle(&self, ctx: Context, request: Req) -> impl Future<Output = Result<Res>> + Send;

    /// Whether it would take this task. Declining costs no attempt: another agent is tried.
    fn can_handle(&self, task: &TaskInfo) -> bool {
        let _ = task;
        true
    }
}

impl<Req: Payload, Res: Payload, A: Agent<Req, Res>> Agent<Req, Res> for Arc<A> {
    fn handle(&self, ctx: Context, request: Req) -> impl Future<Output = Result<Res>> + Send {
        A::handle(self, ctx, request)
    }

    fn can_handle(&self, task: &TaskInfo) -> bool {
        A::can_handle(self, task)
    }
}
