//! Questions of agents to whoever prompted them from outside: asked on the stream that answers the prompt.
//!
//! Only those of the queue [`CALLER`] go there: what other people are asked is no affair of a stranger. They stand in the
//! inbox as well, and wherever the first answer comes from, it holds.

use std::sync::Arc;

use callboard_agents::human::{CALLER, Question};
use callboard_broker::error::{Error, Result};
use callboard_broker::id::TaskId;
use callboard_broker::nats::outside::Caller;
use callboard_broker::task::Status;
use serde_json::Value;

use crate::inbox::Inbox;

/// How often a caller is asked again whose answer does not fit.
const MAX_ASKS: u32 = 3;

/// Puts a question to the caller and records the answer, unless somebody else is quicker.
pub(super) async fn ask(inbox: Inbox, caller: Arc<Caller>, id: TaskId) {
    let asking = async {
        let asked = inbox.get(id.clone()).await?;
        if asked.status != Status::Pending || asked.question.admits(CALLER).is_err() {
            return Ok(());
        }
        let mut words = words(&asked.question);
        for _ in 0..MAX_ASKS {
            let answered = match caller.query(&words).await {
                Ok(said) => record(&inbox, &id, &asked.question, said.text).await,
                Err(unread) => Err(unread),
            };
            match answered {
                Ok(()) | Err(Error::Conflict { .. }) => return Ok(()),
                Err(Error::Decode { what }) => words = format!("{what}\n\n{}", self::words(&asked.question)),
                Err(error) => return Err(error),
            }
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        asked = asking => if let Err(error) = asked {
            tracing::debug!(%error, task = %id, "a caller could not be asked");
        },
        () = inbox.ended(&id) => {}
    }
}

async fn record(inbox: &Inbox, id: &TaskId, question: &Question, text: String) -> Result<()> {
    let is_text = !question.choices.is_empty() || question.schema["type"] == "string";
    let parsed = serde_json::from_str::<Value>(&text).ok().filter(|_| !is_text);
    let answer = parsed.unwrap_or_else(|| Value::String(text.trim().to_owned()));
    inbox.answer(id.clone(), answer, CALLER).await.map(drop)
}

/// A question as it is read by a person, or by a program in their place.
fn words(question: &Question) -> String {
    let mut words = question.question.clone();
    if !question.context.is_null() {
        words.push_str(&format!("\n\n{}", question.context));
    }
    if !question.choices.is_empty() {
        words.push_str(&format!("\n\nAnswer with one of: {}", question.choices.join(", ")));
    } else if !question.schema.is_null() && question.schema["type"] != "string" {
        words.push_str(&format!("\n\nAnswer with JSON that fits {}", question.schema));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_what_an_answer_looks_like() {
        let plain = Question::new("which?").context(serde_json::json!({ "of": 2 }));
        assert_eq!(words(&plain), "which?\n\n{\"of\":2}");
        assert_eq!(words(&Question::new("which?").choices(["a", "b"])), "which?\n\nAnswer with one of: a, b");
        let number = Question { schema: serde_json::json!({ "type": "integer" }), ..Question::new("how many?") };
        assert!(words(&number).ends_with(r#"Answer with JSON that fits {"type":"integer"}"#));
    }
}
