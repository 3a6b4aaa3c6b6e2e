//! A model in the hands of an agent.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use callboard_broker::error::Error;
use callboard_broker::payload::Payload as Body;
use tokio::time::Instant;
use tracing::Instrument;

use super::form::{MAX_REPAIRS, read_form, repaired};
use super::refusing::Refusing;
use super::{Attempted, Model, ModelCall, ModelError, ModelName, Models, Prices, Request, Response, Usage};
use crate::host::Spend;
use crate::payload::schema;
use crate::{Context, Failure, Payload, payload};

/// The model that configuration gives to a role, for one request. Every call is a step: its answer is recorded, and a
/// second attempt at the task gets the record without asking. It is paid for out of the budget of the run before it is
/// made, at the most that it may take, and what it did not take is given back.
///
/// # Cancellation
/// Dropping a call ends it; what it might have taken stays spent.
#[derive(Clone)]
pub struct RoleModel {
    ctx: Context,
    role: Arc<str>,
    model: Arc<dyn Model>,
    models: Arc<Models>,
    step: Option<Arc<str>>,
    used: Arc<Mutex<ModelUse>>,
}

/// What a role has used of its model.
#[payload]
#[derive(Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct ModelUse {
    /// The role.
    pub role: String,
    /// Who answered last.
    pub model: ModelName,
    /// Calls that were answered, those from the log included.
    pub calls: u32,
    /// Tokens of what was said to it.
    pub input_tokens: u64,
    /// Tokens of what it said.
    pub output_tokens: u64,
    /// What that cost, in millionths.
    pub cost_micros: u64,
    /// Calls for which nobody had to be asked, because the answer was there from before. They took nothing.
    pub cached: u32,
}

impl Context {
    /// The model of a role; none when configuration gives it none, and then the extractive engine is all there is.
    pub fn model(&self, role: &str) -> Option<RoleModel> {
        let models = self.host().models()?;
        let model = match &self.host().facts().model {
            None => models.of(role)?,
            Some(name) => models.named(role, name).unwrap_or_else(|why| Some(Arc::new(Refusing::of(name, why))))?,
        };
        let used = ModelUse { role: role.to_owned(), model: model.name().clone(), ..ModelUse::default() };
        let (ctx, used) = (self.clone(), Arc::new(Mutex::new(used)));
        Some(RoleModel { ctx, role: role.into(), model, models, step: None, used })
    }
}

