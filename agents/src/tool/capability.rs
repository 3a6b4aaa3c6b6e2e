//! What other agents serve, as tools: a call is a child of the task, or an ask where there is no task.

use std::sync::Arc;

use callboard_broker::BoxFuture;
use callboard_broker::error::Error;
use serde_json::{Value, json};

use super::{AnyTool, Does, Offer, Output, Risk, ToolCtx};
use crate::service::Door;
use crate::{Capability, Result};

/// The field that stands for a request which is no object: tools take objects.
const INPUT: &str = "input";

struct Served {
    offer: Offer,
    capability: Capability<Value, Value>,
    is_wrapped: bool,
}

/// A tool of this name that hands its arguments to whoever serves a capability. `door` is what is known of it; without one
/// any object is taken, and whoever serves it has its say.
///
/// # Errors
/// `Decode` for a name of a capability that is none.
pub fn tool(name: &str, capability: &str, door: Option<&Door>) -> Result<Arc<dyn AnyTool>, Error> {
    let capability = Capability::named(capability)?;
    let schema = door.map_or_else(|| json!({ "type": "object" }), |door| (*door.request).clone());
    let is_wrapped = schema.get("type").is_none_or(|kind| kind != "object") && schema.get("properties").is_none();
    let arguments = match is_wrapped {
        true => json!({ "type": "object", "properties": { INPUT: schema }, "required": [INPUT] }),
        false => schema,
    };
    let about = door.map(|door| &*door.about).filter(|about| !about.is_empty());
    let about = about.map_or_else(|| format!("Hands work to {}", capability.name()), str::to_owned);
    // What that agent may do is its own matter: it is tainted by whoever asks it.
    let offer =
        Offer { name: name.to_owned(), about, arguments, does: Does::Delegates, risk: Risk::Normal, origin: None };
    Ok(Arc::new(Served { offer, capability, is_wrapped }))
}

impl AnyTool for Served {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn fits(&self, arguments: &Value) -> Result<(), String> {
        match arguments.as_object() {
            Some(fields) if self.is_wrapped && !fields.contains_key(INPUT) => Err(format!("`{INPUT}` is missing")),
            Some(_) => Ok(()),
            None => Err("the arguments are no JSON object".into()),
        }
    }

    fn call<'a>(&'a self, of: &'a ToolCtx, mut arguments: Value) -> BoxFuture<'a, Result<Output>> {
        Box::pin(async move {
            let request = if self.is_wrapped { arguments[INPUT].take() } else { arguments };
            let said = match of.ctx.task_id().is_empty() {
                true => {
                    let ask = of.ctx.ask(self.capability, request);
                    of.timeout.into_iter().fold(ask, |ask, time| ask.deadline(time)).await?
                }
                false => {
                    let child = of.ctx.delegate(self.capability, request);
                    let child = of.key.iter().fold(child, |child, key| child.key(key.as_str()));
                    let child = of.timeout.into_iter().fold(child, |child, time| child.deadline(time));
                    child.describe(format!("for the tool {}", self.offer.name)).await?
                }
            };
            match said {
                Value::String(words) => Ok(Output::text(words)),
                value => Output::json(&value),
            }
        })
    }
}
