//! Calls of capabilities, told while they go on.

use std::sync::Arc;

use callboard_agents::prompt;
use callboard_agents::service::Door;
use callboard_broker::error::{Error, Result};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Options, tools};
use crate::door::{Attended, Desk, Order, Told};

/// Whose cancel it is when a caller has gone.
const GONE: &str = "whoever called it over MCP has taken it back";
/// When another try makes sense while all places are taken.
const RETRY: std::time::Duration = std::time::Duration::from_secs(5);
const ABOUT: &str = "Each tool is one capability of Callboard: a call is a run, and its result the run's output. \
    What may take minutes is begun with run_start, and its output fetched with run_result.";

/// The tools of one client.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    pub(super) desk: Desk,
    pub(super) options: Options,
    places: Arc<Semaphore>,
    /// Those of runs that outlast their call.
    runs: Arc<Semaphore>,
}

impl Tools {
    pub(super) fn new(desk: Desk, options: Options, places: Arc<Semaphore>) -> Self {
        let runs = Arc::new(Semaphore::new(options.at_once.into()));
        Self { desk, options, places, runs }
    }

    /// Does what is called for, and waits for its end.
    async fn call(&self, door: &Door, request: CallToolRequestParams, context: &Context) -> Result<CallToolResult> {
        let body = self.desk.checked(door, tools::request(door, request.arguments)?)?;
        let attended = self.begin(&self.places, door, body, self.options.limit).await?;
        Ok(said(door, heard(attended, context).await?))
    }

    /// Begins a run that its caller does not wait for. Its id.
    pub(super) async fn begin_lasting(&self, door: &Door, body: Value) -> Result<String> {
        let attended = self.begin(&self.runs, door, body, self.options.run_limit).await?;
        let run = attended.run().to_owned();
        attended.let_go();
        Ok(run)
    }

    /// Begins a run that has one of these places until it ends.
    async fn begin(
        &self,
        places: &Arc<Semaphore>,
        door: &Door,
        body: Value,
        limit: std::time::Duration,
    ) -> Result<Attended> {
        let busy = |_| Error::Busy { to: door.capability.as_str().into(), retry_after: RETRY };
        let place = places.clone().try_acquire_owned().map_err(busy)?;
        let visit = self.desk.begin(order(door, body, limit)).await?;
        let (attended, attending) = visit.attended(GONE, limit);
        tokio::spawn(async move {
            attending.await;
            drop(place);
        });
        Ok(attended)
    }
}

fn order(door: &Door, body: Value, limit: std::time::Duration) -> Order {
    let described = prompt::words(door, &body).unwrap_or_else(|| body.to_string());
    Order { capability: door.capability.clone(), body, described, limit }
}

type Context = RequestContext<RoleServer>;

/// Waits for the end of a run and tells its caller how far it is, if they asked for it.
async fn heard(mut attended: Attended, context: &Context) -> Result<Value> {
    let (token, mut steps) = (context.meta.get_progress_token(), 0_u32);
    loop {
        let told = tokio::select! {
            told = attended.next() => told,
            () = context.ct.cancelled() => return Err(Error::Cancelled { by: GONE.into() }),
        };
        match (told, &token) {
            (Some(Told::End(end)), _) => return end,
            (Some(Told::Progress(words)), Some(token)) => {
                steps += 1;
                let note = ProgressNotificationParam::new(token.clone(), steps.into()).with_message(words);
                if let Err(error) = context.peer.notify_progress(note).await {
                    tracing::debug!(%error, "progress was not sent");
                }
            }
            (Some(_), _) => {}
            (None, _) => return Err(Error::unavailable("the run cannot be listened to any more")),
        }
    }
}

/// An output as a result: all of it as data, and in words where it has some.
pub(super) fn said(door: &Door, output: Value) -> CallToolResult {
    let words = prompt::answer(door, &output).unwrap_or_else(|| output.to_string());
    if !output.is_object() {
        return CallToolResult::success(vec![ContentBlock::text(words)]);
    }
    let mut result = CallToolResult::structured(output);
    result.content = vec![ContentBlock::text(words)];
    result
}

/// An error as a result, so that the model which called can read it.
pub(super) fn failed(error: &Error) -> CallToolResult {
    let mut text = format!("{}: {error}", error.code());
    if let Some(after) = error.retry_after() {
        text.push_str(&format!(" (try again in {} s)", after.as_secs().max(1)));
    }
    CallToolResult::error(vec![ContentBlock::text(text)])
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("callboard", env!("CARGO_PKG_VERSION")))
            .with_instructions(ABOUT)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> std::result::Result<ListToolsResult, ErrorData> {
        let doors = self.desk.public();
        let all = doors.iter().map(tools::tool).chain(tools::of_runs(&doors));
        Ok(ListToolsResult::with_all_items(all.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: Context,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        let door = self.desk.public().into_iter().find(|door| door.capability.to_token() == *request.name);
        let result = match door {
            Some(door) => self.call(&door, request, &context).await,
            None => match self.of_run(&request.name, request.arguments.unwrap_or_default()).await {
                Some(result) => result,
                None => {
                    let what = format!("there is no tool \"{}\"", request.name);
                    return Err(ErrorData::invalid_params(what, None));
                }
            },
        };
        Ok(result.unwrap_or_else(|error| failed(&error)).into())
    }
}