impl RoleModel {
    /// A name for the step of the next call, where the same is asked twice in one attempt. Default: made of role and
    /// request.
    #[must_use]
    pub fn named(&self, step: impl Into<String>) -> Self {
        Self { step: Some(step.into().into()), ..self.clone() }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// `Failed`, with the class of the model's error; `Exhausted` when the budget leaves no room for the call.
    pub async fn complete(&self, request: impl Into<Request>) -> Result<Response, Error> {
        let request = self.request(request.into());
        self.step(&self.name(&request)?, &request, false).await
    }

    /// The whole answer; whoever streams our own gets its words as they come.
    ///
    /// # Errors
    /// As for [`complete`](Self::complete).
    pub async fn say(&self, request: impl Into<Request>) -> Result<Response, Error> {
        let request = self.request(request.into());
        self.step(&self.name(&request)?, &request, true).await
    }

    /// An answer of this type. The model gets its schema; when the answer does not fit, it is told what is wrong, at most
    /// [`MAX_REPAIRS`] times.
    ///
    /// # Errors
    /// As for [`complete`](Self::complete); `Failed` with `CB0605` when none of the answers fits.
    pub async fn extract<T: Payload>(&self, request: impl Into<Request>) -> Result<T, Error> {
        let mut request = request.into();
        if request.form.is_none() {
            request = request.form("answer", (*schema::<T>()).clone());
        }
        let mut request = self.request(request);
        let name = self.name(&request)?;
        let mut repairs = 0;
        loop {
            let step = if repairs == 0 { name.clone() } else { format!("{name}.repair-{repairs}") };
            let answer = self.step(&step, &request, false).await?;
            let wrong = match read_form(&answer.text) {
                Ok(value) => return Ok(value),
                Err(wrong) => wrong,
            };
            self.model.forget(&request).await;
            if repairs == MAX_REPAIRS {
                let what =
                    format!("{} gave no answer in the form that was asked for, {} times", answer.model, repairs + 1);
                let failure = Failure::from(ModelError::form(what));
                return Err(Error::Failed {
                    to: format!("step {step}").into(),
                    failure: Box::new(failure.into_remote()),
                });
            }
            request = repaired(&request, &answer.text, &wrong);
            repairs += 1;
        }
    }

    /// What was used until now.
    pub fn used(&self) -> ModelUse {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A prompt that is configured in the place of ours.
    pub fn prompt(&self, name: &str) -> Option<String> {
        self.models.prompt_of(name).map(str::to_owned)
    }

    /// For one answer of several in a row, each of which is a step of its own.
    pub(crate) fn turn(&self, turn: u32) -> Self {
        match &self.step {
            Some(step) if turn > 1 => self.named(format!("{step}.{turn}")),
            _ => self.clone(),
        }
    }

    /// The name of the step that this request would be.
    pub(crate) fn step_name(&self, request: &Request) -> Result<String, Error> {
        self.name(&self.request(request.clone()))
    }

    /// As configured, unless the request has a wish of its own.
    fn request(&self, request: Request) -> Request {
        let is_plain = request.sampling == super::Sampling::default();
        if is_plain { Request { sampling: self.models.sampling(), ..request } } else { request }
    }

    fn name(&self, request: &Request) -> Result<String, Error> {
        if let Some(step) = &self.step {
            return Ok(step.to_string());
        }
        let text = serde_json::to_string(request).map_err(|e| Error::decode(e.to_string()))?;
        let hash = Body::from_json(text)?.content_hash()?;
        Ok(format!("model.{}.{hash}", self.role))
    }

    async fn step(&self, name: &str, request: &Request, say: bool) -> Result<Response, Error> {
        let response = self.ctx.step(name, async || self.call(request, say).await).await?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.model = response.model.clone();
        used.calls += 1;
        let took = response.used();
        used.input_tokens += took.input_tokens;
        used.output_tokens += took.output_tokens;
        used.cost_micros += response.cost_micros;
        used.cached += u32::from(response.saved.is_some());
        drop(used);
        Ok(response)
    }

    async fn call(&self, request: &Request, say: bool) -> crate::Result<Response> {
        // Before anything is reserved: what takes nothing is there also for a run that has nothing left.
        if let Some(known) = self.model.known(request).await {
            if say {
                self.ctx.say(known.text.clone());
            }
            return Ok(known);
        }
        self.paid(request, say).await
    }

    async fn paid(&self, request: &Request, say: bool) -> crate::Result<Response> {
        let host = self.ctx.host();
        let most = Usage {
            input_tokens: request.estimate(),
            output_tokens: request.sampling.max_tokens.into(),
            estimated: true,
        };
        let prices = self.models.price_list();
        let dearest = self.model.names().into_iter().map(|name| prices.cost(name, most)).max();
        let reserved = Spend { tokens: most.tokens(), cost_micros: dearest.unwrap_or_default(), ..Spend::default() };
        host.spend(reserved).await?;
        let span = tracing::info_span!(
            "model.chat",
            provider = self.model.name().provider(),
            model = self.model.name().name(),
            role = &*self.role,
            max_tokens = request.sampling.max_tokens,
            temperature = request.sampling.temperature,
            answered_by = tracing::field::Empty,
            answered_from = tracing::field::Empty,
            input_tokens = tracing::field::Empty,
            output_tokens = tracing::field::Empty,
            first_s = tracing::field::Empty,
            finish = tracing::field::Empty,
            code = tracing::field::Empty,
        );
        let (began, mut first) = (Instant::now(), None);
        let answered = self.answer(request, say, &mut first).instrument(span.clone()).await;
        let answered = answered.map(|response| response.priced(prices));
        let (used, attempted) = match &answered {
            Ok(response) => {
                span.record("answered_by", response.model.name());
                span.record("answered_from", response.model.provider());
                span.record("input_tokens", response.usage.input_tokens);
                span.record("output_tokens", response.usage.output_tokens);
                span.record("finish", response.finish.word());
                let (model, usage, cost_micros) = (&response.model, response.usage, response.cost_micros);
                let used = Spend { tokens: response.used().tokens(), cost_micros, ..Spend::default() };
                (used, Attempted::Answered { model, usage, cost_micros })
            }
            Err(error) => {
                span.record("code", error.code);
                (broken(prices, error), Attempted::Failed { code: error.code })
            }
        };
        if let Some(first) = first {
            span.record("first_s", first);
        }
        let first = first.map(std::time::Duration::from_secs_f64);
        let took = began.elapsed();
        // Who was given the answer of somebody else's call has made none.
        if !answered.as_ref().is_ok_and(|response| response.saved.is_some()) {
            host.modelled(&ModelCall { role: &self.role, asked: self.model.name(), attempted, took, first });
        }
        settle(host, reserved, used).await?;
        Ok(answered?)
    }

    async fn answer(&self, request: &Request, say: bool, first: &mut Option<f64>) -> Result<Response, ModelError> {
        let began = Instant::now();
        let name = self.model.name();
        let answering = self.model.stream(request).await.map_err(|error| error.counted(name, request.estimate()))?;
        *first = Some(began.elapsed().as_secs_f64());
        answering
            .by(name, request)
            .whole(|text| {
                if say {
                    self.ctx.say(text)
                }
            })
            .await
    }
}

/// What a call used that gave no whole answer: nothing when it did not begin.
fn broken(prices: &Prices, error: &ModelError) -> Spend {
    error.used.iter().fold(Spend::default(), |sum, took| Spend {
        tokens: sum.tokens.saturating_add(took.usage.tokens()),
        cost_micros: sum.cost_micros.saturating_add(prices.cost(&took.model, took.usage)),
        ..sum
    })
}

/// Gives back what was reserved and not used, and books what was used beyond it: that is spent, whatever the limit is.
async fn settle(host: &Arc<dyn crate::host::Host>, reserved: Spend, used: Spend) -> Result<(), Error> {
    let less = |a: Spend, b: Spend| Spend {
        tokens: a.tokens.saturating_sub(b.tokens),
        cost_micros: a.cost_micros.saturating_sub(b.cost_micros),
        ..Spend::default()
    };
    let (back, more) = (less(reserved, used), less(used, reserved));
    if back != Spend::default() {
        host.give_back(back).await?;
    }
    if more != Spend::default() {
        host.book(more).await?;
    }
    Ok(())
}

impl fmt::Debug for RoleModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoleModel({} by {})", self.role, self.model.name())
    }
}
