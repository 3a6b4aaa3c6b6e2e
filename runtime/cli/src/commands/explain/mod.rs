//! `callboard explain`: the pages of this documentation that answer "what is this, and what do I do now".
//!
//! The same Markdown files are the documentation and are in the binary. A few words find a page with the engine that
//! answers questions, so that whoever does not know our words still gets there in one try.

mod pages;

use callboard::broker::code;
use callboard::broker::problem::Problem;
use clap::Args;
use serde::Serialize;

use crate::output::{Done, Page, Show, answer};
use pages::Found;

/// Explain an error code or a topic, or find the page for a few words.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// A code (CB0004), a topic (resume), or a few words; nothing lists the pages
    #[arg(value_name = "CODE|TOPIC|WORDS")]
    words: Vec<String>,
}

/// Prints a page, or which there are.
pub(crate) fn explain(of: &Explain) -> Done {
    let words = of.words.join(" ");
    if words.trim().is_empty() {
        return answer(Contents { topics: pages::topics(), codes: pages::codes() });
    }
    let mut found = pages::find(&words).into_iter();
    match found.next() {
        Some(page) => answer(Explained { page, also: found.map(|other| other.name).collect() }),
        None => {
            let names = pages::topics().into_iter().map(|topic| topic.name);
            let problem = Problem::new(code::NO_PAGE, format!("there is no page for \"{words}\""));
            Err(problem.allowed_near(&words, names).fix("callboard explain").into())
        }
    }
}

#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    page: Found,
    also: Vec<&'static str>,
}

impl Show for Explained {
    fn text(&self, page: Page) -> String {
        let mut text = format!("{}\n", self.page.text.trim_end());
        if !self.also.is_empty() {
            text += &format!("\n{}\n", page.wrap(&format!("see also  {}", self.also.join(", ")), 10));
        }
        text
    }
}

#[derive(Serialize)]
struct Contents {
    topics: Vec<Found>,
    codes: Vec<Found>,
}

impl Show for Contents {
    fn text(&self, page: Page) -> String {
        let list = |pages: &[Found]| -> String {
            let wide = pages.iter().map(|found| found.name.len()).max().unwrap_or(0);
            let line =
                |found: &Found| page.fit(&format!("  {:wide$}  {}", found.name, found.title), page.columns) + "\n";
            pages.iter().map(line).collect()
        };
        format!("Topics\n{}\nCodes\n{}", list(&self.topics), list(&self.codes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What newcomers ask, and the page that answers it. Two may miss: words differ.
    const QUESTIONS: [(&str, &str); 24] = [
        ("my agent keeps stopping", "CB0031"),
        ("my agent keeps crashing", "CB0031"),
        ("resume after kill", "resume"),
        ("what happens when the process is killed", "resume"),
        ("how do I write a workflow file", "workflow"),
        ("depends_on cycle", "CB0113"),
        ("where is my data stored", "store"),
        ("change the database file", "store"),
        ("do I need an api key", "models"),
        ("use openai", "models"),
        ("queue is full", "CB0001"),
        ("read pdf files", "sources"),
        ("ask questions about a website", "sources"),
        ("what is a supervisor", "tree"),
        ("rest_for_one", "tree"),
        ("what is a dead letter", "dead-letters"),
        ("compare and set", "state"),
        ("share data between agents", "state"),
        ("follow what happens", "events"),
        ("disk full", "CB0203"),
        ("store is corrupt", "CB0202"),
        ("task timed out", "CB0002"),
        ("nobody serves this capability", "CB0024"),
        ("write my own agent", "agents"),
    ];

    #[test]
    fn a_stranger_finds_the_page_in_one_try() {
        let found = |words| pages::find(words).first().map(|found| found.name);
        let missed: Vec<_> = QUESTIONS.iter().filter(|(words, page)| found(words) != Some(page)).collect();
        let told: Vec<_> =
            missed.iter().map(|(words, page)| format!("{words} -> {:?}, not {page}", found(words))).collect();
        assert!(missed.len() <= QUESTIONS.len() / 10, "{told:#?}");
    }

    #[test]
    fn a_name_is_found_as_it_is_and_nonsense_is_not() {
        assert_eq!(pages::find("cb0004")[0].name, "CB0004");
        assert_eq!(pages::find("Resume")[0].name, "resume");
        assert_eq!(pages::find("dead letters")[0].name, "dead-letters");
        assert_eq!(pages::find("resum")[0].name, "resume");
        assert!(pages::find("xyzzy plugh").is_empty());
    }
}
