//! The format is a promise (8 lines of 80 columns, no debug text), so it is held against hostile content here.

use proptest::prelude::*;

use super::*;
use crate::code;

#[test]
fn a_bare_problem_is_two_lines() {
    let problem = Problem::new(code::UNREACHABLE, "no broker at 127.0.0.1:4222: connection refused");
    let text = "error[CB0004]: no broker at 127.0.0.1:4222: connection refused\n  more: callboard explain CB0004";
    assert_eq!(problem.to_string(), text);
    assert_eq!(format!("{problem:?}"), text);
}

#[test]
fn names_that_do_not_fit_beside_the_caret_get_a_line() {
    let source = format!("depends_on = [{}, \"reserch\"]", "\"a-dependency\", ".repeat(3).trim_end_matches(", "));
    let start = source.find("\"reserch").unwrap();
    let names: Vec<String> = (0..40).map(|n| format!("research_{n}")).collect();
    let problem = Problem::new(code::UNKNOWN_DEPENDENCY, "task \"write\" depends on \"reserch\", which is no task")
        .at(Place::of("flow.toml", &source, start..start + 9))
        .allowed_near("reserch", &names)
        .fix("\"research_0\"");
    assert_eq!(
        problem.to_string(),
        r#"error[CB0112]: task "write" depends on "reserch", which is no task
  --> flow.toml:1:63
  1 | depends_on = ["a-dependency", "a-dependency", "a-dependency", "reserch"]
    |                                                               ^^^^^^^^^
  known: research_0, research_1, research_2, research_3, research_4 and 35 more
  fix: "research_0"
  more: callboard explain CB0112"#
    );
}

#[test]
fn places_count_characters_and_lines_from_one() {
    let source = "a = 1\r\nnäme = \"ö\"\r\nlast";
    let at = source.find('"').unwrap();
    let place = Place::of("f", source, at..at + 4);
    assert_eq!((place.line, place.column, place.width, place.text.as_str()), (2, 8, 3, "näme = \"ö\""));
    let end = Place::of("f", source, source.len()..source.len());
    assert_eq!((end.line, end.column, end.width, end.text.as_str()), (3, 5, 1, "last"));
    let beyond = Place::of("f", source, 1_000..2_000);
    assert_eq!((beyond.line, beyond.column), (3, 5));
}

#[test]
fn problems_come_in_the_order_of_their_places_and_the_text_is_bounded() {
    let source = "x\n".repeat(30);
    let mut problems = Problems::new();
    for line in (0..30).rev() {
        problems.push(Problem::new(code::UNKNOWN_KEY, "x").at(Place::of("f", &source, line * 2..line * 2 + 1)));
    }
    let problems = problems.or(()).unwrap_err();
    let lines: Vec<usize> = problems.iter().map(|p| p.at.as_ref().unwrap().line).collect();
    assert_eq!(lines, (1..=30).collect::<Vec<_>>());
    assert!(problems.to_string().ends_with("\n\nand 20 more"));
    assert_eq!(serde_json::to_value(&problems).unwrap().as_array().unwrap().len(), 30);
    assert!(Problems::new().or(7).is_ok_and(|seven| seven == 7));
}

#[test]
fn json_has_the_facts_and_no_empty_fields() {
    let problem = Problem::new(code::UNKNOWN_KEY, "unknown key `nam`").at(Place::of("f.toml", "nam = 1", 0..3));
    let json = serde_json::to_value(problem.allowed(["name"])).unwrap();
    let expected = serde_json::json!({"code": "CB0103", "what": "unknown key `nam`", "allowed": ["name"],
        "at": {"file": "f.toml", "line": 1, "column": 1, "text": "nam = 1", "width": 3}});
    assert_eq!(json, expected);
}

#[test]
fn the_nearest_name_is_first_and_a_far_one_is_not_offered() {
    let names = ["content.writer", "research.web", "research.database"];
    assert_eq!(nearest("reserch.web", names)[0], "research.web");
    assert_eq!(closest("Research.Web", names).as_deref(), Some("research.web"));
    assert_eq!(closest("research.wbe", names).as_deref(), Some("research.web"));
    assert_eq!(closest("billing", names), None);
    assert_eq!(closest("x", Vec::<String>::new()), None);
}

proptest! {
    /// Whatever is put in: at most 8 lines of 80 columns, the code first, nothing that steers a terminal.
    #[test]
    fn fits_a_terminal(what in any::<String>(), note in proptest::option::of(any::<String>()), file in "\\PC{0,120}",
                       source in "(\\PC{0,200}\n){0,4}", from in 0usize..900, long in 0usize..200,
                       allowed in proptest::collection::vec("\\PC{0,60}", 0..20), fix in proptest::option::of(".{0,300}")) {
        let mut problem = Problem::new(code::NOT_ALLOWED, what).at(Place::of(&file, &source, from..from + long));
        problem.note = note;
        problem.fix = fix;
        let text = problem.allowed(allowed).to_string();
        prop_assert!(text.lines().count() <= 8, "{text}");
        prop_assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        prop_assert!(text.starts_with("error[CB0102]:"));
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
