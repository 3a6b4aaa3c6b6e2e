//! Capabilities as whoever prompts them in words sees them: which field of a request the words go into. Pure.
//!
//! A request says so itself, in its schema, so that the field exists and every reader of the schema knows it too.
//! [`FIELD`] marks the field for the words, [`ATTACHMENTS`] the list of sources that files are added to, and [`ANSWER`]
//! the field of a response that is read out. A request or response that is a plain `String` needs no mark.
//!
//! ```
//! use callboard_agents::{Capability, payload};
//!
//! #[payload(crate = callboard_agents)]
//! struct Doc {
//!     #[schemars(extend("x-prompt" = true))]
//!     text: String,
//!     #[serde(default)]
//!     sentences: u32,
//! }
//!
//! const SUMMARIZE: Capability<Doc, String> = Capability::new("text.summarize").about("says it in few sentences");
//! // `A long text` is the request {"text": "A long text"}; {"text": "A long text", "sentences": 2} is itself.
//! ```

use callboard_broker::error::Error;
use callboard_broker::payload::Payload;
use serde_json::{Map, Value, json};

use crate::service::Door;
use crate::source::is_parcel;

/// Marks the field of a request that a prompt in words goes into; it holds a text.
pub const FIELD: &str = "x-prompt";
/// Marks the field of a request that the names of attached files go into; it holds a list of texts, each of which may be
/// a [parcel](crate::source::is_parcel).
pub const ATTACHMENTS: &str = "x-attachments";
/// Marks the field of a response that is the answer in words; it holds a text.
pub const ANSWER: &str = "x-answer";

/// A prompt as a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The request.
    pub body: Value,
    /// Whether it was asked in words; otherwise the prompt was the request itself.
    pub in_words: bool,
}

/// Whether a prompt of this capability may have files with it.
pub fn takes_attachments(door: &Door) -> bool {
    marked(&door.request, ATTACHMENTS).is_some()
}

/// Makes a request of a prompt: what is a valid request itself is that request; other text goes into the field that is
/// marked for it. `files` are the names of what was attached, `fits` says whether a request can be read.
///
/// # Errors
/// `Decode` for a text that is no request where no field takes words; for files where no field takes them; and what `fits`
/// has to say.
pub fn request(
    door: &Door,
    text: &str,
    files: Vec<String>,
    fits: impl Fn(&Payload) -> Result<(), Error>,
) -> Result<Request, Error> {
    let place = match (files.is_empty(), marked(&door.request, ATTACHMENTS)) {
        (false, None) => return Err(Error::decode(format!("{} takes no attachments", door.capability))),
        (_, place) => place,
    };
    let object = serde_json::from_str::<Map<String, Value>>(text).ok();
    let mut why = None;
    if let Some(object) = object.map(|object| with_files(object, place, &files)) {
        match fits(&Payload::from(object.clone())) {
            Ok(()) => return Ok(Request { body: object, in_words: false }),
            Err(error) => why = Some(error),
        }
    }
    let body = match marked(&door.request, FIELD) {
        Some(field) => with_files(Map::from_iter([(field.to_owned(), text.into())]), place, &files),
        None if door.request["type"] == "string" => text.into(),
        None => {
            let why = why.map_or_else(|| "it is no JSON object".to_owned(), |why| why.to_string());
            return Err(Error::decode(format!("{} takes a request in JSON and no words: {why}", door.capability)));
        }
    };
    fits(&Payload::from(body.clone()))?;
    Ok(Request { body, in_words: true })
}

/// What a request asks in words; none when it has no field for them.
pub fn words(door: &Door, request: &Value) -> Option<String> {
    match (request, marked(&door.request, FIELD)) {
        (Value::String(text), _) => Some(text.clone()),
        (_, Some(field)) => request[field].as_str().map(str::to_owned),
        (_, None) => None,
    }
}

