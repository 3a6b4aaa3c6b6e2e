use std::time::Duration;

use callboard::agents::llm::{Model, Piece, Request, Response};
use callboard::broker::code;
use callboard::llm::ModelConfig;
use callboard::team::{self, Brief, EXECUTIVE, Engine};
use callboard::{Class, Error, Node};
use callboard_tests::llm::Mock;
use serde_json::{Value, json};

use super::{config, folder, inquiry, models};

/// Tasks that are served through faults, and how many of them at a time.
const TASKS: usize = 50;
const ROUND: usize = 5;
/// Faults in a round: fewer than the attempts of a task, so that none can meet so many that it is right to give up.
const FAULTS: usize = 2;

fn fail(status: u16, retry_after: f64) -> Value {
    json!({ "type": "fail", "status": status, "retry_after": retry_after })
}

/// After the first words: the first chunk has none.
fn stream(kind: &str) -> Value {
    json!({ "type": "stream_fault", "kind": kind, "after_chunks": 3, "stall_seconds": 3.0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_serves_fifty_tasks_through_every_fault_and_llmock_is_content() {
    let mock = Mock::start(&[]);
    let faults = [
        fail(429, 0.3),
        fail(500, 0.0),
        stream("truncate"),
        stream("malformed"),
        stream("stall"),
        stream("disconnect"),
    ];
    let config = ModelConfig { silence: Some(Duration::from_millis(700)), ..config("openai/mock", &mock.url()) };
    let node = Node::embedded().models(models(config)).serve(team::research()).start().await.unwrap();
    let folder = folder("The old mill of Gera was built in 1843 by Braun.\n");
    let mut faults = faults.iter().cycle().take(18).cloned();
    for round in 0..TASKS / ROUND {
        let met: Vec<_> = faults.by_ref().take(FAULTS).collect();
        if !met.is_empty() {
            mock.behave(&met);
        }
        let mut runs = Vec::new();
        for n in 0..ROUND {
            let question = format!("Who built the old mill of Gera, number {}?", round * ROUND + n);
            runs.push(node.submit(EXECUTIVE, inquiry(&question, folder.path())).await.unwrap());
        }
        for run in runs {
            let brief: Brief = run.outcome().await.expect("no task is lost");
            assert!(brief.brief.contains("1843") && !brief.brief.contains("mock"), "{}", brief.brief);
            assert_eq!(brief.engine, Engine::Model, "{:?}", brief.problems);
        }
    }
    let verdict = mock.verdict();
    assert_eq!((&verdict["passed"], &verdict["errors"]), (&json!(true), &json!(0)), "{verdict:#}");
    assert_eq!(verdict["faults_injected"], 18, "{verdict:#}");
    node.shutdown().await.unwrap();
}

/// The model itself, without a team around it.
fn model(mock: &Mock) -> std::sync::Arc<dyn Model> {
    let config = ModelConfig { silence: Some(Duration::from_millis(500)), ..config("openai/mock", &mock.url()) };
    models(config).of("any").expect("there is a default")
}

async fn streamed(model: &dyn Model) -> Result<Response, callboard::llm::ModelError> {
    model.stream(&Request::from("hello")).await?.whole(|_| {}).await
}

#[tokio::test]
async fn each_fault_has_its_class_and_a_broken_answer_keeps_what_there_was() {
    let mock = Mock::start(&[]);
    let model = model(&mock);
    for whole in [true, false] {
        mock.behave(&[fail(429, 2.0), fail(500, 0.0), fail(401, 0.0)]);
        let mut errors = Vec::new();
        for _ in 0..3 {
            let answer = if whole { model.complete(&Request::from("hello")).await } else { streamed(&*model).await };
            errors.push(answer.unwrap_err());
        }
        let seen: Vec<_> = errors.iter().map(|error| (error.class, error.code, error.status)).collect();
        assert_eq!(
            seen,
            [
                (Class::RateLimited, code::MODEL_LIMITED, Some(429)),
                (Class::Transient, code::MODEL_FAILED, Some(500)),
                (Class::Permanent, code::MODEL_KEY, Some(401)),
            ]
        );
        assert_eq!(errors[0].retry_after, Some(Duration::from_secs(2)));
    }
    for kind in ["truncate", "malformed", "stall", "disconnect"] {
        mock.behave(&[json!({ "type": "reply", "text": "one two three four" }), stream(kind)]);
        let error = streamed(&*model).await.unwrap_err();
        assert_eq!((error.class, error.code), (Class::Transient, code::MODEL_BROKE), "{kind}: {error}");
        let partial = error.partial.unwrap_or_default();
        assert!(!partial.is_empty() && "one two three four".starts_with(&partial), "{kind}: {partial:?}");
    }
    let mut answering = model.stream(&Request::from("hello")).await.unwrap();
    assert!(matches!(answering.next().await, Some(Ok(Piece::Text(_)))));
}

#[tokio::test]
async fn where_nobody_listens_the_model_is_away() {
    let models = models(config("openai/mock", "http://127.0.0.1:9/v1"));
    let error = streamed(&*models.of("any").unwrap()).await.unwrap_err();
    assert_eq!((error.class, error.code), (Class::Transient, code::MODEL_AWAY), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_model_that_calls_is_given_tools_and_its_result_goes_back() {
    let mock = Mock::start(&[]);
    let model = model(&mock);
    let weather = callboard::llm::ToolSpec {
        name: "weather".into(),
        about: "The weather of a town.".into(),
        arguments: json!({ "type": "object", "properties": { "town": { "type": "string" } }, "required": ["town"] }),
    };
    mock.behave(&[json!({ "type": "reply", "tool_calls": [{ "name": "weather", "arguments": { "town": "Gera" } }] })]);
    let request = Request::from("What is the weather in Gera?").tools([weather]);
    let response = model.complete(&request).await.unwrap();
    assert_eq!(
        (response.calls[0].name.as_str(), &response.calls[0].arguments),
        ("weather", &json!({ "town": "Gera" }))
    );
    assert_eq!(response.finish, callboard::llm::Finish::Calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_model_stays_away_is_answered_by_quoting_and_says_so() {
    let node = Node::embedded().models(models(config("openai/mock", "http://127.0.0.1:9/v1")));
    let node = node.serve(team::research()).start().await.unwrap();
    let folder = folder("The old mill of Gera was built in 1843 by Braun.\n");
    let brief: Result<Brief, Error> = node
        .submit(EXECUTIVE, inquiry("Who built the old mill of Gera?", folder.path()))
        .await
        .unwrap()
        .outcome()
        .await;
    let brief = brief.unwrap();
    assert_eq!(brief.engine, Engine::Extractive);
    assert!(brief.brief.contains("1843") && brief.problems[0].contains("quoted and not written"), "{brief:?}");
    node.shutdown().await.unwrap();
}
