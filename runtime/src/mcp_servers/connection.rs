//! A server that was started, and asked what it has.

use std::process::Stdio;
use std::sync::Arc;

use callboard_agents::llm::Secret;
use rmcp::handler::client::ClientHandler;
use rmcp::model::{PaginatedRequestParams, Tool};
use rmcp::service::{NotificationContext, Peer, RoleClient, RunningService, ServiceExt};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use tokio::process::Command;
use tokio::sync::Notify;

use super::config::{McpConfig, McpPlace};
use crate::tree::Fault;

/// The most tools of one server; of more, the first.
pub(super) const MAX_TOOLS: usize = 512;
/// The most pages of a list that are read.
const MAX_PAGES: usize = 64;
/// What a process has of the environment of its node.
const KEPT: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];
/// The largest key that is read from a file.
const MAX_KEY: u64 = 64 << 10;

/// A connection to a server.
pub(super) type Running = RunningService<RoleClient, Listens>;

/// Hears when a server has other tools than before.
pub(super) struct Listens(pub(super) Arc<Notify>);

impl ClientHandler for Listens {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.notify_one();
    }
}

/// Starts a server, or reaches it.
///
/// # Errors
/// Why it is not there.
pub(super) async fn connect(config: &McpConfig, changed: Arc<Notify>) -> Result<Running, Fault> {
    let listens = Listens(changed);
    match &config.place {
        McpPlace::Process { command, env, env_from, folder } => {
            let (program, arguments) = command.split_first().ok_or("there is no command")?;
            let mut process = Command::new(program);
            process.args(arguments).env_clear().kill_on_drop(true);
            for name in KEPT.iter().copied().chain(env_from.iter().map(String::as_str)) {
                if let Some(value) = std::env::var_os(name) {
                    process.env(name, value);
                }
            }
            process.envs(env.iter().map(|(name, value)| (name, value.expose())));
            if let Some(folder) = folder {
                process.current_dir(folder);
            }
            // What it says beside may be anything, a key as well: it is in no log of ours.
            let started = TokioChildProcess::builder(process).stderr(Stdio::null()).spawn();
            let (transport, _) = started.map_err(|e| format!("{program} cannot be started: {e}"))?;
            Ok(listens.serve(transport).await.map_err(|e| format!("{program} ended before it was ready: {e}"))?)
        }
        McpPlace::Address { url, key_file } => {
            let mut at = StreamableHttpClientTransportConfig::with_uri(url.as_str());
            if let Some(path) = key_file {
                at = at.auth_header(key(path)?.expose());
            }
            let transport = StreamableHttpClientTransport::from_config(at);
            Ok(listens.serve(transport).await.map_err(|e| format!("{url} cannot be reached: {e}"))?)
        }
    }
}

fn key(path: &std::path::Path) -> Result<Secret, Fault> {
    let unreadable = |why: String| format!("{} cannot be read: {why}", path.display());
    let about = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
    if about.len() > MAX_KEY {
        return Err(unreadable(format!("a key has at most {MAX_KEY} bytes")).into());
    }
    Ok(Secret::new(std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?))
}

/// What a server has, page by page.
///
/// # Errors
/// What it answers instead.
pub(super) async fn tools(peer: &Peer<RoleClient>) -> Result<Vec<Tool>, Fault> {
    let (mut found, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let asked = cursor.take().map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        let page = peer.list_tools(asked).await.map_err(|e| e.to_string())?;
        found.extend(page.tools);
        cursor = page.next_cursor;
        if cursor.is_none() || found.len() >= MAX_TOOLS {
            break;
        }
    }
    found.truncate(MAX_TOOLS);
    Ok(found)
}