/// What a response says in words; none when it has no field for it, so that all of it is the answer.
pub fn answer(door: &Door, response: &Value) -> Option<String> {
    match (response, marked(&door.response, ANSWER)) {
        (Value::String(text), _) => Some(text.clone()),
        (_, Some(field)) => response[field].as_str().map(str::to_owned),
        (_, None) => None,
    }
}

/// The request with these sources, where it has a place for sources and names none.
pub fn with_sources(door: &Door, body: Value, sources: &[String]) -> Value {
    match (marked(&door.request, ATTACHMENTS), body) {
        (Some(place), Value::Object(object)) => {
            let named = object.get(place).and_then(Value::as_array).is_some_and(|named| !named.is_empty());
            with_files(object, (!named).then_some(place), sources)
        }
        (_, body) => body,
    }
}

/// Whether a request names no source although its capability reads some: then what that reads is on its own node, and
/// nothing that a stranger may have read.
pub fn lacks_sources(door: &Door, body: &Value) -> bool {
    let Some(place) = marked(&door.request, ATTACHMENTS) else { return false };
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    !some(&body[place]) && some(&door.request["properties"][place]["default"])
}

/// A parcel that a request names, other than these.
pub fn parcel<'b>(door: &Door, body: &'b Value, but: &[String]) -> Option<&'b str> {
    let named = body[marked(&door.request, ATTACHMENTS)?].as_array()?.iter().filter_map(Value::as_str);
    named.filter(|name| is_parcel(name)).find(|name| but.iter().all(|own| own != name))
}

/// The files after those that the request names already.
fn with_files(mut object: Map<String, Value>, place: Option<&str>, files: &[String]) -> Value {
    if let (Some(place), false) = (place, files.is_empty()) {
        let named = object.entry(place).or_insert_with(|| json!([]));
        if let Some(named) = named.as_array_mut() {
            named.extend(files.iter().map(|file| json!(file)));
        }
    }
    object.into()
}

