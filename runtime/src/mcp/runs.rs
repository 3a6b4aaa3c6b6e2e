//! Runs that are begun, looked at and cancelled by id: for what takes longer than a client waits.

use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::subject::CapabilityName;
use callboard_broker::tasks::{TaskView, Until};
use rmcp::model::{CallToolResult, JsonObject};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::server::Tools;

/// How long `run_result` waits unless it is told.
const WAIT: Duration = Duration::from_secs(20);
/// How long `run_result` may be told to wait: clients give up after a minute.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(50);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    capability: CapabilityName,
    request: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Of {
    run: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fetch {
    run: String,
    wait_s: Option<u64>,
}

impl Tools {
    /// Does what one of the four tools does; none when it is another name.
    pub(super) async fn of_run(&self, name: &str, arguments: JsonObject) -> Option<Result<CallToolResult>> {
        Some(match name {
            "run_start" => self.start(arguments).await,
            "run_status" => self.status(arguments).await,
            "run_result" => self.result(arguments).await,
            "run_cancel" => self.take_back(arguments).await,
            _ => return None,
        })
    }

    async fn start(&self, arguments: JsonObject) -> Result<CallToolResult> {
        let Start { capability, request } = read(arguments)?;
        let door = self.desk.door(&capability);
        let door = door.ok_or_else(|| Error::not_found(format!("public capability {capability}")))?;
        let body = self.desk.checked(&door, request)?;
        let run = self.begin_lasting(&door, body).await?;
        Ok(CallToolResult::structured(json!({ "run": run, "status": "pending" })))
    }

    async fn status(&self, arguments: JsonObject) -> Result<CallToolResult> {
        let Of { run } = read(arguments)?;
        Ok(CallToolResult::structured(told(&self.desk.look(&run).await?)))
    }

    async fn result(&self, arguments: JsonObject) -> Result<CallToolResult> {
        let Fetch { run, wait_s } = read(arguments)?;
        let wait = wait_s.map_or(WAIT, Duration::from_secs).min(MAX_WAIT);
        let mut view = self.desk.look(&run).await?;
        if !view.status.is_final() {
            self.desk.broker().tasks.wait(vec![view.task.id.clone()], Until::All, wait).await?;
            view = self.desk.look(&run).await?;
        }
        let mut said = told(&view);
        if let Some(outcome) = view.outcome {
            match outcome.into_result() {
                Ok(output) => said["output"] = output.value()?,
                Err(error) => said["error"] = json!({ "code": error.code(), "message": error.to_string() }),
            }
        }
        Ok(CallToolResult::structured(said))
    }

    async fn take_back(&self, arguments: JsonObject) -> Result<CallToolResult> {
        let Of { run } = read(arguments)?;
        let view = self.desk.cancel(&run, "a client of MCP").await?;
        Ok(CallToolResult::structured(told(&view)))
    }
}

fn told(view: &TaskView) -> Value {
    json!({
        "run": view.task.run, "capability": view.task.capability, "status": view.status, "attempt": view.attempt,
    })
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T> {
    serde_json::from_value(Value::Object(arguments)).map_err(|e| Error::decode(format!("the arguments: {e}")))
}
