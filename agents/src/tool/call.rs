//! One call of a tool, from the grant to the result.
//!
//! In this order: what the agent was granted, whether the arguments fit, how often it called, what it knows, who approves;
//! then, unless it is recorded already, price, rate, breaker, the audit event, and the call itself.

use std::sync::Arc;

use callboard_broker::code;
use callboard_broker::error::{Class, Error, Remote};
use callboard_broker::event::{TOOL_CALLED, TOOL_REFUSED};
use callboard_broker::payload::Payload as Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Instrument;

use super::toolbox::Entry;
use super::{Does, Offer, Output, Rules, ToolCtx, Tools, WhenTainted};
use crate::host::{Spend, ToolCalled};
use crate::human::{OfCall, Verdict};
use crate::{Failure, Result};

/// What somebody wants called.
pub(super) struct Wanted<'a> {
    pub(super) tool: &'a str,
    /// As it was offered; none when there is no such tool.
    pub(super) offer: Option<Offer>,
    /// The tool as it is here now; none when only a record of it is.
    pub(super) entry: Option<Arc<Entry>>,
    pub(super) arguments: Value,
    /// Whether a failure is told to a model, as data, and recorded so.
    pub(super) is_told: bool,
}

/// A call that may be made.
struct Call<'a> {
    tools: &'a Tools,
    offer: Offer,
    entry: Option<Arc<Entry>>,
    rules: Rules,
    arguments: Value,
    is_told: bool,
}

/// Makes a call. Everything but the result of one that was made and failed is an error here.
pub(super) async fn run(tools: &Tools, wanted: Wanted<'_>) -> Result<Output, Error> {
    let tool = wanted.tool;
    if !tools.may(tool) {
        return Err(refused(tools, tool, code::TOOL_DENIED, "the agent was not granted it".into()).await);
    }
    let Some(offer) = wanted.offer else {
        return Err(refused(tools, tool, code::TOOL_UNKNOWN, "there is no such tool here".into()).await);
    };
    let rules = wanted.entry.as_ref().map(|entry| entry.rules().clone());
    let rules = rules.unwrap_or_else(|| tools.desk.toolbox().rules_of(tool));
    let Wanted { entry, arguments, is_told, .. } = wanted;
    let mut call = Call { tools, offer, entry, rules, arguments, is_told };
    if let Err(why) = call.fits(&call.arguments) {
        return Err(refused(tools, tool, code::TOOL_ARGUMENTS, why).await);
    }
    if let Err(limit) = tools.desk.count(tool, call.rules.limits.calls) {
        let why = format!("it was called {limit} times, and may not be called more often in one attempt");
        return Err(refused(tools, tool, code::TOOL_LIMIT, why).await);
    }
    let name = tools.desk.name(tool, &call.arguments)?;
    let name = match call.approve(&name).await? {
        Some(edited) => {
            call.arguments = edited;
            tools.desk.name(tool, &call.arguments)?
        }
        None => name,
    };
    let done = call.record(&name).await;
    // Also a failure may carry words of the other side.
    tools.desk.taint().add(&format!("tool {tool}"));
    done
}

