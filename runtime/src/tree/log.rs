//! The log lines of a tree: a healthy one writes none above `debug`.

use super::event::{Happening, TreeEvent};

pub(crate) fn event(event: &TreeEvent) {
    let path = &*event.path;
    match &event.what {
        Happening::Started { attempt } => tracing::debug!(path, attempt, "child started"),
        Happening::Exited { reason } if reason.is_abnormal() => tracing::warn!(path, %reason, "child failed"),
        Happening::Exited { reason } => tracing::debug!(path, %reason, "child ended"),
        Happening::Restarting { attempt, delay } => tracing::info!(path, attempt, ?delay, "restarting child"),
        Happening::Escalated => tracing::error!(path, "too many restarts, supervisor gives up"),
        Happening::Zombie => tracing::error!(path, "killed child is not gone, a thread is stuck in it"),
    }
}
