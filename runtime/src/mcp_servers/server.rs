//! A server as a child of the tree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callboard_agents::tool::{AnyTool, Toolbox};
use rmcp::model::{ClientRequest, PingRequest};
use rmcp::service::{Peer, RoleClient, ServiceError};
use tokio::sync::{Notify, watch};

use super::config::McpConfig;
use super::connection::{Running, connect, tools};
use super::tool::Remote;
use crate::tree::{Backoff, ChildSpec, Fault, Intensity, SupervisorSpec, TaskCtx};

/// Restarts of all servers together before their supervisor gives up, and within which time.
const RESTARTS: (u32, Duration) = (7, Duration::from_secs(60));
/// Wait before a restart: the first, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How long a server has to end by itself when its node does.
const CLOSE: Duration = Duration::from_secs(2);

/// Calls in a row that a server left without an answer until their time was up, before it is asked whether it is there.
const UNANSWERED: u32 = 3;
/// How long it has to say that it is.
const PING: Duration = Duration::from_secs(5);

/// What all tools of a server share, and what outlives its process.
pub(super) struct Shared {
    pub(super) name: String,
    line: watch::Sender<Option<Line>>,
}

/// One connection to it.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) peer: Peer<RoleClient>,
    doubts: Arc<Doubts>,
}

/// What callers found about a connection.
#[derive(Default)]
struct Doubts {
    /// It does not answer any more.
    broken: Notify,
    /// It may not: so many calls in a row were not answered.
    silent: Notify,
    unanswered: AtomicU32,
}

impl Line {
    /// It did not answer: the server is started again, unless that was done since.
    pub(super) fn is_broken(&self) {
        self.doubts.broken.notify_one();
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&self) {
        self.doubts.unanswered.store(0, Ordering::Relaxed);
    }

    /// The time of a call was up. It may have been a long one: a server that says that it is there is left alone.
    pub(super) fn unanswered(&self) {
        if self.doubts.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED {
            self.doubts.silent.notify_one();
        }
    }
}

impl Shared {
    /// The server, if it is there.
    pub(super) fn line(&self) -> Option<Line> {
        self.line.borrow().clone()
    }
}

/// The supervisor of all servers; none where there is none.
pub(super) fn supervisor(servers: &BTreeMap<String, McpConfig>, toolbox: &Toolbox) -> Option<ChildSpec> {
    if servers.is_empty() {
        return None;
    }
    let children = servers.iter().map(|(name, config)| child(name, config, toolbox));
    let spec = SupervisorSpec::new("mcp", children).ok()?;
    let spec = spec.intensity(Intensity::new(RESTARTS.0, RESTARTS.1).ok()?).backoff(Backoff::new(WAIT.0, WAIT.1).ok()?);
    Some(ChildSpec::supervisor(spec))
}

fn child(name: &str, config: &McpConfig, toolbox: &Toolbox) -> ChildSpec {
    toolbox.rule(&format!("{name}.*"), config.rules.clone());
    let shared = Shared { name: name.to_owned(), line: watch::Sender::new(None) };
    let of = Arc::new((Arc::new(shared), config.clone(), toolbox.clone()));
    ChildSpec::task(name.to_owned(), move |ctx| {
        let of = of.clone();
        async move {
            let (shared, config, toolbox) = (of.0.clone(), of.1.clone(), of.2.clone());
            let begun = begin(&shared, &config, &toolbox).await;
            if let Err(why) = &begun {
                // A node starts without a server that is away: this child is then one that ended, and is started again.
                tracing::warn!(server = %shared.name, %why, "an MCP server is not there");
            }
            Ok(async move { keep(&shared, &config, &toolbox, begun?, ctx).await })
        }
    })
}

/// A connection, when its tools have changed, and what was found about it.
type Begun = (Running, Arc<Notify>, Arc<Doubts>);

/// Starts it, and offers what it has.
async fn begin(shared: &Arc<Shared>, config: &McpConfig, toolbox: &Toolbox) -> Result<Begun, Fault> {
    let changed = Arc::new(Notify::new());
    let starting = async {
        let running = connect(config, changed.clone()).await?;
        offer(shared, config, toolbox, running.peer()).await?;
        Ok::<_, Fault>(running)
    };
    let late = || Fault::from(format!("it was not ready within {} s", config.start.as_secs()));
    let running = tokio::time::timeout(config.start, starting).await.map_err(|_| late())??;
    let doubts = Arc::new(Doubts::default());
    shared.line.send_replace(Some(Line { peer: running.peer().clone(), doubts: doubts.clone() }));
    Ok((running, changed, doubts))
}

async fn offer(
    shared: &Arc<Shared>,
    config: &McpConfig,
    toolbox: &Toolbox,
    peer: &Peer<RoleClient>,
) -> Result<(), Fault> {
    let found = tools(peer).await?;
    let ours = found.into_iter().filter_map(|tool| Remote::new(shared, config, tool));
    let left_out = toolbox.replace(&shared.name, ours.map(|tool| Arc::new(tool) as Arc<dyn AnyTool>).collect());
    if left_out > 0 {
        tracing::warn!(server = %shared.name, left_out, "tools of an MCP server are left out: their names are none, or taken");
    }
    Ok(())
}

/// Until it ends, or is to.
async fn keep(
    shared: &Arc<Shared>,
    config: &McpConfig,
    toolbox: &Toolbox,
    (mut running, changed, doubts): Begun,
    mut ctx: TaskCtx,
) -> Result<(), Fault> {
    // Its tools stay: who calls one meanwhile is told that it is away.
    let _gone = Gone(shared.clone());
    let closed = async |running: &Running| {
        // It tells nobody.
        while !running.peer().is_transport_closed() && !running.is_closed() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let peer = running.peer().clone();
    let hangs = hangs(&peer, &doubts);
    tokio::pin!(hangs);
    loop {
        tokio::select! {
            biased;
            () = ctx.stopping() => {
                let _ = running.close_with_timeout(CLOSE).await;
                return Ok(());
            }
            () = closed(&running) => return Err("the server ended".into()),
            () = doubts.broken.notified() => return Err("the server does not answer".into()),
            () = &mut hangs => return Err("the server is alive and does not answer".into()),
            () = changed.notified() => {
                tokio::time::timeout(config.start, offer(shared, config, toolbox, &peer))
                    .await
                    .map_err(|_| "it did not say what it has now")??;
            }
        }
    }
}

/// Until callers doubt that it answers, and it does not say that it is there. Any answer to that is one, also that it does
/// not know the question.
async fn hangs(peer: &Peer<RoleClient>, doubts: &Doubts) {
    loop {
        doubts.silent.notified().await;
        let ping = peer.send_request(ClientRequest::PingRequest(PingRequest::default()));
        match tokio::time::timeout(PING, ping).await {
            Err(_) | Ok(Err(ServiceError::TransportSend(_) | ServiceError::TransportClosed)) => return,
            Ok(_) => doubts.unanswered.store(0, Ordering::Relaxed),
        }
    }
}

/// Whoever calls is told that it is away.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.line.send_replace(None);
    }
}
