//! Full-text search over passages: BM25 over stemmed words, in memory.
//!
//! Own code rather than SQLite's FTS5, because ranking a sentence needs the weights that ranked its paragraph.

use std::collections::HashMap;

use super::token::{Token, Word, content, tokens};
use crate::source::{Document, Passage};

/// Saturation of a term that is repeated, and the weight of a passage's length.
const K1: f32 = 0.9;
const B: f32 = 0.4;

/// Documents with their index. Takes about twice the memory of their text; [`Limits`](crate::source::Limits) bound both.
#[derive(Debug, Default)]
pub struct Index {
    documents: Vec<Document>,
    /// Document and passage of each entry.
    entries: Vec<(u32, u32)>,
    /// How long each passage is, in words of content.
    lengths: Vec<u16>,
    average: f32,
    /// The number of each term, by which its postings are found.
    terms: HashMap<Box<str>, u32>,
    postings: Vec<Vec<Posting>>,
}

/// An index that is being made.
#[derive(Default)]
struct Build {
    entries: Vec<(u32, u32)>,
    lengths: Vec<u16>,
    terms: HashMap<Box<str>, u32>,
    postings: Vec<Vec<Posting>>,
    /// The number of the term of each word that was met, so that each is stemmed once.
    words: HashMap<Box<str>, u32>,
}

impl Build {
    fn add(&mut self, document: u32, number: u32, passage: &Passage) {
        let entry = self.entries.len() as u32;
        let mut length = 0u16;
        for word in content(&passage.text).chain(content(&passage.context)) {
            length = length.saturating_add(1);
            let term = self.term(word);
            let postings = &mut self.postings[term as usize];
            match postings.last_mut() {
                Some(last) if last.entry == entry => last.count = last.count.saturating_add(1),
                _ => postings.push(Posting { entry, count: 1 }),
            }
        }
        self.entries.push((document, number));
        self.lengths.push(length);
    }

    fn term(&mut self, word: Word) -> u32 {
        if let Some(term) = self.words.get(word.text.as_str()) {
            return *term;
        }
        let stem = word.term();
        let number = match self.terms.get(&*stem) {
            Some(number) => *number,
            None => {
                let number = self.postings.len() as u32;
                self.terms.insert(stem.into(), number);
                self.postings.push(Vec::new());
                number
            }
        };
        self.words.insert(word.text.into_boxed_str(), number);
        number
    }
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    entry: u32,
    count: u16,
}

/// A passage that answers to a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) entry: u32,
    pub(crate) score: f32,
}

impl Index {
    /// Indexes all passages.
    pub fn new(documents: Vec<Document>) -> Index {
        let mut build = Build::default();
        for (document, found) in documents.iter().enumerate() {
            for (number, passage) in found.passages.iter().enumerate() {
                build.add(document as u32, number as u32, passage);
            }
        }
        let total: u64 = build.lengths.iter().map(|length| u64::from(*length)).sum();
        let average = (total as f32 / build.lengths.len().max(1) as f32).max(1.0);
        Index {
            documents,
            average,
            entries: build.entries,
            lengths: build.lengths,
            terms: build.terms,
            postings: build.postings,
        }
    }

    /// The documents that were indexed.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// How many passages can be found.
    pub fn passages(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entry(&self, entry: u32) -> (&Document, &Passage) {
        let (document, number) = self.entries[entry as usize];
        let document = &self.documents[document as usize];
        (document, &document.passages[number as usize])
    }

    fn postings(&self, term: &str) -> &[Posting] {
        self.terms.get(term).map_or(&[], |number| &self.postings[*number as usize])
    }

    /// How much a term tells: near 0 for one in every passage, greatest for one in none.
    pub(crate) fn weight(&self, term: &str) -> f32 {
        let all = self.entries.len() as f32;
        let with = self.postings(term).len() as f32;
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }

    /// The terms of the documents that an unknown one is likely a variant or misspelling of.
    pub(crate) fn variants(&self, token: &Token) -> Vec<&str> {
        if self.terms.contains_key(token.term.as_str()) || token.digit {
            return Vec::new();
        }
        let terms = self.terms.keys().map(|term| &**term);
        let mut found: Vec<&str> = terms.filter(|term| similar(term, &token.term)).collect();
        // Scores are sums of floats: the same question must add them in the same order every time.
        found.sort_unstable();
        found
    }

    /// The best `limit` passages for weighted terms, best first.
    pub(crate) fn search(&self, terms: &[(&str, f32)], limit: usize) -> Vec<Hit> {
        let mut scores: HashMap<u32, f32> = HashMap::new();
        for (term, weight) in terms {
            for posting in self.postings(term) {
                let length = f32::from(self.lengths[posting.entry as usize]);
                *scores.entry(posting.entry).or_default() +=
                    weight * saturate(f32::from(posting.count), length / self.average);
            }
        }
        let mut hits: Vec<Hit> = scores.into_iter().map(|(entry, score)| Hit { entry, score }).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.entry.cmp(&b.entry)));
        hits.truncate(limit);
        hits
    }
}

/// The part of a term's weight that `count` occurrences earn in a text of this length relative to the average.
pub(crate) fn saturate(count: f32, length: f32) -> f32 {
    count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length))
}

/// All that a passage is found by: its text and what stands above it.
pub(crate) fn searched(passage: &Passage) -> impl Iterator<Item = Token> {
    tokens(&passage.text).into_iter().chain(tokens(&passage.context))
}

/// Whether two stems share a long beginning or differ by one letter.
fn similar(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    if short.len() < 5 || long.len() > short.len() + 3 {
        return false;
    }
    let head = short.bytes().zip(long.bytes()).take_while(|(a, b)| a == b).count();
    let tail = short.bytes().rev().zip(long.bytes().rev()).take(short.len() - head).take_while(|(a, b)| a == b).count();
    let (left, right) = (short.len() - head - tail, long.len() - head - tail);
    head >= 6 && head + 2 >= short.len() || head >= 2 && left.max(right) <= 1
}