impl Call<'_> {
    /// What is wrong with arguments.
    fn fits(&self, arguments: &Value) -> Result<(), String> {
        let (size, limit) = (arguments.to_string().len(), self.rules.limits.max_arguments);
        if size > limit {
            return Err(format!("the arguments have {size} bytes, {limit} are allowed"));
        }
        match &self.entry {
            Some(entry) => entry.tool().fits(arguments),
            None if arguments.is_object() => Ok(()),
            None => Err("the arguments are no JSON object".into()),
        }
    }

    /// Has people approve it where the rules want that; arguments that they gave instead.
    async fn approve(&self, name: &str) -> Result<Option<Value>, Error> {
        let mut origins = Vec::new();
        if self.rules.minds_origins(self.offer.risk) {
            // What is decided by them is decided the same way in each attempt.
            let known = async || Ok(self.tools.desk.taint().origins());
            origins = self.tools.ctx.step(format!("{name}:from"), known).await?;
        }
        let when = self.rules.when(self.offer.risk, &origins);
        let from = || "what the request knows comes from where it may not reach this tool";
        let people = match (when, self.rules.approval.clone()) {
            (WhenTainted::Refuse, _) => return Err(self.refuse(code::TOOL_TAINTED, from().into()).await),
            (WhenTainted::Allow, None) => return Ok(None),
            (_, Some(people)) | (WhenTainted::Ask(people), None) => people,
        };
        let host = self.tools.ctx.host();
        if host.facts().task.is_none() {
            let why = format!("{}, and only a task can ask a person: delegate it", from());
            return Err(self.refuse(code::TOOL_TAINTED, why).await);
        }
        let of = OfCall {
            tool: &self.offer.name,
            arguments: &self.arguments,
            schema: &self.offer.arguments,
            key: format!("{name}:approval"),
            about: json!({ "does": self.offer.does, "risk": self.offer.risk, "came_from": origins }),
        };
        match people.of_call(host, of, &|edited| self.fits(edited).is_ok()).await? {
            Verdict::Approved => Ok(None),
            Verdict::Edited(arguments) => Ok(Some(arguments)),
            Verdict::Rejected(why) => Err(self.refuse(code::REJECTED, why).await),
        }
    }

    async fn refuse(&self, code: &'static str, why: String) -> Error {
        refused(self.tools, &self.offer.name, code, why).await
    }

    /// Does it, or finds that it was done.
    async fn record(&self, name: &str) -> Result<Output, Error> {
        let ctx = &self.tools.ctx;
        match self.offer.does {
            Does::Reads => {
                ctx.step_from(name, &self.arguments, async || self.told(self.begin_and_do(name, None).await)).await
            }
            Does::Writes => ctx.effect(name, async || self.told(self.begin_and_do(name, None).await)).await,
            Does::WritesKeyed => {
                ctx.effect_keyed(name, async |key| self.told(self.begin_and_do(name, Some(key)).await)).await
            }
            Does::Delegates => {
                // The child is the record; what it took to be allowed is one of its own.
                let begun = async || self.told(self.begin(name).await.map(|_| Output::default()));
                let begun: Output = ctx.step_from(name, &self.arguments, begun).await?;
                if begun.fault.is_some() {
                    return Ok(begun);
                }
                let done = self.told(self.act(Some(name.to_owned())).await);
                done.map_err(|failure| Error::Failed {
                    to: format!("tool {}", self.offer.name).into(),
                    failure: Box::new(failure.into_remote()),
                })
            }
        }
    }

    async fn begin_and_do(&self, name: &str, key: Option<String>) -> Result<Output> {
        self.begin(name).await?;
        self.act(key).await
    }

    /// Price, rate, breaker, audit: then it may be called. A failure here means that it was not.
    async fn begin(&self, name: &str) -> Result<()> {
        let not_done = |error: Error| Failure::from(error).not_done();
        let host = self.tools.ctx.host();
        let Some(entry) = &self.entry else {
            return Err(Failure::transient("the tool is not there").code(code::TOOL_UNKNOWN).not_done());
        };
        if let Err(wait) = entry.take() {
            // Whoever asks may wait as long as for the call itself.
            if wait > self.rules.limits.time() {
                let rate = self.rules.limits.rate.map(|rate| rate.to_string()).unwrap_or_default();
                let refused = Failure::limited(format!("it may be called {rate}")).retry_after(wait);
                return Err(refused.code(code::TOOL_LIMIT).not_done());
            }
            tokio::time::sleep(wait).await;
            // Of those who waited as long, the others are later.
            entry.take().map_err(|wait| {
                Failure::limited("others called it first").retry_after(wait).code(code::TOOL_LIMIT).not_done()
            })?;
        }
        host.admits_tool(&self.offer.name).await.map_err(not_done)?;
        let cost_micros = self.rules.limits.cost_micros;
        if cost_micros > 0 {
            host.spend(Spend { cost_micros, ..Spend::default() }).await.map_err(not_done)?;
        }
        let fact = json!({
            "tool": self.offer.name,
            "call": name,
            "does": self.offer.does,
            "risk": self.offer.risk,
            "arguments": Body::from(self.arguments.clone()).content_hash().map_err(not_done)?,
            "came_from": self.tools.desk.taint().origins(),
            "cost_micros": cost_micros,
        });
        host.emit(TOOL_CALLED, Body::from(fact)).await.map_err(not_done)
    }

    /// The call itself, in its time, with no more of its result than is kept.
    async fn act(&self, key: Option<String>) -> Result<Output> {
        let Some(entry) = &self.entry else {
            return Err(Failure::transient("the tool is not there").code(code::TOOL_UNKNOWN).not_done());
        };
        let (ctx, limits, offer) = (&self.tools.ctx, &self.rules.limits, &self.offer);
        let (began, end) = (Instant::now(), ctx.deadline());
        // What another agent does keeps its own time, so that it ends as a task that is over and not as one unwanted.
        let deadline = if offer.does == Does::Delegates { end } else { end.min(began + limits.time()) };
        let of = ToolCtx { ctx: ctx.clone(), key, deadline, timeout: limits.timeout, max_result: limits.max_result };
        let span = tracing::info_span!(
            "tool.call",
            tool = %offer.name,
            does = ?offer.does,
            code = tracing::field::Empty,
        );
        let calling = entry.tool().call(&of, self.arguments.clone()).instrument(span.clone());
        let done = tokio::time::timeout_at(deadline, calling).await.unwrap_or_else(|_| {
            Err(Failure::transient(format!("it took longer than {} s", (deadline - began).as_secs_f64())))
        });
        let done = done.map(|output| output.bounded(limits.max_result)).map_err(named);
        let failed = done.as_ref().err().map(|failure| (failure.class(), failure.code_of().to_owned()));
        let code = failed.as_ref().map(|(_, code)| code.as_str());
        if let Some(code) = code {
            span.record("code", code);
        }
        let class = failed.as_ref().map(|(class, _)| *class);
        let called = ToolCalled { tool: &offer.name, does: offer.does, took: began.elapsed(), class, code };
        ctx.host().tooled(&called).await;
        done
    }

    /// What is told to a model is a result like any other, and recorded so: of a read every failure, of a write only one
    /// of which it is certain that nothing was done and that it will not be otherwise next time.
    fn told(&self, done: Result<Output>) -> Result<Output> {
        let failure = match done {
            Err(failure) if self.is_told => failure,
            done => return done,
        };
        let ends_all = failure.class() == Class::Cancelled || failure.code_of() == code::EXHAUSTED;
        let is_told = match self.offer.does {
            Does::Reads | Does::Delegates => !ends_all,
            Does::Writes | Does::WritesKeyed => failure.class() == Class::Permanent && failure.is_not_done(),
        };
        if is_told { Ok(Output::fault(&failure.into_remote())) } else { Err(failure) }
    }
}

/// A failure that says nothing of its kind is one of a tool.
fn named(failure: Failure) -> Failure {
    if failure.code_of() == code::FAILED { failure.code(code::TOOL_FAILED) } else { failure }
}

/// Nothing was called: told to whoever keeps watch, and to whoever asked.
async fn refused(tools: &Tools, tool: &str, code: &'static str, why: String) -> Error {
    let host = tools.ctx.host();
    // A name may be anything that a model makes up.
    let name: String = tool.chars().take(super::MAX_NAME).collect();
    let fact = json!({ "tool": name, "code": code, "came_from": tools.desk.taint().origins() });
    if let Err(error) = host.emit(TOOL_REFUSED, Body::from(fact)).await {
        tracing::warn!(%error, tool = %name, code, "a call that was refused could not be told");
    }
    let message = format!("{name} was not called: {why}");
    let failure = Remote {
        class: Class::Permanent,
        code: code.into(),
        message,
        retry_after_ms: None,
        partial: None,
        fatal: false,
    };
    Error::Failed { to: format!("tool {name}").into(), failure: Box::new(failure) }
}
