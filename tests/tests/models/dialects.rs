//! The dialects of providers that are not OpenAI's, each as `llmock` speaks it: what is asked arrives, what is answered and
//! refused is understood.

use std::time::Duration;

use callboard::Class;
use callboard::agents::llm::{Finish, Model, Request};
use callboard::llm::ToolSpec;
use callboard_tests::llm::Mock;
use serde_json::json;

use super::{config, models};

/// By the name of its provider: where `llmock` speaks a dialect.
const DIALECTS: [(&str, &str); 5] = [
    ("anthropic/mock", "/anthropic/v1"),
    ("gemini/mock", "/gemini/v1beta"),
    ("groq/mock", "/groq/openai/v1"),
    ("xai/mock", "/xai/v1"),
    ("together/mock", "/together/v1"),
];

async fn says(mock: &Mock, model: &dyn Model, dialect: &str) {
    mock.reply("the old mill");
    let whole = model.complete(&Request::from("hello")).await.unwrap_or_else(|error| panic!("{dialect}: {error}"));
    assert_eq!((whole.text.as_str(), whole.finish), ("the old mill", Finish::Stop), "{dialect}");
    assert!(whole.usage.input_tokens > 0 && whole.usage.output_tokens > 0, "{dialect}: {:?}", whole.usage);
    mock.reply("the old mill of Gera");
    let request = Request::from("hello");
    let streamed = model.stream(&request).await.unwrap_or_else(|error| panic!("{dialect}: {error}"));
    let mut heard = String::new();
    let streamed = streamed.whole(|words| heard.push_str(words)).await.unwrap_or_else(|why| panic!("{dialect}: {why}"));
    assert_eq!((streamed.text.as_str(), heard.as_str()), ("the old mill of Gera", "the old mill of Gera"), "{dialect}");
}

async fn calls(mock: &Mock, model: &dyn Model, dialect: &str) {
    let weather = ToolSpec {
        name: "weather".into(),
        about: "The weather of a town.".into(),
        arguments: json!({ "type": "object", "properties": { "town": { "type": "string" } }, "required": ["town"] }),
    };
    mock.behave(&[json!({ "type": "reply", "tool_calls": [{ "name": "weather", "arguments": { "town": "Gera" } }] })]);
    let request = Request::from("What is the weather in Gera?").tools([weather]);
    let response = model.complete(&request).await.unwrap_or_else(|error| panic!("{dialect}: {error}"));
    let made: Vec<_> = response.calls.iter().map(|call| (call.name.as_str(), &call.arguments)).collect();
    assert_eq!((made, response.finish), (vec![("weather", &json!({ "town": "Gera" }))], Finish::Calls), "{dialect}");
}

async fn refuses(mock: &Mock, model: &dyn Model, dialect: &str) {
    for (status, class) in [(429, Class::RateLimited), (500, Class::Transient), (401, Class::Permanent)] {
        mock.behave(&[json!({ "type": "fail", "status": status, "retry_after": 2.0 })]);
        let error = model.complete(&Request::from("hello")).await.unwrap_err();
        assert_eq!((error.class, error.status), (class, Some(status)), "{dialect}: {error}");
        if status == 429 {
            assert_eq!(error.retry_after, Some(Duration::from_secs(2)), "{dialect}: {error}");
        }
    }
}

#[tokio::test]
async fn each_dialect_says_calls_and_refuses() {
    let mock = Mock::start(&[]);
    for (name, path) in DIALECTS {
        let model = models(config(name, &mock.at(path))).of("any").expect("there is a default");
        says(&mock, &*model, name).await;
        calls(&mock, &*model, name).await;
        refuses(&mock, &*model, name).await;
    }
}
