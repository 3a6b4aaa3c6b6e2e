use std::sync::Arc;
use std::time::Duration;

use callboard_broker::code;
use callboard_broker::error::Result;
use callboard_broker::payload::Payload as Body;
use callboard_broker::subject::CapabilityName;
use callboard_broker::task::{Entry, Outcome, Status};
use serde_json::{Value, json};

use super::cache::{self, Earlier};
use super::{Fallback, Manner};
use crate::call::hedge;
use crate::call::live::Live;
use crate::host::{Host, Order};
use crate::human::{self, Question};

/// The most characters of an agent's words that go into the reason why a result is degraded.
const WORDS: usize = 200;

/// The outcome of a child, or of the first of its fallbacks that has one. When none has, the child's own, whose error
/// then names the others too. That a result is not the one that was asked for is told to the host.
///
/// A child that was cancelled is not made up for: somebody wanted it to stop. An order that comes in as skipped was
/// rejected by people, so nobody else is given it; only a value that was declared stands in.
///
/// # Errors
/// What the host answers when it cannot delegate or wait. Then nothing else is tried, because nothing is known about the
/// child.
pub async fn outcome(host: &Arc<dyn Host>, order: Order, manner: &Manner) -> Result<Outcome> {
    let mut chain = Chain { host, order, manner, why: Vec::new(), partial: None };
    if chain.order.skipped.is_some() {
        return chain.rejected().await;
    }
    let first = chain.guarded(chain.order.clone(), !manner.fallbacks.is_empty()).await?;
    match first.status {
        Status::Completed => chain.remember(&first).await,
        Status::Cancelled => {}
        _ => return chain.make_up_for(first).await,
    }
    Ok(first)
}

struct Chain<'h> {
    host: &'h Arc<dyn Host>,
    order: Order,
    manner: &'h Manner,
    /// What failed so far, in words.
    why: Vec<String>,
    partial: Option<Body>,
}