/// The field that bears a mark.
fn marked<'s>(schema: &'s Value, mark: &str) -> Option<&'s str> {
    let fields = schema["properties"].as_object()?;
    fields.iter().find(|(_, field)| field[mark] == true).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capability, payload};

    #[payload]
    #[serde(deny_unknown_fields)]
    struct Ask {
        #[schemars(extend("x-prompt" = true))]
        question: String,
        #[serde(default)]
        #[schemars(extend("x-attachments" = true))]
        sources: Vec<String>,
    }

    #[payload]
    struct Said {
        #[schemars(extend("x-answer" = true))]
        text: String,
        sure: f32,
    }

    #[payload]
    struct Bare {
        number: u32,
    }

    fn ask(text: &str, files: &[&str]) -> Result<Request, Error> {
        let door = Capability::<Ask, Said>::new("x.ask").door();
        request(&door, text, files.iter().map(ToString::to_string).collect(), |body| body.fits::<Ask>())
    }

    #[test]
    fn words_go_into_their_field_and_a_request_is_itself() {
        let words = ask("Who?", &[]).unwrap();
        assert_eq!((words.body, words.in_words), (json!({ "question": "Who?" }), true));
        let itself = ask(r#"{"question": "Who?", "sources": ["http://x"]}"#, &[]).unwrap();
        assert_eq!((&itself.body["sources"], itself.in_words), (&json!(["http://x"]), false));
        // An object that is no request is words like any other.
        for text in [r#"{"q": "Who?"}"#, r#"["a"]"#, "7"] {
            assert_eq!(ask(text, &[]).unwrap().body, json!({ "question": text }));
        }
    }

    #[test]
    fn files_are_added_to_what_is_named() {
        assert_eq!(ask("Who?", &["blob:1"]).unwrap().body, json!({ "question": "Who?", "sources": ["blob:1"] }));
        let both = ask(r#"{"question": "Who?", "sources": ["http://x"]}"#, &["blob:1"]).unwrap();
        assert_eq!(both.body["sources"], json!(["http://x", "blob:1"]));
    }

    #[test]
    fn sources_stand_in_where_a_request_names_none() {
        let (door, bare) =
            (Capability::<Ask, Said>::new("x.ask").door(), Capability::<Bare, u32>::new("x.bare").door());
        let usual = ["blob:1".to_owned()];
        let asked = |sources: Value| json!({ "question": "Who?", "sources": sources });
        assert_eq!(with_sources(&door, json!({ "question": "Who?" }), &usual), asked(json!(["blob:1"])));
        assert_eq!(with_sources(&door, asked(json!([])), &usual), asked(json!(["blob:1"])));
        assert_eq!(with_sources(&door, asked(json!(["http://x"])), &usual), asked(json!(["http://x"])));
        assert_eq!(with_sources(&bare, json!({ "number": 7 }), &usual), json!({ "number": 7 }));
    }

    #[test]
    fn a_request_lacks_sources_where_it_would_read_those_of_the_node() {
        #[payload]
        struct Local {
            #[serde(default = "here")]
            #[schemars(extend("x-attachments" = true))]
            sources: Vec<String>,
        }
        fn here() -> Vec<String> {
            vec![".".into()]
        }
        let door = Capability::<Local, Said>::new("x.local").door();
        assert!(lacks_sources(&door, &json!({})) && lacks_sources(&door, &json!({ "sources": [] })));
        assert!(!lacks_sources(&door, &json!({ "sources": ["http://x"] })));
        let needs_none = Capability::<Ask, Said>::new("x.ask").door();
        assert!(!lacks_sources(&needs_none, &json!({ "question": "Who?" })));
    }

    #[test]
    fn a_parcel_that_a_request_names_itself_is_told_from_those_that_were_attached() {
        let door = Capability::<Ask, Said>::new("x.ask").door();
        let (attached, body) = (["blob:1".to_owned()], |names: Value| json!({ "question": "Who?", "sources": names }));
        assert_eq!(parcel(&door, &body(json!(["http://x", "blob:1"])), &attached), None);
        assert_eq!(parcel(&door, &body(json!(["blob:1", "blob:2"])), &attached), Some("blob:2"));
        assert_eq!(parcel(&door, &json!({ "question": "blob:2" }), &attached), None);
    }

    #[test]
    fn what_takes_no_words_or_files_says_so() {
        let door = Capability::<Bare, u32>::new("x.bare").door();
        let of = |text: &str, files: Vec<String>| request(&door, text, files, |body| body.fits::<Bare>());
        assert!(of(r#"{"number": 7}"#, vec![]).is_ok());
        let words = of("seven", vec![]).unwrap_err().to_string();
        assert!(words.contains("x.bare takes a request in JSON"), "{words}");
        assert!(of(r#"{"number": "7"}"#, vec![]).unwrap_err().to_string().contains("u32"));
        assert!(of(r#"{"number": 7}"#, vec!["blob:1".into()]).unwrap_err().to_string().contains("no attachments"));
        assert!(!takes_attachments(&door));
    }

    #[test]
    fn an_answer_is_its_field_or_its_text() {
        let door = Capability::<Ask, Said>::new("x.ask").door();
        assert!(takes_attachments(&door));
        assert_eq!(answer(&door, &json!({ "text": "He.", "sure": 1 })).as_deref(), Some("He."));
        let plain = Capability::<String, String>::new("x.plain").door();
        assert_eq!(answer(&plain, &json!("He.")).as_deref(), Some("He."));
        assert_eq!(request(&plain, "Who?", vec![], |body| body.fits::<String>()).unwrap().body, json!("Who?"));
        assert_eq!(words(&door, &json!({ "question": "Who?" })).as_deref(), Some("Who?"));
        assert_eq!(words(&plain, &json!("Who?")).as_deref(), Some("Who?"));
        let bare = Capability::<Bare, Bare>::new("x.bare").door();
        assert_eq!(answer(&bare, &json!({ "number": 1 })), None);
    }
}
