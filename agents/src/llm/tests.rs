use std::sync::Arc;
use std::time::Duration;

use callboard_broker::code;
use callboard_broker::error::Class;
use serde_json::json;

use super::*;
use crate::payload;
use crate::testing::{Script, World};

fn world(script: &Script) -> World {
    World::new().model("x", script.clone())
}

#[payload]
#[derive(Debug, PartialEq)]
struct Town {
    name: String,
}

#[tokio::test]
async fn a_second_attempt_gets_the_answer_from_the_log() {
    let script = Script::new().reply("one").reply("two");
    let world = world(&script);
    for _ in 0..2 {
        let model = world.context().model("x").unwrap();
        assert_eq!(model.complete("hello").await.unwrap().text, "one");
        assert_eq!(model.used().calls, 1, "what is in the log was used too");
    }
    assert_eq!(script.asked().len(), 1);
    assert_eq!(world.context().model("x").unwrap().complete("goodbye").await.unwrap().text, "two");
}

#[tokio::test]
async fn a_role_has_its_own_model_or_that_of_what_it_is_part_of() {
    let model = |text: &str| Arc::new(Script::new().reply(text)) as Arc<dyn Model>;
    let models = Models::none().role("content", model("c")).role("content.writer", model("w")).by_default(model("d"));
    for (role, text) in [("content.writer.title", "w"), ("content.editor", "c"), ("qa", "d")] {
        assert_eq!(models.of(role).unwrap().complete(&"?".into()).await.unwrap().text, text, "{role}");
    }
    assert!(Models::none().of("content").is_none() && World::new().context().model("x").is_none());
}

#[tokio::test]
async fn a_call_is_paid_for_at_the_most_and_what_it_did_not_take_comes_back() {
    let script = Script::by(|_| {
        Ok(Response { usage: Usage { input_tokens: 7, output_tokens: 2, estimated: false }, ..Response::text("hi") })
    });
    let world = world(&script);
    world.context().model("x").unwrap().complete("hello").await.unwrap();
    assert_eq!((world.spent().tokens, world.spent().steps), (9, 1));
    let broken = World::new().model("x", Script::new().fail(ModelError::away("gone")));
    broken.context().model("x").unwrap().complete("hello").await.unwrap_err();
    assert_eq!(broken.spent().tokens, 0, "what did not begin costs nothing");
}

fn prices<const N: usize>(of: [(&str, f64); N]) -> Prices {
    let price = |(name, price): (&str, f64)| (name.parse().unwrap(), Price { input: price, output: price });
    Prices(of.map(price).into())
}

fn chain<const N: usize>(models: [&Script; N]) -> Chain {
    let mut all = models.map(|model| Arc::new(model.clone()) as Arc<dyn Model>).to_vec();
    let first = all.remove(0);
    Chain::new(first, all)
}

#[tokio::test]
async fn half_an_answer_has_the_price_of_the_model_that_gave_it() {
    for (price, is_paid) in [(("b/dear", 3.0), true), (("a/free", 3.0), false)] {
        let free = Script::new().named("a/free").fail(ModelError::away("gone"));
        let dear = Script::new().named("b/dear").break_off("The mill was");
        let world = World::new().model("x", chain([&free, &dear])).prices(prices([price]));
        world.context().model("x").unwrap().complete("hello").await.unwrap_err();
        assert_eq!(world.spent().cost_micros, if is_paid { 3 * world.spent().tokens } else { 0 }, "{price:?}");
        assert!(world.spent().tokens > 0);
    }
}

#[tokio::test]
async fn what_a_model_took_that_called_no_tool_is_counted_whatever_becomes_of_it() {
    let took = |text: &'static str| {
        let usage = Usage { input_tokens: 70, output_tokens: 7, estimated: false };
        move |_: &Request| Ok(Response { usage, ..Response::text(text) })
    };
    let must = Request { tool_choice: ToolChoice::Required, ..Request::from("?").tools([weather()]) };
    let by_schema = |script: Script| ToolsBySchema::new(Arc::new(script.named("b/dear")));
    let second_fails = {
        let calls = std::sync::atomic::AtomicU32::new(0);
        let said = took("It is nice.");
        Script::by(move |request| match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => said(request),
            _ => Err(ModelError::away("gone")),
        })
    };
    for (script, tokens) in [(second_fails, 77), (Script::by(took("It is nice.")), 154)] {
        let alone = World::new().model("x", by_schema(script)).prices(prices([("b/dear", 2.0)]));
        alone.context().model("x").unwrap().complete(must.clone()).await.unwrap_err();
        assert_eq!((alone.spent().tokens, alone.spent().cost_micros), (tokens, 2 * tokens));
    }
    let standing_in = Script::by(|_| {
        let usage = Usage { input_tokens: 5, output_tokens: 1, estimated: false };
        Ok(Response { usage, ..Response::text("Sun.") })
    });
    let both = Chain::new(Arc::new(by_schema(Script::by(took("Nice.")))), vec![Arc::new(standing_in)]);
    let world = World::new().model("x", both).prices(prices([("b/dear", 2.0)]));
    let model = world.context().model("x").unwrap();
    assert_eq!(model.complete(must).await.unwrap().text, "Sun.");
    assert_eq!((world.spent().tokens, world.spent().cost_micros), (154 + 6, 2 * 154));
    assert_eq!((model.used().input_tokens, model.used().cost_micros), (145, 308));
}

