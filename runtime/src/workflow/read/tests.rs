//! Every broken file of the corpus gets exactly the problems that its first line expects, at those lines, within the
//! promised format; files without an error get none.

use std::path::Path;

use callboard_broker::code;
use serde_json::json;

use super::*;
use crate::workflow::End;

const SERVED: &[&str] = &["content.writer", "qa.fact", "research.database", "research.web"];

const GOOD: &str = r#"
name = "intro"
concurrency = 4
output = { text = "{{write_intro}}", topic = "{{inputs.topic}}" }

[inputs]
topic = "supervisors"

[[task]]
id = "research_topic"
capability = "research.database"
input = { question = "What about {{inputs.topic}}?", limit = 3, since = 2026-01-01, deep = [1.5, true] }

[[task]]
id = "check-1"
description = "check {{research_topic.passages.0}}"
on_failure = "skip"

[[task]]
id = "write_intro"
capability = "content.writer"
depends_on = ["check-1"]
input = { notes = "{{research_topic}}" }
timeout = "30s"
deadline = "1h"
retry = { attempts = 3, base = "1s", max = "60s" }
"#;

fn lines(text: &str) -> Vec<(String, usize)> {
    match WorkflowDoc::from_toml("flow.toml", text, Some(SERVED)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|p| (p.code.to_owned(), p.at.as_ref().map_or(0, |at| at.line))).collect(),
    }
}

#[test]
fn the_corpus_of_broken_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/workflow");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 40, "only {} files", files.len());
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let expected =
            text.lines().next().and_then(|line| line.strip_prefix("# expect ")).expect("says what it expects");
        let found = lines(&text);
        let fits = |(want, (code, line)): (&str, &(String, usize))| match want.split_once(':') {
            Some((known, "*")) => known == code,
            _ => want == format!("{code}:{line}"),
        };
        if expected.split(' ').count() != found.len() || !expected.split(' ').zip(&found).all(fits) {
            wrong.push(format!("{name}: expected {expected}, found {found:?}"));
        }
        let problems = WorkflowDoc::from_toml(name, &text, Some(SERVED)).unwrap_err();
        for problem in &problems {
            let text = problem.to_string();
            assert!(text.lines().count() <= 8 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(!["Some(", "DeValue", "Spanned", "panicked"].iter().any(|debug| text.contains(debug)), "{text}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_good_file_has_no_problem_and_travels_as_json() {
    let doc = WorkflowDoc::from_toml("intro.toml", GOOD, Some(SERVED)).unwrap();
    let json = serde_json::to_value(&doc).unwrap();
    assert_eq!(serde_json::from_value::<WorkflowDoc>(json.clone()).unwrap(), doc);
    assert_eq!(json["task"][2]["retry"], json!({"attempts": 3, "base": "1s", "max": "1m"}));
    assert_eq!(json["task"][0]["input"]["since"], json!("2026-01-01"));
    let schema = schemars::schema_for!(WorkflowDoc);
    assert!(schema.to_value()["properties"]["task"].is_object());

    let graph = doc.check(None).unwrap();
    assert_eq!(graph.after("write_intro").collect::<Vec<_>>(), ["research_topic", "check-1"]);
    assert_eq!(graph.after("check-1").collect::<Vec<_>>(), ["research_topic"]);
    assert_eq!(graph.turn(&Default::default()).unwrap().start, ["research_topic"]);
    assert!(!matches!(graph.turn(&Default::default()).unwrap().end, Some(End::Completed { .. })));
}

#[test]
fn the_file_on_the_topic_page_is_right() {
    let page = include_str!("../../../../docs/topics/workflow.md");
    let (_, file) = page.split_once("```toml\n").unwrap();
    let (file, _) = file.split_once("```").unwrap();
    assert_eq!(lines(file), []);
}

#[test]
fn a_document_is_checked_like_a_file_only_without_places() {
    let json = json!({"name": "w", "concurrency": 0, "task": [{"id": "a", "capability": "x", "depends_on": ["b"]}]});
    let problems = serde_json::from_value::<WorkflowDoc>(json).unwrap().check(None).unwrap_err();
    let codes: Vec<_> = problems.iter().map(|p| (p.code, p.at.is_none())).collect();
    assert_eq!(codes, [(code::RANGE, true), (code::UNKNOWN_DEPENDENCY, true)]);
    let unknown = json!({"name": "w", "task": [{"id": "a", "capability": "x", "depend_on": ["b"]}]});
    assert!(serde_json::from_value::<WorkflowDoc>(unknown).unwrap_err().to_string().contains("depend_on"));
}

#[test]
fn the_text_of_the_commonest_mistakes() {
    let told = |text: &str| {
        let problems = WorkflowDoc::from_toml("flow.toml", text, Some(SERVED)).unwrap_err();
        problems.to_string()
    };
    assert_eq!(
        told("name = \"w\"\n[[task]]\nid = \"a\"\ncapability = \"reserch.web\"\n"),
        r#"error[CB0114]: task "a": nothing serves "reserch.web"
  --> flow.toml:4:14
  4 | capability = "reserch.web"
    |              ^^^^^^^^^^^^^ research.web, research.database and 2 more
  fix: capability = "research.web"
  more: callboard explain CB0114"#
    );
    assert_eq!(
        told("name = \"w\"\n[[task]]\nid = \"a\"\ncapability = \"qa.fact\"\ninput = { x = \"see {{ab.c}}\" }\n"),
        r#"error[CB0116]: task "a" refers to {{ab.c}}, and there is no task "ab"
  --> flow.toml:5:20
  5 | input = { x = "see {{ab.c}}" }
    |                    ^^^^^^^^ a
  fix: {{a.c}}
  more: callboard explain CB0116"#
    );
    assert_eq!(
        told("name = \"w\"\n[[task]]\nid = \"a\"\ncapability = \"qa.fact\"\ntimeout = 30\n"),
        r#"error[CB0104]: `timeout` takes a duration such as "30s", not a whole number
  --> flow.toml:5:11
  5 | timeout = 30
    |           ^^
  fix: timeout = "30s"
  more: callboard explain CB0104"#
    );
}
