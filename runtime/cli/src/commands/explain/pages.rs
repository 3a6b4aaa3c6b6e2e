//! The pages, and finding one.
//!
//! A page is found by its name, or by the words of a question: those of its title and those that people use for it weigh
//! more than those of its text, and a word that is on few pages more than one that is on many.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use callboard::broker::code;
use callboard::broker::problem::closest;
use serde::Serialize;

/// A page of `docs/topics/`, with words that people use for it and that it does not say itself.
struct Topic {
    name: &'static str,
    words: &'static str,
    text: &'static str,
}

macro_rules! topics {
    ($($name:literal: $words:literal;)*) => {
        const TOPICS: &[Topic] = &[$(Topic {
            name: $name,
            words: $words,
            text: include_str!(concat!("../../../../../docs/topics/", $name, ".md")),
        }),*];
    };
}

topics! {
    "agents": "write my own agent, add an agent, custom, code, Rust, function, handler, capability";
    "commands": "command line, exit codes, options, environment variables, script, json, ids, last";
    "dead-letters": "lost, failed task, undeliverable, poison, dlq";
    "events": "log, history, audit, follow, tail, watch, what happened, plan revised";
    "inbox": "person, people, human, ask a person, approve, approval, question, in doubt, effect, twice, side effect";
    "models": "api key, OpenAI, Anthropic, Claude, GPT, Ollama, LLM, language model, tokens, cost, extractive engine";
    "resume": "crash, kill, restart, continue, power failure, twice, exactly once, interrupted, ctrl-c, recover";
    "schedules": "cron, timer, later, delay, every day, nightly, periodic, recurring, at a time, missed";
    "sources": "documents, files, folder, PDF, website, web page, URL, HTML, Markdown, csv, ask a question, brief";
    "state": "share data between agents, memory, compare and set, CAS, version, lock, variable, key value";
    "store": "database, SQLite, file, data directory, disk, backup, where is it stored, two processes, in memory";
    "tools": "function calling, MCP, fetch, filesystem, prompt injection, granted, SSRF";
    "tree": "supervisor, supervision, OTP, restart strategy, one_for_all, intensity, hierarchy, actor";
    "workflow": "DAG, pipeline, graph, TOML, depends_on, template, inputs, parallel, steps";
}

/// What people call a few of the errors.
const USED_FOR: &[(&str, &str)] = &[
    ("CB0001", "busy, overload, too many requests, back-pressure"),
    ("CB0002", "timed out, timeout, slow, hangs, no answer"),
    ("CB0004", "connection refused, not running, offline"),
    ("CB0005", "panic, crash, panicked"),
    ("CB0024", "nobody, no worker, no agent serves it"),
    ("CB0031", "my agent keeps stopping, keeps crashing, dies again, restarts, loop"),
    ("CB0113", "depends_on cycle, circular, loop, deadlock"),
    ("CB0202", "corrupt, corrupted, broken"),
];

/// A page as it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Found {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
}

/// All topics, by name.
pub(super) fn topics() -> Vec<Found> {
    let title = |text: &'static str| text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
    TOPICS.iter().map(|topic| Found { name: topic.name, title: title(topic.text), text: topic.text }).collect()
}

/// All codes, by number.
pub(super) fn codes() -> Vec<Found> {
    code::all().iter().map(|known| Found { name: known.code, title: known.title, text: known.page }).collect()
}

/// The page of that name, or the pages that a few words lead to, best first.
pub(super) fn find(words: &str) -> Vec<Found> {
    let all = || topics().into_iter().chain(codes());
    let named = words.trim().to_lowercase().replace(' ', "-");
    let known = code::find(words).map(|known| known.code);
    let exact = |found: &Found| found.name == named || Some(found.name) == known;
    if let Some(found) = all().find(exact) {
        return vec![found];
    }
    let mut names: Vec<&str> = search(words);
    if let Some(name) = closest(&named, all().map(|found| found.name)) {
        let near = all().map(|found| found.name).filter(|known| *known == name);
        names.retain(|known| *known != name);
        names.splice(0..0, near);
    }
    names.truncate(SHOWN);
    names.iter().filter_map(|name| all().find(|found| found.name == *name)).collect()
}

