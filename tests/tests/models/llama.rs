use callboard::agents::llm::{Model, Piece, Request, Response, Sampling, ToolChoice, ToolSpec};
use callboard::llm::{Finish, Message, ModelConfig, read_form};
use callboard::team::{self, Brief, EXECUTIVE, Engine};
use callboard::{Node, Value};
use callboard_tests::llm::Llama;
use serde_json::json;

use super::{config, folder, inquiry, models};

/// A short answer to a short question.
fn short(question: &str) -> Request {
    Request { sampling: Sampling { max_tokens: 12, ..Sampling::default() }, ..Request::from(question) }
}

/// One server and one test, because a model takes seconds to load: everything that is said to it is counted, and at the
/// end that must be what the server has counted itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_model_completes_streams_fills_forms_and_counts_as_its_server_does() {
    let llama = Llama::start();
    let models = models(ModelConfig {
        sampling: Sampling { max_tokens: 48, ..Sampling::default() },
        ..config("openai/smollm2", &llama.url())
    });
    let model = models.of("any").unwrap();
    let mut said: Vec<Response> = Vec::new();

    said.push(model.complete(&short("What is the capital of France?")).await.unwrap());
    assert!(!said[0].text.is_empty() && !said[0].usage.estimated, "{said:?}");

    let (mut answering, mut pieces) = (model.stream(&short("Name a colour.")).await.unwrap(), 0);
    while let Some(piece) = answering.next().await {
        match piece.unwrap() {
            Piece::Text(_) => pieces += 1,
            Piece::Done(response) => said.push(response),
        }
    }
    assert!(pieces > 1 && said.len() == 2, "{pieces} pieces, {said:?}");

    let schema = json!({
        "type": "object",
        "properties": { "town": { "type": "string", "maxLength": 12 }, "year": { "type": "integer", "maximum": 9999 } },
        "required": ["town", "year"],
        "additionalProperties": false
    });
    let mut filled = short("In which town and year was the mill built? Gera, 1843.").form("built", schema);
    filled.sampling.max_tokens = 40;
    said.push(model.complete(&filled).await.unwrap());
    let built: Value = read_form(&said[2].text).unwrap();
    assert!(built["town"].is_string() && built["year"].is_i64(), "{built}");

    // It ignores tools, so the call comes in a form.
    let weather = ToolSpec {
        name: "weather".into(),
        about: "Tells the weather.".into(),
        arguments: json!({
            "type": "object",
            "properties": { "town": { "enum": ["Gera", "Jena"] } },
            "required": ["town"],
            "additionalProperties": false
        }),
    };
    let mut asked =
        Request { tool_choice: ToolChoice::Required, ..short("How is the weather in Gera?").tools([weather]) };
    asked.sampling.max_tokens = 40;
    said.push(model.complete(&asked).await.unwrap());
    assert_eq!((said[3].calls[0].name.as_str(), said[3].finish), ("weather", Finish::Calls), "{:?}", said[3]);

    let counted = said.iter().fold((0, 0), |(read, told), response| {
        (read + response.usage.input_tokens, told + response.usage.output_tokens)
    });
    assert_eq!(counted, llama.counted());

    cancelled(&*model, &llama).await;
    written(models, &llama).await;
}

/// An answer that nobody reads any more ends at the server, long before it would be whole.
async fn cancelled(model: &dyn Model, llama: &Llama) {
    let before = llama.counted().1;
    let long = Request {
        sampling: Sampling { max_tokens: 400, ..Sampling::default() },
        ..Request::new([Message::user("Count from one to one thousand in words, one number a line.")])
    };
    let mut answering = model.stream(&long).await.unwrap();
    assert!(matches!(answering.next().await, Some(Ok(Piece::Text(_)))));
    drop(answering);
    // What comes next is answered, and then what was dropped has been counted.
    model.complete(&short("Name a town.")).await.unwrap();
    let told = llama.counted().1 - before;
    assert!(told < 200, "{told} tokens were said to nobody");
}

/// The team with this model as its writer: whatever it writes, each sentence of the brief is covered by a source.
async fn written(models: callboard::llm::Models, llama: &Llama) {
    let before = llama.counted();
    let only_writer = callboard::llm::Models::none().role("content.writer", models.of("content.writer").unwrap());
    let node = Node::embedded().models(only_writer).serve(team::research()).start().await.unwrap();
    let folder = folder("The old mill of Gera was built in 1843 by Braun.\n");
    let run = node.submit(EXECUTIVE, inquiry("Who built the old mill of Gera?", folder.path())).await.unwrap();
    let brief: Brief = run.outcome().await.unwrap();
    assert!(brief.brief.contains("Braun") && brief.brief.contains("[1]"), "{brief:?}");
    if brief.engine == Engine::Model {
        let used = &brief.models[0];
        let after = llama.counted();
        assert_eq!((used.input_tokens, used.output_tokens), (after.0 - before.0, after.1 - before.1));
    }
    node.shutdown().await.unwrap();
}
