//! Tasks that name their model.

use std::sync::Arc;

use callboard::agents::testing::Script;
use callboard::broker::code;
use callboard::llm::{Models, Response};
use callboard::workflow::{WORKFLOW, WorkflowDoc};
use callboard::{Capability, Context, Error, Node, Result};

/// Says which model it was given.
const WHO: Capability<String, String> = Capability::new("named.who");
/// Has somebody else say it.
const BOSS: Capability<String, String> = Capability::new("named.boss");

async fn who(ctx: Context, role: String) -> Result<String> {
    let Some(model) = ctx.model(&role) else { return Ok("none".into()) };
    Ok(model.complete("who are you?").await?.model.to_string())
}

async fn boss(ctx: Context, model: String) -> Result<String> {
    let own = ctx.delegate(WHO, "clerk".into()).await?;
    let named = ctx.delegate(WHO, "clerk".into()).model(model).await?;
    Ok(format!("{own} {named}"))
}

async fn node() -> Node {
    let model = |name: &str| Arc::new(Script::by(|_| Ok(Response::text("me"))).named(name));
    let models = Models::none().by_default(model("a/default")).role("qa", model("a/qa")).allow(model("b/other"));
    let served = Node::embedded().models(models).serve(WHO.by_fn(who)).serve(BOSS.by_fn(boss));
    served.start().await.unwrap()
}

#[tokio::test]
async fn a_task_asks_the_model_that_it_names_and_so_does_all_below_it() {
    let node = node().await;
    let ask = async |role: &str, model: Option<&str>| {
        let task = node.submit(WHO, role.into());
        let task = if let Some(model) = model { task.model(model) } else { task };
        task.await.unwrap().outcome().await
    };
    assert_eq!(ask("clerk", None).await.unwrap(), "a/default");
    assert_eq!(ask("qa", None).await.unwrap(), "a/qa");
    assert_eq!(ask("qa", Some("b/other")).await.unwrap(), "b/other");
    assert_eq!(ask("clerk", Some("extractive")).await.unwrap(), "none");
    for unknown in ["c/none", "nonsense"] {
        let Error::Failed { failure, .. } = ask("clerk", Some(unknown)).await.unwrap_err() else { panic!() };
        assert_eq!(failure.code, code::MODEL_NOT_ALLOWED, "{failure:?}");
    }
    let boss = node.submit(BOSS, "a/qa".into()).model("b/other").await.unwrap();
    assert_eq!(boss.outcome().await.unwrap(), "b/other a/qa");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_workflow_names_the_model_of_its_tasks() {
    let text = r#"
        name = "who"
        model = "b/other"
        output = "{{first}} {{second}}"
        [[task]]
        id = "first"
        capability = "named.who"
        input = "clerk"
        [[task]]
        id = "second"
        capability = "named.who"
        input = "clerk"
        model = "a/qa"
    "#;
    let node = node().await;
    let flow = WorkflowDoc::from_toml("who.toml", text, None).unwrap();
    let told = node.submit(WORKFLOW, flow).await.unwrap().outcome().await.unwrap();
    assert_eq!(told, "b/other a/qa");
    node.shutdown().await.unwrap();
    let wrong = WorkflowDoc::from_toml("who.toml", &text.replace("a/qa", "qa"), None).unwrap_err().to_string();
    assert!(wrong.contains("PROVIDER/NAME"), "{wrong}");
}