/// How many pages a search gives at most.
const SHOWN: usize = 4;
/// What a word of the title counts, of those that people use, and of the text.
const TITLE: f32 = 4.0;
const USED: f32 = 3.0;
const TEXT: f32 = 1.0;
/// What a topic counts more than a code: it explains more.
const TOPIC: f32 = 1.25;
/// Words that are in every question.
const IDLE: &str = "a an and any are as at be by can do does for from get has have how i if in is it its me my no not of on \
                    or our own so that the their there this to use was we what when where which who why will with you your";

/// The pages that share words with these, best first.
fn search(words: &str) -> Vec<&'static str> {
    let pages: Vec<(&str, f32, HashMap<String, f32>)> = weighted();
    let wanted: HashSet<String> = stems(words).collect();
    let rare = |stem: &String| {
        let with = pages.iter().filter(|(_, _, weights)| weights.contains_key(stem)).count();
        if with == 0 { 0.0 } else { (pages.len() as f32 / with as f32).ln().max(0.1) }
    };
    let wanted: Vec<(&String, f32)> = wanted.iter().map(|stem| (stem, rare(stem))).collect();
    let score = |weights: &HashMap<String, f32>| -> f32 {
        wanted.iter().map(|(stem, rare)| rare * weights.get(*stem).copied().unwrap_or(0.0)).sum()
    };
    let mut found: Vec<(&str, f32)> = pages
        .iter()
        .map(|(name, kind, weights)| (*name, kind * score(weights)))
        .filter(|(_, score)| *score > 0.0)
        .collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found.into_iter().map(|(name, _)| name).collect()
}

/// Every page with the weight of each of its words.
fn weighted() -> Vec<(&'static str, f32, HashMap<String, f32>)> {
    let topics = topics().into_iter().zip(TOPICS).map(|(page, topic)| (page, TOPIC, topic.words));
    let used = |name| USED_FOR.iter().find(|(code, _)| *code == name).map_or("", |(_, words)| words);
    let codes = codes().into_iter().map(|page| (page, 1.0, used(page.name)));
    let weigh = |(page, kind, used): (Found, f32, &str)| {
        let mut weights: HashMap<String, f32> = HashMap::new();
        for (text, weight) in [(page.text, TEXT), (used, USED), (page.title, TITLE), (page.name, TITLE)] {
            weights.extend(stems(text).map(|stem| (stem, weight)));
        }
        (page.name, kind, weights)
    };
    topics.chain(codes).map(weigh).collect()
}

/// The words of a text without their endings.
fn stems(text: &str) -> impl Iterator<Item = String> {
    static IDLE_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| IDLE.split_whitespace().collect());
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.len() > 1);
    words.map(str::to_lowercase).filter(|word| !IDLE_WORDS.contains(word.as_str())).map(|word| {
        let cut = ["ings", "ing", "ed", "es", "s", "e"]
            .iter()
            .find_map(|end| word.strip_suffix(end).filter(|stem| stem.len() > 2));
        let stem = cut.unwrap_or(&word);
        let mut letters: Vec<char> = stem.chars().collect();
        // `stopping` and `stop` are one word.
        if letters.len() > 3 && letters[letters.len() - 1] == letters[letters.len() - 2] {
            letters.pop();
        }
        letters.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_page_is_in_the_binary_and_ends_in_a_command() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/topics");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().into_string().unwrap().strip_suffix(".md").map(str::to_owned)
            })
            .filter(|name| name != "README")
            .collect();
        files.sort();
        assert_eq!(files, topics().iter().map(|topic| topic.name).collect::<Vec<_>>());
        for topic in topics() {
            let command = topic.text.strip_suffix("\n```\n").and_then(|text| text.rsplit_once("\n\n```sh\n"));
            let command = command.unwrap_or_else(|| panic!("{} ends in no command", topic.name)).1;
            assert!(command.starts_with("callboard ") && !command.contains('\n'), "{}: {command}", topic.name);
            assert!(topic.text.lines().all(|line| line.chars().count() <= 80), "{} is wider than 80", topic.name);
        }
    }
}
