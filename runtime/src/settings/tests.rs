//! What the workflow corpus does not touch: choices, tables in tables, and the words of the complaints.

use super::*;

fn complaints(text: &str, read: impl FnOnce(Table<'_>)) -> Vec<(String, String)> {
    let source = Source::parse("f.toml", text).unwrap();
    read(source.root());
    let problems = source.finish(()).err().unwrap_or_default();
    problems.into_iter().map(|p| (p.what, p.fix.unwrap_or_default())).collect()
}

#[test]
fn a_wrong_value_is_told_with_what_was_most_likely_meant() {
    let text =
        "a = 1\nb = \"2\"\nc = \"x\"\nd = \"one-for-one\"\ne = 2026-01-01\nf = { g = 1 }\nh = 99999999999999999999\n";
    let found = complaints(text, |mut table| {
        assert_eq!(table.text("a").as_deref(), Some(""));
        assert_eq!(table.number("b", 1..=9), None);
        assert!(table.texts("c").is_empty());
        assert_eq!(table.choice("d", &[("rest_for_one", 1), ("one_for_one", 2)]), None);
        assert_eq!(table.text("e").as_deref(), Some(""));
        let mut inner = table.table("f").unwrap();
        assert_eq!(inner.number("k", 0..=1), None);
        inner.close();
        assert_eq!(table.number("h", 0..=9), None);
        table.close();
    });
    let expected = [
        ("`a` takes a text, not a whole number", "a = \"1\""),
        ("`b` takes a whole number from 1 to 9, not a text", "b = 2"),
        ("`c` takes a list of texts, not a text", "c = [\"x\"]"),
        ("`d` cannot be \"one-for-one\"", "d = \"one_for_one\""),
        ("`e` takes a text, not a date", "e = \"2026-01-01\""),
        ("`g` is not a key here", "k = 1"),
        ("`h` is out of range: it takes a whole number from 0 to 9", ""),
    ];
    assert_eq!(found, expected.map(|(what, fix)| (what.to_owned(), fix.to_owned())));
}

#[test]
fn places_follow_tables_and_lists_as_far_as_they_go() {
    let text = "[[task]]\nid = \"a\"\n[[task]]\nid = \"b\"\ninput = { notes = [\"x\", \"see {{c}}\"] }\n";
    let source = Source::parse("f.toml", text).unwrap();
    let at = |path: &[&str]| {
        let place = source.place(path);
        (place.line, place.column)
    };
    assert_eq!(at(&["task", "1", "id"]), (4, 6));
    assert_eq!(at(&["task", "1", "input", "notes", "1"]), (5, 25));
    assert_eq!(at(&["task", "1", "nothing"]), (3, 1));
    assert_eq!(at(&["nothing"]), (1, 1));
    let piece = source.place_within(&["task", "1", "input", "notes", "1"], "{{c}}");
    assert_eq!((piece.column, piece.width), (30, 5));
}