#[tokio::test]
async fn a_model_that_knows_no_forms_gets_the_schema_in_words_and_is_asked_again_like_any_other() {
    let unable = Capabilities { tools: false, form: false };
    let script = Script::new().can(unable).reply("Gera!").reply("Here: {\"name\": \"Gera\"}");
    let world = World::new().model("x", ToolsBySchema::new(Arc::new(script.clone())));
    let request = Request::new([Message::system("You know towns."), Message::user("which town?")]);
    let town: Town = world.context().model("x").unwrap().extract(request).await.unwrap();
    assert_eq!(town, Town { name: "Gera".into() });
    for asked in script.asked() {
        let first = &asked.messages[0];
        assert!(asked.form.is_none() && first.by == Says::System, "{asked:?}");
        assert!(first.text.starts_with("You know towns.\n") && first.text.contains("\"required\""), "{}", first.text);
    }
    let script = Script::new().can(unable).reply("{\"tool\": \"weather\", \"arguments\": {}}");
    let may = Request::from("?").tools([weather()]);
    let model = ToolsBySchema::new(Arc::new(script.clone()));
    let response = model.stream(&may).await.unwrap().whole(|_| {}).await.unwrap();
    assert_eq!(response.calls[0].name, "weather");
    assert!(script.asked()[0].form.is_none() && script.asked()[0].tools.is_empty());
}

#[test]
fn what_was_called_before_is_a_part_of_what_is_said() {
    let call = |text: String| ToolCall { id: "1".into(), name: "write".into(), arguments: json!({ "text": text }) };
    let request = |text| Request::new([Message::calls("", vec![call(text)]), Message::result("1", "done")]);
    let more = request("x".repeat(4_000)).estimate() - request(String::new()).estimate();
    assert!((1_000..1_200).contains(&more), "{more}");
}

#[tokio::test]
async fn an_answer_that_has_not_the_form_is_asked_for_again_twice() {
    let script = Script::new().reply("Gera!").reply("{\"nam\": \"Gera\"}").reply("Here: {\"name\": \"Gera\"}");
    let town: Town = world(&script).context().model("x").unwrap().extract("which town?").await.unwrap();
    assert_eq!(town, Town { name: "Gera".into() });
    let asked = script.asked();
    let last = &asked[2].messages.last().unwrap().text;
    assert!(asked.len() == 3 && last.contains("missing field `name`") && last.contains("\"required\""), "{last}");
    let stubborn = Script::by(|_| Ok(Response::text("no")));
    let error = world(&stubborn).context().model("x").unwrap().extract::<Town>("which?").await.unwrap_err();
    assert_eq!((error.code(), error.class(), stubborn.asked().len()), (code::MODEL_FORM, Class::Permanent, 3));
}

#[tokio::test]
async fn an_error_keeps_its_class_its_wait_and_what_there_was_of_the_answer() {
    let limited = ModelError::status(429, "slow down").retry_after(Some(Duration::from_millis(1_500)));
    let script = Script::new().fail(limited).break_off("The mill was");
    let world = world(&script);
    let error = world.context().model("x").unwrap().complete("hello").await.unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::RateLimited, code::MODEL_LIMITED));
    assert_eq!(error.retry_after(), Some(Duration::from_millis(1_500)));
    let error = world.context().model("x").unwrap().complete("hello").await.unwrap_err();
    assert_eq!((error.class(), error.partial::<String>()), (Class::Transient, Some("The mill was".into())));
    assert!(world.spent().tokens > 0, "half an answer is paid for");
}

#[tokio::test]
async fn what_is_said_aloud_is_heard_as_it_comes() {
    let world = world(&Script::new().reply("aloud").reply("quietly"));
    world.context().model("x").unwrap().say("hello").await.unwrap();
    world.context().model("x").unwrap().complete("hello again").await.unwrap();
    assert_eq!(world.said(), "aloud");
}

