//! Goal: nothing that a file may hold breaks the engine, and what it quotes can always be found again. Method: texts of
//! letters that have a meaning somewhere (stops, marks, separators, letters of several bytes), read as every kind.

use proptest::prelude::*;

use super::quote::{QUOTE_CHARS, collapse};
use super::*;
use crate::source::{Document, Limits, Only, load};

fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "The mill ",
        "In 1843 ",
        "Dr. ",
        "U.S. ",
        "e.g. ",
        ". ",
        "?",
        "!\"",
        ".[12] ",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "# ",
        "> ",
        "| a | b |\n",
        "|---|\n",
        "```\n",
        "---\n",
        "===\n",
        "**",
        "_",
        "[x](y)",
        "[x]: y\n",
        "\u{2029}",
        "\u{a0}",
        "\u{e9}",
        "\u{301}",
        "日本。",
        "\u{1f600}",
        ",",
        ";",
        ": ",
        "'s ",
        "1,000.5",
        "<p>",
        "</b>",
        "&amp;",
        "\r\n",
        "\t",
        "word",
        "Ada Miller ",
        "not ",
        "x",
    ]);
    prop::collection::vec(pieces, 0..120).prop_map(|pieces| pieces.concat())
}

fn read(name: &str, text: &str) -> Vec<Document> {
    let folder = tempfile::tempdir().expect("a temp folder");
    std::fs::write(folder.path().join(name), text).expect("a file");
    let source = [folder.path().to_str().expect("a Unicode path")];
    load(&source, Only::All, &Limits::default()).map(|loaded| loaded.documents).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_quotation_is_short_and_found_again_at_its_line(text in nasty(), long in 0..3usize) {
        let text = text.repeat(1 + long * 10);
        for name in ["a.txt", "a.md", "a.csv"] {
            let options = Options { claims: 50, passages: 50, share: 0.0, overlap: 1.0 };
            let answer = Index::new(read(name, &text)).answer("Who built the mill in 1843, word x?", &options);
            prop_assert!((0.0..=1.0001).contains(&answer.coverage));
            for claim in answer.claims {
                let line: usize = claim.locator.trim_start_matches("line ").parse().expect("a line");
                let from: Vec<&str> = text.split('\n').skip(line - 1).collect();
                prop_assert!(collapse(&from.join("\n")).contains(&claim.quote), "{name} {claim:?}");
                prop_assert!(claim.quote.chars().count() <= QUOTE_CHARS);
            }
        }
    }

    #[test]
    fn what_is_verbatim_is_kept_whatever_it_is(text in nasty()) {
        for document in read("a.md", &text) {
            for passage in &document.passages {
                for piece in quote::pieces(passage) {
                    let quote = collapse(&passage.text[piece.quote]);
                    let says_nothing = !quote.contains(char::is_alphanumeric);
                    prop_assert!(says_nothing || fact::check(&quote, &[&passage.text]).is_kept(), "{quote}");
                }
            }
        }
    }

    #[test]
    fn questions_and_shown_quotations_may_be_anything(text in nasty()) {
        let document = read("a.txt", "The mill was built in 1843 by Ada Miller. It burnt in 1901.");
        let index = Index::new(document);
        for question in split(&text) {
            index.answer(&question, &Options::default());
        }
        clean(&text);
        fact::check(&text, &["The mill was built in 1843."]);
    }
}

#[cfg(feature = "web")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_any_markup_are_read(text in nasty()) {
        let page = format!("<!doctype html><h1>x</h1>{text}<table><td>{text}");
        for document in read("a.html", &page) {
            prop_assert_eq!(document.kind, crate::source::Kind::Html);
        }
    }
}

#[test]
fn what_repeats_the_question_is_no_answer_to_it() {
    let text = "# What drives the mill wheel?\n\nWater drives the wheel of the mill.\n\n\
                ```sh\nask \"What drives the mill wheel?\" --here\n```\n\nThe mill wheel is of oak.\n";
    let index = Index::new(read("a.md", text));
    let quotes = |question: &str| -> Vec<String> {
        index.answer(question, &Options::default()).claims.into_iter().map(|claim| claim.quote).collect()
    };
    let answered = quotes("What drives the  mill wheel?");
    assert_eq!(answered[0], "Water drives the wheel of the mill.");
    assert!(!answered.iter().any(|quote| quote.contains("What drives")), "{answered:?}");
    // A subject is no question.
    assert!(quotes("mill wheel").iter().any(|quote| quote == "The mill wheel is of oak."));
}
