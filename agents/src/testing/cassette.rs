use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard_broker::error::Class;
use callboard_broker::{BoxFuture, code};
use serde::{Deserialize, Serialize};

use super::world::lock;
use crate::Updates;
use crate::llm::{Answering, Capabilities, Model, ModelError, ModelName, Piece, Request, Response};

/// The largest file that is played, in bytes: 16 MiB.
const MAX_FILE: u64 = 16 << 20;

/// Calls of a real model in a file, to be played in tests: what was asked, and what was answered, as JSON that a person
/// reads and a reviewer sees change. A request is found by all that it says, whatever the order in which it comes; one that
/// is asked several times is answered as it was then, time by time, and as at the last time from then on.
///
/// Recorded once against the real model, it is played without network and key:
///
/// ```no_run
/// # use std::sync::Arc;
/// # use callboard_agents::llm::Model;
/// # use callboard_agents::testing::{Cassette, World};
/// # fn real() -> Arc<dyn Model> { unreachable!() }
/// let model = Cassette::play("tests/clerk.json");
/// // With CALLBOARD_RECORD=1 in the environment the real one is asked and the file written anew.
/// let model = Cassette::open("tests/clerk.json", real);
/// let world = World::new().model("shop.clerk", model);
/// ```
///
/// Keys are not part of a request, so none is in the file. What was said is: do not record what nobody else may read.
#[derive(Clone)]
pub struct Cassette(Arc<Inner>);

struct Inner {
    path: PathBuf,
    name: ModelName,
    capabilities: Capabilities,
    takes: Mutex<Takes>,
    /// Who is asked, while it is recorded.
    real: Option<Arc<dyn Model>>,
}

#[derive(Default)]
struct Takes {
    all: Vec<Take>,
    /// How many takes of a request were played, by where its first one is.
    played: HashMap<usize, usize>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    model: ModelName,
    tools: bool,
    form: bool,
    takes: Vec<Take>,
}

/// One call.
#[derive(Clone, Serialize, Deserialize)]
struct Take {
    request: Request,
    #[serde(flatten)]
    said: Said,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Answer(Response),
    Error(Fault),
}

/// An error of a model.
#[derive(Clone, Serialize, Deserialize)]
struct Fault {
    class: Class,
    code: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partial: Option<String>,
}

impl Cassette {
    /// Plays a file. A request that is not in it is a permanent error that says what was asked.
    ///
    /// # Panics
    /// When the file cannot be read or is none of ours.
    pub fn play(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let read = || {
            let length = std::fs::metadata(path).map_err(|why| why.to_string())?.len();
            if length > MAX_FILE {
                return Err(format!("it has {length} bytes, {MAX_FILE} are allowed"));
            }
            let text = std::fs::read_to_string(path).map_err(|why| why.to_string())?;
            serde_json::from_str::<File>(&text).map_err(|why| why.to_string())
        };
        let file = read().unwrap_or_else(|why| panic!("the cassette {}: {why}", path.display()));
        let capabilities = Capabilities { tools: file.tools, form: file.form };
        let takes = Mutex::new(Takes { all: file.takes, ..Takes::default() });
        Self(Arc::new(Inner { path: path.to_owned(), name: file.model, capabilities, takes, real: None }))
    }

    /// Asks this model and writes down what it says, in the place of what is in the file. It is written after each call.
    pub fn record(path: impl AsRef<Path>, model: Arc<dyn Model>) -> Self {
        let (path, name, capabilities) = (path.as_ref().to_owned(), model.name().clone(), model.capabilities());
        Self(Arc::new(Inner { path, name, capabilities, takes: Mutex::default(), real: Some(model) }))
    }

    /// Plays a file, or records it with this model when the environment says `CALLBOARD_RECORD=1`.
    ///
    /// # Panics
    /// As [`play`](Self::play).
    pub fn open(path: impl AsRef<Path>, model: impl FnOnce() -> Arc<dyn Model>) -> Self {
        let records = std::env::var_os("CALLBOARD_RECORD").is_some_and(|value| value == "1");
        if records { Self::record(path, model()) } else { Self::play(path) }
    }