#[tokio::test]
async fn the_next_model_stands_in_and_of_all_refusals_the_most_hopeful_counts() {
    let (first, second) = (Script::new().fail(ModelError::away("gone")), Script::new().reply("here"));
    let chain = Chain::new(Arc::new(first), vec![Arc::new(second)]);
    assert_eq!(chain.stream(&"?".into()).await.unwrap().whole(|_| {}).await.unwrap().text, "here");
    let wait = |ms| ModelError::status(429, "slow").retry_after(Some(Duration::from_millis(ms)));
    let all =
        [ModelError::status(401, "no"), wait(900), wait(30)].map(|e| Arc::new(Script::new().fail(e)) as Arc<dyn Model>);
    let [first, second, third] = all;
    let error = Chain::new(first, vec![second, third]).complete(&"?".into()).await.unwrap_err();
    assert_eq!((error.class, error.retry_after), (Class::RateLimited, Some(Duration::from_millis(30))), "{error}");
    assert!(error.message.contains("no; then slow"), "{error}");
}

fn weather() -> ToolSpec {
    let arguments = json!({ "type": "object", "properties": { "town": { "type": "string" } } });
    ToolSpec { name: "weather".into(), about: "The weather.".into(), arguments }
}

#[tokio::test]
async fn a_model_that_calls_no_tool_is_asked_for_the_call_in_a_form() {
    let words = "{\"tool\": \"weather\", \"arguments\": {\"town\": \"Gera\"}}";
    let ignoring = Script::new().reply("It is nice.").reply(words);
    let must = Request { tool_choice: ToolChoice::Required, ..Request::from("?").tools([weather()]) };
    let response = ToolsBySchema::new(Arc::new(ignoring.clone())).complete(&must).await.unwrap();
    assert_eq!((response.calls[0].name.as_str(), &response.calls[0].arguments["town"]), ("weather", &json!("Gera")));
    assert!(ignoring.asked()[1].form.is_some() && ignoring.asked()[1].tools.is_empty());
    let unable = Capabilities { tools: false, ..Capabilities::default() };
    let script = Script::new().can(unable).reply("{\"answer\": \"no need\"}");
    let may = Request::from("?").tools([weather()]);
    let response = ToolsBySchema::new(Arc::new(script)).complete(&may).await.unwrap();
    assert_eq!((response.text.as_str(), response.calls.len()), ("no need", 0));
    let script = Script::new().can(unable).reply("{\"tool\": \"rockets\", \"arguments\": {}}");
    let error = ToolsBySchema::new(Arc::new(script)).complete(&must).await.unwrap_err();
    assert_eq!(error.code, code::MODEL_FORM);
}

#[tokio::test]
async fn dropping_a_call_ends_it() {
    struct Silent(ModelName, tokio::sync::mpsc::Sender<()>);
    impl Model for Silent {
        fn name(&self) -> &ModelName {
            &self.0
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }
        fn complete<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Response, ModelError>> {
            Box::pin(std::future::pending())
        }
        fn stream<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Answering, ModelError>> {
            let held = self.1.clone();
            Box::pin(async move {
                let _held = held;
                std::future::pending().await
            })
        }
    }
    let (held, mut let_go) = tokio::sync::mpsc::channel(1);
    let world = World::new().model("x", Silent("a/b".parse().unwrap(), held));
    let model = world.context().model("x").unwrap();
    {
        let call = model.complete("hello");
        tokio::pin!(call);
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut call).await.is_err());
    }
    drop((world, model));
    assert!(let_go.recv().await.is_none(), "nothing goes on behind");
}

#[test]
fn a_secret_cannot_be_printed() {
    let secret = Secret::new(" sk-123\n");
    assert_eq!((format!("{secret:?}"), secret.expose()), ("[secret]".into(), "sk-123"));
    assert_eq!(secret.hide("the key sk-123 is wrong"), "the key [secret] is wrong");
    assert_eq!(Secret::new("").hide("nothing"), "nothing");
}

#[test]
fn an_error_of_the_model_is_a_failure_with_its_page() {
    for error in
        [ModelError::status(500, "x"), ModelError::away("x"), ModelError::form("x"), ModelError::broke_off("x", "")]
    {
        let failure = crate::Failure::from(error.clone()).into_remote();
        assert!(code::find(&failure.code).is_some() && failure.class == error.class && failure.partial.is_none());
    }
    let long = ModelError::status(429, "x").retry_after(Some(Duration::from_secs(u64::MAX)));
    assert_eq!(long.retry_after, Some(Duration::from_secs(3_600)));
}