impl Chain<'_> {
    async fn rejected(&mut self) -> Result<Outcome> {
        let mut outcome = self.child(self.order.clone()).await?;
        if let Some(error) = &mut outcome.error {
            error.code = code::REJECTED.into();
        }
        let declared = self.manner.fallbacks.iter().find_map(|one| match one {
            Fallback::Value(value) => Some(value.clone()),
            _ => None,
        });
        Ok(match declared {
            Some(value) => self.stands_in(&outcome, value, "done without"),
            None => outcome,
        })
    }

    async fn make_up_for(&mut self, first: Outcome) -> Result<Outcome> {
        for (place, fallback) in self.manner.fallbacks.iter().enumerate() {
            let found = match fallback {
                Fallback::Capability(name) => {
                    let key = self.order.key.as_ref().map(|key| format!("{key}:{name}"));
                    let order = Order { capability: name.clone(), key, ..self.order.clone() };
                    let is_last = place + 1 == self.manner.fallbacks.len();
                    self.delegated(order, !is_last, format!("{name} instead")).await?
                }
                Fallback::Human(queue, schema) => {
                    let order = self.question(queue, schema)?;
                    self.delegated(order, false, format!("an answer from {queue} instead")).await?
                }
                Fallback::Cached(max_age) => self.earlier(&first, place, *max_age).await?,
                Fallback::Partial => {
                    let partial = self.partial.clone();
                    partial.map(|partial| self.stands_in(&first, partial, "what it had kept instead"))
                }
                Fallback::Value(value) => Some(self.stands_in(&first, value.clone(), "done without")),
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
        let mut first = first;
        if let (Some(error), [_, others @ ..]) = (&mut first.error, self.why.as_slice())
            && !others.is_empty()
        {
            error.message = format!("{}; {}", error.message, others.join("; "));
        }
        Ok(first)
    }

    /// As [`child`](Self::child); when there is something else to try, a capability that fails all the time is not waited
    /// for. Then the child is recorded as skipped, so that the next attempt finds the same. For a child that is there
    /// already nobody is let in: who came in as a probe would begin nothing, and keep out whoever does.
    async fn guarded(&mut self, order: Order, has_other: bool) -> Result<Outcome> {
        let refused = match has_other && !self.host.has_child(&order).await? {
            true => self.host.admits(&order.capability).await.err().map(|error| error.to_string()),
            false => None,
        };
        self.child(Order { skipped: refused.or(order.skipped), ..order }).await
    }

    /// Delegates and waits. A failure is noted, and that what came is less than was asked for is passed on.
    async fn child(&mut self, order: Order) -> Result<Outcome> {
        let capability = order.capability.clone();
        let outcome = match self.manner.hedge {
            // What stands in for what failed is not hedged once more.
            Some(after) if self.why.is_empty() => hedge::child(self.host, order, after, &self.manner.began).await?,
            _ => self.ended(order).await?,
        };
        match (outcome.status, &outcome.degraded) {
            (Status::Completed, Some(how)) => self.host.degrade(format!("{capability}: {how}")),
            (Status::Completed | Status::Cancelled, _) => {}
            _ => self.failed(&capability, &outcome),
        }
        Ok(outcome)
    }

    async fn ended(&self, order: Order) -> Result<Outcome> {
        let place = self.host.place(&order.capability).await?;
        let child = self.manner.began.delegate(self.host, order).await?;
        let live = Live::new(self.host, child.clone());
        let outcome = self.host.outcome_in(child, place).await;
        live.ended();
        outcome
    }

    fn failed(&mut self, capability: &CapabilityName, outcome: &Outcome) {
        let words = outcome.error.as_ref().map_or(outcome.status.as_str(), |error| error.message.as_str());
        self.why.push(format!("{capability} failed ({})", words.chars().take(WORDS).collect::<String>()));
        let kept = outcome.error.as_ref().and_then(|error| error.partial.clone());
        // Who came first was what was asked for, so what it kept is nearest to that.
        self.partial = self.partial.take().or(kept);
    }

    /// The outcome of a child that was tried in place of the first; none when it failed as well.
    async fn delegated(&mut self, order: Order, has_other: bool, how: String) -> Result<Option<Outcome>> {
        let how = self.how(&how);
        let outcome = self.guarded(order, has_other).await?;
        Ok(match outcome.status {
            Status::Completed => {
                self.host.degrade(how.clone());
                Some(Outcome { degraded: Some(how), ..outcome })
            }
            Status::Cancelled => Some(outcome),
            _ => None,
        })
    }

    /// An outcome for which nobody worked now.
    fn stands_in(&self, first: &Outcome, output: Body, how: &str) -> Outcome {
        let how = self.how(how);
        self.host.degrade(how.clone());
        Outcome { status: Status::Completed, output, error: None, degraded: Some(how), agent: None, ..first.clone() }
    }

    fn how(&self, then: &str) -> String {
        format!("{}: {then}", self.why.join("; "))
    }

    /// What was found, also that it was nothing, is recorded: the same is found after a crash, whatever others leave
    /// behind meanwhile.
    async fn earlier(&mut self, first: &Outcome, place: usize, max_age: Duration) -> Result<Option<Outcome>> {
        let name = format!("fallback.{}.{place}", first.task);
        let found: Option<Earlier> = match self.host.recorded(&name)? {
            Some(recorded) => recorded.take()?,
            None => {
                let found = match self.host.cache() {
                    Some(states) => cache::find(&*states, &self.order, max_age, first.finished_at).await?,
                    None => None,
                };
                let value = Body::from_json(Body::of(found.clone()).json()?)?;
                self.host.record(Entry::Step { name, value, input: None }).await?;
                found
            }
        };
        Ok(found.map(|earlier| {
            let age = Duration::from_millis(first.finished_at.saturating_sub(earlier.at)).as_secs();
            self.stands_in(first, Body::of(earlier.response), &format!("a response of {age} s before instead"))
        }))
    }

    /// Leaves the response behind, where that was declared. That it could not be is no failure of this child.
    async fn remember(&self, outcome: &Outcome) {
        let is_declared = self.manner.fallbacks.iter().any(|one| matches!(one, Fallback::Cached(_)));
        if let (true, Some(states)) = (is_declared, self.host.cache())
            && let Err(error) = cache::keep(&*states, &self.order, &self.host.facts().agent, outcome).await
        {
            tracing::debug!(%error, capability = %self.order.capability, "a response could not be left behind");
        }
    }

    fn question(&self, queue: &CapabilityName, schema: &Value) -> Result<Order> {
        let words = format!("{}. What is the answer?", self.why.join("; "));
        let context = json!({ "capability": self.order.capability, "input": self.order.input.value()? });
        let question = Question { schema: schema.clone(), ..Question::new(words.clone()).context(context) };
        question.check()?;
        Ok(Order {
            key: self.order.key.as_ref().map(|key| format!("{key}:{queue}")),
            description: Some(words),
            deadline: Some(self.order.deadline.unwrap_or(human::DEADLINE)),
            priority: self.order.priority,
            ..Order::new(queue.clone(), Body::of(question))
        })
    }
}
