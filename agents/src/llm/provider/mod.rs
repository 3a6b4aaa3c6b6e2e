//! Models of providers, through the library `genai`: the one place that knows it, because each minor version of it breaks.
//!
//! It is used for its dialects only. Time limits, classes and the question whether an answer began are ours:
//!
//! - It says that a stream has started before the provider has said anything, so what counts as the start is the first
//!   event after that, and a refusal may be that event.
//! - Its streams go on after an event that cannot be read; ours end there.
//! - A stream that ends without its end mark is no answer, however complete it looks.

mod refusal;
mod said;

use std::time::Duration;

use callboard_broker::BoxFuture;
use futures_core::Stream;
use genai::adapter::AdapterKind;
use genai::chat::{ChatOptions, ChatStream, ChatStreamEvent, StreamEnd};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget, WebConfig};
use tokio::time::timeout;

use super::{
    Answering, Capabilities, MAX_ANSWER, Model, ModelError, ModelName, Piece, Provider, Request, Response, Secret,
    Usage,
};
use crate::Updates;

/// How long a connection may take to be made: 10 s.
const CONNECT: Duration = Duration::from_secs(10);

/// Where the key of a provider is that does not say so.
pub(super) fn key_variable(provider: &Provider, model: &ModelName) -> Result<Option<&'static str>, String> {
    Ok(adapter(provider, model)?.default_key_env_name())
}

/// What a provider speaks.
fn adapter(provider: &Provider, model: &ModelName) -> Result<AdapterKind, String> {
    let speaks = provider.speaks.as_deref().unwrap_or(model.provider());
    AdapterKind::from_lower_str(speaks).ok_or_else(|| {
        format!("nobody knows how to speak to the provider \"{speaks}\"; a server like that of OpenAI is openai/NAME")
    })
}

/// A model of a provider.
pub(super) struct Remote {
    name: ModelName,
    client: Client,
    target: ServiceTarget,
    key: Secret,
    silence: Duration,
    /// With the address, where one is configured.
    origin: String,
    can: Capabilities,
}

impl Remote {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// In words, when nobody knows its provider.
    pub(super) fn new(model: &ModelName, provider: &Provider, key: Secret, silence: Duration) -> Result<Self, String> {
        let kind = adapter(provider, model)?;
        let web = WebConfig { connect_timeout: Some(CONNECT), ..WebConfig::default() };
        let client = Client::builder().with_web_config(web).build().map_err(|error| error.to_string())?;
        let endpoint = match &provider.url {
            // It joins paths to it, so the last part must not look like a file.
            Some(url) => Endpoint::from_owned(format!("{}/", url.trim_end_matches('/'))),
            None => default_endpoint(&client, kind)?,
        };
        // Local servers want no key, and the library always sends one.
        let auth = AuthData::from_single(if key.is_empty() { "none" } else { key.expose() });
        let origin = provider.url.as_ref().map_or_else(|| model.to_string(), |url| format!("{model} at {url}"));
        let target = ServiceTarget { endpoint, auth, model: ModelIden::new(kind, model.name().to_owned()) };
        Ok(Self { name: model.clone(), client, target, key, silence, origin, can: provider.can })
    }

    fn options(request: &Request) -> ChatOptions {
        let sampling = request.sampling;
        let mut options = ChatOptions::default()
            .with_temperature(sampling.temperature)
            .with_max_tokens(sampling.max_tokens)
            .with_capture_usage(true)
            .with_capture_content(true)
            .with_capture_tool_calls(true);
        options.seed = sampling.seed;
        options.tool_choice = said::choice(request);
        options.response_format = said::form(request);
        options
    }

    fn silent(&self) -> ModelError {
        ModelError::away(format!("{} said nothing for {} s", self.name, self.silence.as_secs_f64()))
    }

    fn refused(&self, error: &genai::Error) -> ModelError {
        refusal::of(error, &self.name, &self.key)
    }

    /// The next event, unless it is silent for too long.
    async fn next(&self, stream: &mut ChatStream) -> Result<Option<ChatStreamEvent>, ModelError> {
        let next = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_next(cx));
        match timeout(self.silence, next).await {
            Err(_) => Err(self.silent()),
            Ok(None) => Ok(None),
            Ok(Some(Ok(event))) => Ok(Some(event)),
            Ok(Some(Err(error))) => Err(self.refused(&error)),
        }
    }

    fn whole(&self, end: StreamEnd, said: String, request: &Request) -> Response {
        let calls = said::calls(end.captured_content.as_ref());
        let usage = end.captured_usage.as_ref().map_or_else(|| estimated(request, &said), said::usage);
        let finish = said::finish(end.captured_stop_reason.as_ref(), !calls.is_empty());
        Response { text: said, calls, finish, usage, model: self.name.clone(), ..Response::default() }
    }
}

