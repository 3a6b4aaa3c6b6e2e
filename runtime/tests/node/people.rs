//! What happens when nobody answers, on a node: whoever asked is told, a given answer counts, others are asked; and a
//! handler that runs again finds the same.

use std::time::Duration;

use callboard::broker::task::Status;
use callboard::broker::tasks::TaskFilter;
use callboard::human::Question;
use callboard::inbox::Inbox;
use callboard::{Capability, Context, Error, Failure, Result, json};

use crate::kit::*;

/// The rule, and what comes of it.
const ASK: Capability<String, String> = Capability::new("test.ask");
const HOUR: Duration = Duration::from_secs(3600);

on_every_wing! {
    each_rule_holds_when_nobody_answers,
    an_escalated_question_is_answered_by_others_and_found_again_by_the_next_attempt,
}

async fn ask(ctx: Context, rule: String) -> Result<String> {
    let human = ctx.human::<String>(Question::new("well?")).within(HOUR);
    Ok(match rule.as_str() {
        "default" => human.or(&"as ever".into()).await?,
        "escalate" => human.or_escalate("boss").await?,
        _ => human.await?,
    })
}

async fn each_rule_holds_when_nobody_answers(wing: &Wing) {
    let node = wing.node().serve(ASK.by_fn(ask)).start().await.unwrap();
    let default = node.submit(ASK, "default".into()).await.unwrap().reply().await.unwrap();
    assert_eq!((default.value.as_str(), default.agent.as_str()), ("as ever", "test.ask"));
    assert!(default.degraded.unwrap().contains("nobody answered within 3600 s"));
    // Who is told passes it on, and is not tried again: nobody would answer sooner.
    let run = node.submit(ASK, "fail".into()).await.unwrap();
    let failed = run.outcome().await.unwrap_err();
    assert!(matches!(failed, Error::Failed { .. }), "{failed}");
    // With as much time again, and then no further.
    let begun = tokio::time::Instant::now();
    let unheard = node.submit(ASK, "escalate".into()).await.unwrap().outcome().await.unwrap_err();
    assert!(matches!(unheard, Error::Failed { .. }), "{unheard}");
    assert!(begun.elapsed() >= 2 * HOUR, "{:?}", begun.elapsed());
    let tasks = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    let asked: Vec<_> = tasks.iter().filter(|view| view.task.capability.is_human()).collect();
    assert!(asked.iter().all(|view| view.status == Status::Expired));
    assert_eq!(asked.last().unwrap().task.capability.as_str(), "human.boss");
}

async fn an_escalated_question_is_answered_by_others_and_found_again_by_the_next_attempt(wing: &Wing) {
    let agent = ASK.by_fn(|ctx: Context, rule: String| async move {
        let attempt = ctx.attempt();
        let answer = ask(ctx, rule).await?;
        match attempt {
            1 => Err(Failure::transient("after the answer")),
            _ => Ok(answer),
        }
    });
    let node = wing.node().serve(agent).start().await.unwrap();
    let run = node.submit(ASK, "escalate".into()).await.unwrap();
    tokio::time::sleep(HOUR + Duration::from_secs(60)).await;
    let inbox = Inbox::of(node.broker());
    let open = inbox.open(None).await.unwrap();
    assert_eq!(open.iter().map(|one| one.queue.as_str()).collect::<Vec<_>>(), ["boss"]);
    let late = node.broker().tasks.list(TaskFilter::default()).await.unwrap();
    let late = late.iter().find(|view| view.task.capability.as_str() == "human.default").unwrap();
    let too_late = inbox.answer(late.task.id.clone(), json!("here"), "ann").await.unwrap_err();
    assert!(matches!(too_late, Error::Conflict { .. }), "{too_late}");
    inbox.answer(open[0].task.id.clone(), json!("go"), "zoe").await.unwrap();
    let reply = run.reply().await.unwrap();
    assert_eq!((reply.value.as_str(), reply.attempt), ("go", 2));
    assert_eq!(node.broker().tasks.list(TaskFilter::default()).await.unwrap().len(), 3, "nobody was asked again");
}
