//! The person of a simulation: slow, honest, and knows what was done.

use std::collections::BTreeMap;
use std::time::Duration;

use callboard::inbox::Inbox;
use callboard::{Value, json};
use callboard_broker::Broker;
use callboard_broker::id::TaskId;
use tokio::time::{Instant, sleep};

use super::ledger::Ledger;

/// How often she looks, and how long she lets a question lie: longer than any effect that was begun may still take.
const LOOK: Duration = Duration::from_secs(20);
const LATER: Duration = Duration::from_secs(30);

/// Answers all questions, for ever.
pub async fn answer(broker: Broker, ledger: Ledger) {
    let (inbox, mut asked) = (Inbox::of(&broker), BTreeMap::<TaskId, Instant>::new());
    loop {
        sleep(LOOK).await;
        for question in inbox.open(None).await.unwrap_or_default() {
            let since = *asked.entry(question.task.id.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= LATER {
                let said = say(&question.question.context, &ledger);
                // Refused when somebody took the question back meanwhile.
                let _ = inbox.answer(question.task.id, said, "ann").await;
            }
        }
    }
}

fn say(context: &Value, ledger: &Ledger) -> Value {
    match context["effect"].as_str() {
        None => json!(41),
        Some(effect) if ledger.times(effect) > 0 => json!({ "was": "done", "result": 1 }),
        Some(_) => json!({ "was": "not_done" }),
    }
}
