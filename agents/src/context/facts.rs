use callboard_broker::error::Error;
use tokio::time::Instant;

use super::Context;

/// Facts about the request.
impl Context {
    /// The agent that works on it.
    pub fn agent(&self) -> &str {
        &self.host.facts().agent
    }

    /// The task; empty for an ask or a notification.
    pub fn task_id(&self) -> &str {
        self.host.facts().task.as_ref().map_or("", |task| task.as_str())
    }

    /// The run on whose behalf; empty for an ask from outside any run.
    pub fn run_id(&self) -> &str {
        self.host.facts().run.as_ref().map_or("", |run| run.as_str())
    }

    /// The attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.host.facts().attempt
    }

    /// How many attempts the task has at most; 1 for an ask or a notification, which nobody but its sender repeats.
    pub fn attempts(&self) -> u32 {
        self.host.facts().attempts
    }

    /// When the attempt must have ended.
    pub fn deadline(&self) -> Instant {
        self.host.facts().deadline
    }

    /// Resolves when the request is no longer wanted, with the reason. For `select!` around work that must be told to
    /// stop; everything else is simply dropped.
    pub async fn cancelled(&self) -> Error {
        self.host.cancelled().await
    }
}
