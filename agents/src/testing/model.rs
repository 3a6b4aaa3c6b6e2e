use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use callboard_broker::BoxFuture;
use serde::Serialize;

use super::world::lock;
use crate::Updates;
use crate::llm::{Answering, Capabilities, Model, ModelError, ModelName, Piece, Request, Response, ToolCall, Usage};

/// A model that says what it was told to say: turn by turn, then by a rule if it has one. A request that it has no answer
/// for is an error that says so. Cheap to clone; clones are the same model.
#[derive(Clone)]
pub struct Script(Arc<Inner>);

struct Inner {
    name: ModelName,
    capabilities: Capabilities,
    turns: Mutex<VecDeque<Turn>>,
    rule: Option<Rule>,
    asked: Mutex<Vec<Request>>,
}

type Answer = Result<Response, ModelError>;
type Rule = Box<dyn Fn(&Request) -> Answer + Send + Sync>;

/// One answer: pieces of words, then its end.
struct Turn {
    pieces: Vec<String>,
    end: Answer,
}

impl Script {
    /// A model with nothing to say yet: `scripted/model`.
    pub fn new() -> Self {
        Self::of(None)
    }

    /// A model that answers each request that it has no turn for as `rule` says.
    pub fn by(rule: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::of(Some(Box::new(rule)))
    }

    fn of(rule: Option<Rule>) -> Self {
        let name = ModelName::try_from("scripted/model".to_owned()).expect("two words are a name");
        let (capabilities, turns, asked) = (Capabilities::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { name, capabilities, turns, rule, asked }))
    }

    /// A model that can do only this.
    ///
    /// # Panics
    /// When it was cloned before.
    pub fn can(mut self, capabilities: Capabilities) -> Self {
        Arc::get_mut(&mut self.0).expect("a script is set up before it is used").capabilities = capabilities;
        self
    }

    /// A model of this name, `PROVIDER/NAME`, instead of `scripted/model`.
    ///
    /// # Panics
    /// When that is no name, and when it was cloned before.
    pub fn named(mut self, name: &str) -> Self {
        let name = name.parse().expect("PROVIDER/NAME");
        Arc::get_mut(&mut self.0).expect("a script is set up before it is used").name = name;
        self
    }

    /// Next it says this.
    pub fn reply(self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.turn(vec![text.clone()], Ok(Response::text(text)))
    }

    /// Next it says this in JSON.
    pub fn reply_json(self, value: &impl Serialize) -> Self {
        self.reply(serde_json::to_string(value).expect("it can be written as JSON"))
    }

    /// Next it calls this.
    pub fn call(self, name: &str, arguments: serde_json::Value) -> Self {
        let call = ToolCall { id: format!("{name}-1"), name: name.to_owned(), arguments };
        self.turn(Vec::new(), Ok(Response { calls: vec![call], ..Response::default() }))
    }

    /// Next it refuses.
    pub fn fail(self, error: ModelError) -> Self {
        self.turn(Vec::new(), Err(error))
    }

    /// Next it says this and breaks off.
    pub fn break_off(self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.turn(vec![text.clone()], Err(ModelError::broke_off("the script ends here", text)))
    }

    fn turn(self, pieces: Vec<String>, end: Answer) -> Self {
        lock(&self.0.turns).push_back(Turn { pieces, end });
        self
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Request> {
        lock(&self.0.asked).clone()
    }

    fn next(&self, request: &Request) -> Turn {
        lock(&self.0.asked).push(request.clone());
        let mut turn = lock(&self.0.turns).pop_front().unwrap_or_else(|| match &self.0.rule {
            Some(rule) => {
                let end = rule(request);
                Turn { pieces: end.iter().map(|answer| answer.text.clone()).collect(), end }
            }
            None => {
                let last = request.messages.last().map(|last| last.text.as_str()).unwrap_or_default();
                let what = format!("the script has no answer to: {last}");
                Turn { pieces: Vec::new(), end: Err(ModelError::permanent(what)) }
            }
        });
        if let Ok(response) = &mut turn.end {
            response.model = self.0.name.clone();
            if response.usage == Usage::default() {
                let output_tokens = (response.text.len() as u64).div_ceil(4);
                response.usage = Usage { input_tokens: request.estimate(), output_tokens, estimated: true };
            }
        }
        turn
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Model for Script {
    fn name(&self) -> &ModelName {
        &self.0.name
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    fn complete<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Answer> {
        Box::pin(std::future::ready(self.next(request).end))
    }

    fn stream<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
        let Turn { pieces, end } = self.next(request);
        let started = match end {
            Err(error) if pieces.is_empty() => Err(error),
            end => {
                let texts = pieces.into_iter().filter(|text| !text.is_empty()).map(|text| Ok(Piece::Text(text)));
                let pieces: VecDeque<_> = texts.chain([end.map(Piece::Done)]).collect();
                let next = |mut left: VecDeque<_>| std::future::ready(left.pop_front().map(|piece| (piece, left)));
                Ok(Answering::of(Updates::unfold(pieces, next)))
            }
        };
        Box::pin(std::future::ready(started))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({} turns left)", lock(&self.0.turns).len())
    }
}