/// What a provider did not count.
fn estimated(request: &Request, said: &str) -> Usage {
    Usage { input_tokens: request.estimate(), output_tokens: (said.len() as u64).div_ceil(4), estimated: true }
}

fn default_endpoint(client: &Client, kind: AdapterKind) -> Result<Endpoint, String> {
    // It is asynchronous for the sake of resolvers, of which there are none.
    let resolving = client.resolve_service_target(ModelIden::new(kind, "any"));
    let mut resolving = Box::pin(resolving);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match resolving.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(Ok(target)) => Ok(target.endpoint),
        std::task::Poll::Ready(Err(_)) | std::task::Poll::Pending => {
            Err(format!("the provider \"{}\" needs a url", kind.as_lower_str()))
        }
    }
}

impl Model for Remote {
    fn name(&self) -> &ModelName {
        &self.name
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(async move {
            let options = Self::options(request);
            let asking = self.client.exec_chat(self.target.clone(), said::request(request), Some(&options));
            let answer = timeout(self.silence, asking).await.map_err(|_| self.silent())?;
            let answer = answer.map_err(|error| self.refused(&error))?;
            let calls = said::calls(Some(&answer.content));
            let text = answer.content.joined_texts().unwrap_or_default();
            let usage = match answer.usage.prompt_tokens {
                Some(_) => said::usage(&answer.usage),
                None => estimated(request, &text),
            };
            let finish = said::finish(answer.stop_reason.as_ref(), !calls.is_empty());
            Ok(Response { text, calls, finish, usage, model: self.name.clone(), ..Response::default() })
        })
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        Box::pin(async move {
            let options = Self::options(request);
            let opened = self.client.exec_chat_stream(self.target.clone(), said::request(request), Some(&options));
            let opened = timeout(self.silence, opened).await.map_err(|_| self.silent())?;
            let mut stream = opened.map_err(|error| self.refused(&error))?.stream;
            let first = loop {
                match self.next(&mut stream).await? {
                    Some(ChatStreamEvent::Start | ChatStreamEvent::Heartbeat) => {}
                    first => break first,
                }
            };
            let (of, request) = (self.clone(), request.clone());
            let going = Going { of, request, stream, next: Some(first), said: String::new(), called: 0 };
            Ok(Answering::of(Updates::unfold(Some(going), Going::step)))
        })
    }
}

/// An answer that is being given.
struct Going {
    of: Remote,
    request: Request,
    stream: ChatStream,
    /// An event that was read already.
    next: Option<Option<ChatStreamEvent>>,
    said: String,
    /// How long the longest call of a tool is until now, or how many pieces of calls there were.
    called: usize,
}

impl Going {
    async fn step(going: Option<Self>) -> Option<(Result<Piece, ModelError>, Option<Self>)> {
        let mut going = going?;
        loop {
            let event = match going.next.take() {
                Some(event) => event,
                None => match going.of.next(&mut going.stream).await {
                    Ok(event) => event,
                    Err(error) => {
                        let why = format!("the answer broke off: {}", error.message);
                        return Some((Err(ModelError::broke_off(why, going.said)), None));
                    }
                },
            };
            match event {
                Some(ChatStreamEvent::Chunk(chunk)) => {
                    going.said.push_str(&chunk.content);
                    return Some((Ok(Piece::Text(chunk.content)), Some(going)));
                }
                Some(ChatStreamEvent::End(end)) => {
                    let whole = going.of.whole(end, going.said, &going.request);
                    return Some((Ok(Piece::Done(whole)), None));
                }
                Some(ChatStreamEvent::ToolCallChunk(chunk)) => {
                    // Each has what there is so far of the arguments of its call.
                    going.called = chunk.tool_call.fn_arguments.as_str().map_or(0, str::len).max(going.called + 1);
                    if going.called > MAX_ANSWER {
                        let why = format!("{} calls a tool with more than {MAX_ANSWER} bytes", going.of.name);
                        return Some((Err(ModelError::broke_off(why, going.said)), None));
                    }
                }
                Some(_) => {}
                None => {
                    let why = format!("the answer of {} ended before it was whole", going.of.name);
                    return Some((Err(ModelError::broke_off(why, going.said)), None));
                }
            }
        }
    }
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        let (name, key, origin) = (self.name.clone(), self.key.clone(), self.origin.clone());
        let (client, target) = (self.client.clone(), self.target.clone());
        Self { name, key, origin, client, target, silence: self.silence, can: self.can }
    }
}