    /// The calls that are in it.
    pub fn len(&self) -> usize {
        lock(&self.0.takes).all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    /// The next answer to this request.
    fn played(&self, request: &Request) -> Result<Response, ModelError> {
        let takes = &mut *lock(&self.takes);
        let all: Vec<usize> = (0..takes.all.len()).filter(|at| takes.all[*at].request == *request).collect();
        let Some(first) = all.first() else {
            let last = request.messages.last().map(|last| last.text.as_str()).unwrap_or_default();
            let what = format!("{} has no recording of: {last} (CALLBOARD_RECORD=1 makes one)", self.path.display());
            return Err(ModelError::permanent(what));
        };
        let played = takes.played.entry(*first).or_default();
        let take = all[(*played).min(all.len() - 1)];
        *played += 1;
        takes.all[take].said.clone().into()
    }

    /// Writes it down.
    fn said(&self, request: &Request, answer: &Result<Response, ModelError>) -> Result<(), ModelError> {
        let mut takes = lock(&self.takes);
        takes.all.push(Take { request: request.clone(), said: answer.into() });
        let Capabilities { tools, form } = self.capabilities;
        let file = File { model: self.name.clone(), tools, form, takes: takes.all.clone() };
        let write = || {
            let text = serde_json::to_string_pretty(&file)? + "\n";
            // Whole or not at all.
            let beside = self.path.with_extension("json.new");
            std::fs::write(&beside, text)?;
            std::fs::rename(&beside, &self.path)
        };
        let failed = |why: std::io::Error| ModelError::permanent(format!("{}: {why}", self.path.display()));
        write().map_err(failed)
    }
}

impl From<&Result<Response, ModelError>> for Said {
    fn from(answer: &Result<Response, ModelError>) -> Self {
        match answer {
            Ok(response) => Self::Answer(response.clone()),
            Err(error) => Self::Error(Fault {
                class: error.class,
                code: error.code.to_owned(),
                message: error.message.clone(),
                status: error.status,
                retry_after_ms: error.retry_after.map(callboard_broker::clock::millis),
                partial: error.partial.clone(),
            }),
        }
    }
}

impl From<Said> for Result<Response, ModelError> {
    fn from(said: Said) -> Self {
        match said {
            Said::Answer(response) => Ok(response),
            Said::Error(fault) => Err(ModelError {
                class: fault.class,
                code: code::find(&fault.code).map_or(code::MODEL_FAILED, |known| known.code),
                message: fault.message,
                status: fault.status,
                retry_after: fault.retry_after_ms.map(Duration::from_millis),
                partial: fault.partial,
                used: Vec::new(),
            }),
        }
    }
}

impl Model for Cassette {
    fn name(&self) -> &ModelName {
        &self.0.name
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
        Box::pin(async move {
            let Some(real) = &self.0.real else { return self.0.played(request) };
            let answer = real.complete(request).await;
            self.0.said(request, &answer)?;
            answer
        })
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        Box::pin(async move {
            let answer = match &self.0.real {
                // It is recorded whole, so it is asked for whole; how it came piece by piece is not kept.
                Some(real) => {
                    let answer = match real.stream(request).await {
                        Ok(answering) => answering.whole(|_| {}).await,
                        Err(error) => Err(error),
                    };
                    self.0.said(request, &answer)?;
                    answer
                }
                None => self.0.played(request),
            };
            let text = match &answer {
                Ok(response) => response.text.clone(),
                Err(ModelError { partial: Some(partial), .. }) => partial.clone(),
                Err(error) => return Err(error.clone()),
            };
            let text = Some(text).filter(|text| !text.is_empty()).map(|text| Ok(Piece::Text(text)));
            let pieces = text.into_iter().chain([answer.map(Piece::Done)]);
            Ok(Answering::of(Updates::unfold(pieces, |mut pieces| async move { Some((pieces.next()?, pieces)) })))
        })
    }
}

impl fmt::Debug for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cassette({}, {} calls)", self.0.path.display(), self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Script;

    #[tokio::test]
    async fn what_was_recorded_is_played_without_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clerk.json");
        let limited = ModelError::status(429, "slow").retry_after(Some(Duration::from_secs(3)));
        let script = Script::new().reply("Gera").reply("Jena").fail(limited.clone()).break_off("half an");
        let recording = Cassette::record(&path, Arc::new(script.clone()));
        let (town, river) = (Request::from("which town?"), Request::from("which river?"));
        let first = recording.complete(&town).await.unwrap();
        recording.stream(&town).await.unwrap().whole(|_| {}).await.unwrap();
        recording.complete(&river).await.unwrap_err();
        let broken = recording.stream(&river).await.unwrap().whole(|_| {}).await.unwrap_err();
        assert_eq!((recording.len(), broken.partial.as_deref()), (4, Some("half an")));

        let playing = Cassette::play(&path);
        assert_eq!(playing.name(), script.name());
        // In another order; each request is answered as it was.
        assert_eq!(playing.complete(&river).await.unwrap_err(), limited);
        assert_eq!(playing.complete(&town).await.unwrap(), first);
        let mut heard = String::new();
        let again = playing.stream(&town).await.unwrap().whole(|text| heard.push_str(text)).await.unwrap();
        assert_eq!((again.text.as_str(), heard.as_str()), ("Jena", "Jena"));
        assert_eq!(playing.complete(&town).await.unwrap().text, "Jena", "as at the last time");
        let mut heard = String::new();
        let error = playing.stream(&river).await.unwrap().whole(|text| heard.push_str(text)).await.unwrap_err();
        assert_eq!((heard.as_str(), error.code), ("half an", code::MODEL_BROKE));
        let error = playing.complete(&"which sea?".into()).await.unwrap_err();
        assert!(error.class == Class::Permanent && error.message.contains("which sea?"), "{error}");
        assert_eq!(script.asked().len(), 4, "nobody was asked again");
    }

    #[test]
    #[should_panic(expected = "is-none.json: ")]
    fn what_is_no_cassette_is_refused_with_its_name() {
        Cassette::play("is-none.json");
    }
}
