//! Children that do as they are told, and a reader of what the tree says about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use callboard::tree::{ChildSpec, Happening, Tree, TreeEvents};
use tokio::sync::{Mutex, mpsc};

/// The ways in which a child can end by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Normal,
    Error,
    Panic,
}

/// The strings of one child.
#[derive(Clone)]
pub(crate) struct Puppet {
    ends: mpsc::Sender<End>,
    failing_starts: Arc<AtomicU32>,
}

impl Puppet {
    pub(crate) fn end(&self, how: End) {
        self.ends.try_send(how).expect("the spec of the child is alive, and behind by few orders");
    }

    /// Makes the next `times` starts fail.
    pub(crate) fn fail_starts(&self, times: u32) {
        self.failing_starts.store(times, Ordering::SeqCst);
    }
}

pub(crate) fn puppet(id: &str) -> (ChildSpec, Puppet) {
    let (ends, orders) = mpsc::channel(1024);
    let failing_starts = Arc::new(AtomicU32::new(0));
    let puppet = Puppet { ends, failing_starts: failing_starts.clone() };
    let orders = Arc::new(Mutex::new(orders));
    let spec = ChildSpec::task(id, move |mut ctx| {
        let (orders, failing_starts) = (orders.clone(), failing_starts.clone());
        async move {
            let fails = |left: u32| left.checked_sub(1);
            if failing_starts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
                return Err("no luck today".into());
            }
            Ok(async move {
                let mut orders = orders.lock().await;
                tokio::select! {
                    () = ctx.stopping() => Ok(()),
                    Some(order) = orders.recv() => match order {
                        End::Normal => Ok(()),
                        End::Error => Err("told to fail".into()),
                        End::Panic => panic!("told to panic"),
                    }
                }
            })
        }
    });
    (spec, puppet)
}

/// An event as a short line: `root/a started 2`.
pub(crate) fn line(path: &str, what: &Happening) -> String {
    match what {
        Happening::Started { attempt } => format!("{path} started {attempt}"),
        Happening::Exited { reason } => format!("{path} exited: {reason}"),
        Happening::Restarting { attempt, .. } => format!("{path} restarting {attempt}"),
        Happening::Escalated => format!("{path} escalated"),
        Happening::Zombie => format!("{path} zombie"),
        other => format!("{path} {other:?}"),
    }
}

/// Reads events up to and including the line `last`.
pub(crate) async fn until(events: &mut TreeEvents, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.last().map(String::as_str) != Some(last) {
        match tokio::time::timeout(std::time::Duration::from_secs(3600), events.next()).await {
            Ok(Some(event)) => lines.push(line(&event.path, &event.what)),
            _ => panic!("no event {last:?} after {lines:#?}"),
        }
    }
    lines
}

/// The state of a child, as its JSON tag; `absent` when it is not in the tree.
pub(crate) fn state(tree: &Tree, path: &str) -> String {
    let info = tree.info();
    let child = info.root.find(path).map(|child| serde_json::to_value(child).expect("serializable"));
    child.map_or("absent".into(), |child| child["state"].as_str().unwrap_or_default().to_owned())
}

/// Lets an hour of paused time pass: everything that was going to happen has happened.
pub(crate) async fn settled() {
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
}
