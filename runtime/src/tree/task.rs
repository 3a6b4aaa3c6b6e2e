//! A plain async function as a child: the simplest worker, and the pattern for those that are actors.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::child::{Hold, StartCtx};
use super::exit::{ExitReason, Fault};
use super::ops::crashed;
use super::spec::ChildSpec;
use super::view::ChildStats;

impl ChildSpec {
    /// A worker in two steps. The future of `start` does what must be done before others may rely on this child
    /// (connect, load); a failure, panic or timeout there is a failed start. It gives the future that then runs until
    /// it ends by itself: `Ok` is a normal exit, an error or panic an abnormal one. When the child is to stop,
    /// [`TaskCtx::stopping`] resolves; a future that has not ended by its shutdown time is dropped.
    ///
    /// ```
    /// use callboard::tree::ChildSpec;
    ///
    /// let heartbeat = ChildSpec::task("heartbeat", |mut ctx| async move {
    ///     Ok(async move {
    ///         ctx.stopping().await;
    ///         Ok(())
    ///     })
    /// });
    /// ```
    pub fn task<S, Fut, Run>(id: impl Into<Arc<str>>, start: S) -> Self
    where
        S: Fn(TaskCtx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Run, Fault>> + Send + 'static,
        Run: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        Self::actor(id, move |ctx| {
            let (stop, stopping) = watch::channel(false);
            let start = start(TaskCtx { ctx: ctx.clone(), stopping });
            async move {
                let run = Box::pin(start.await?);
                ctx.spawn(TaskActor, (run, stop, ctx.hold())).await?;
                Ok(())
            }
        })
    }
}

/// What a task is told.
#[derive(Clone, Debug)]
pub struct TaskCtx {
    ctx: StartCtx,
    stopping: watch::Receiver<bool>,
}

impl TaskCtx {
    /// Which start of this child this is, from 1.
    pub fn attempt(&self) -> u64 {
        self.ctx.attempt()
    }

    /// How it ended the last time; `None` at its first start.
    pub fn last_exit(&self) -> Option<&ExitReason> {
        self.ctx.last_exit()
    }

    /// Where it is in the tree: ids joined by `/` from the root.
    pub fn path(&self) -> &str {
        self.ctx.path()
    }

    /// Shows the task's own figures in the tree from now on.
    pub fn publish(&self, stats: Arc<dyn ChildStats>) {
        self.ctx.publish(stats);
    }

    /// Resolves when the task is to stop; its shutdown time is running from then on. Cancel safe.
    pub async fn stopping(&mut self) {
        // An error means that the child is gone, which is as good a reason to stop.
        let _ = self.stopping.wait_for(|stop| *stop).await;
    }
}

type Run = std::pin::Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// The task runs beside the actor, so the actor can be stopped or killed whatever the task does.
struct TaskActor;

struct State {
    task: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Actor for TaskActor {
    type Msg = ExitReason;
    type State = State;
    type Arguments = (Run, watch::Sender<bool>, Hold);

    async fn pre_start(
        &self,
        myself: ActorRef<ExitReason>,
        (run, stop, hold): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Apart, so that its panic is caught and its end is seen.
            let mut inner = JoinSet::new();
            inner.spawn(async move {
                let result = run.await;
                drop(hold);
                result
            });
            let end = match inner.join_next().await {
                Some(Ok(Ok(()))) | None => ExitReason::Normal,
                Some(Ok(Err(fault))) => ExitReason::of_error(fault),
                Some(Err(error)) => crashed(error),
            };
            // Not heard when the actor is being stopped, which waits for this task instead.
            let _ = myself.send_message(end);
        });
        Ok(State { task, stop })
    }

    async fn handle(
        &self,
        myself: ActorRef<ExitReason>,
        end: ExitReason,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if end == ExitReason::Normal {
            myself.stop(None);
            return Ok(());
        }
        Err(end.into())
    }

    async fn post_stop(&self, _: ActorRef<ExitReason>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.stop.send_replace(true);
        while state.task.join_next().await.is_some() {}
        Ok(())
    }
}
