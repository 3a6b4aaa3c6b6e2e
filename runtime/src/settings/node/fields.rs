//! Tables whose own name is free (`[tools.NAME]`), field by field; every mistake with its place.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use callboard_broker::code;
use callboard_broker::problem::Problem;
use serde_json::{Map, Value};

use super::Source;
use crate::period::Period;

/// The most entries of a list.
const MAX_LIST: usize = 256;

/// Where mistakes of one table are told.
pub(super) struct Wrong<'a> {
    source: &'a Source<'a>,
    place: Vec<&'a str>,
}

impl<'a> Wrong<'a> {
    pub(super) fn new(source: &'a Source<'a>, place: &[&'a str]) -> Self {
        Self { source, place: place.to_vec() }
    }

    /// The name itself is wrong.
    pub(super) fn name(&self, what: &str) {
        let name = self.place.last().copied().unwrap_or_default();
        let problem = Problem::new(code::NAME, format!("\"{name}\" is no name: {what}"));
        self.source.report(problem.at(self.source.place(&self.place)));
    }

    /// What should be a table, as one.
    pub(super) fn table<'v>(&self, value: &'v Value) -> Option<&'v Map<String, Value>> {
        if !value.is_object() {
            let what = format!("`{}` takes a table", self.place.join("."));
            self.source.report(Problem::new(code::WRONG_TYPE, what).at(self.source.place(&self.place)));
        }
        value.as_object()
    }

    fn tell(&self, code: &'static str, key: &str, what: String) {
        let place: Vec<&str> = self.place.iter().copied().chain([key]).collect();
        self.source.report(Problem::new(code, what).at(self.source.place(&place)));
    }
}

/// The fields of such a table. A field that cannot be read is reported, and reads as missing.
pub(super) struct Fields<'a> {
    fields: &'a Map<String, Value>,
    wrong: &'a Wrong<'a>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(fields: &'a Map<String, Value>, wrong: &'a Wrong<'a>) -> Self {
        Self { fields, wrong }
    }

    /// No other keys than these are known.
    pub(super) fn only<'k>(&self, known: impl IntoIterator<Item = &'k &'k str>) {
        let known: Vec<&str> = known.into_iter().copied().collect();
        for key in self.fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let place: Vec<&str> = self.wrong.place.iter().copied().chain([key.as_str()]).collect();
            let problem = Problem::new(code::UNKNOWN_KEY, format!("there is no `{key}` here"));
            let problem = problem.allowed_near(key, known.iter().copied());
            self.wrong.source.report(problem.at(self.wrong.source.place(&place)));
        }
    }

    fn not(&self, key: &str, wanted: &str) {
        self.wrong.tell(code::NOT_ALLOWED, key, format!("`{key}` takes {wanted}"));
    }

    /// A text that is read.
    pub(super) fn read<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.fields.get(key)?;
        let found = value.as_str().ok_or_else(|| "it takes a text".to_owned()).and_then(read);
        found.map_err(|why| self.wrong.tell(code::NOT_ALLOWED, key, format!("`{key}`: {why}"))).ok()
    }

    /// The same, where there must be one.
    pub(super) fn needed<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if !self.fields.contains_key(key) {
            self.wrong.tell(code::MISSING_KEY, key, format!("`{key}` is missing in {}", self.wrong.place.join(".")));
        }
        self.read(key, read)
    }

    /// A text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.read(key, |text| Ok(text.to_owned()))
    }

    /// One of a few words; `type` must be there.
    pub(super) fn word(&mut self, key: &str, words: &[&str]) -> Option<String> {
        let one = |text: &str| match words.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(format!("it takes one of {}", words.join(", "))),
        };
        if key == "type" { self.needed(key, one) } else { self.read(key, one) }
    }

    /// True or false; false when it is missing.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        let Some(value) = self.fields.get(key) else { return false };
        if !value.is_boolean() {
            self.not(key, "true or false");
        }
        value.as_bool().unwrap_or_default()
    }

    /// True or false, with another default.
    pub(super) fn flag_or(&mut self, key: &str, default: bool) -> bool {
        if self.fields.contains_key(key) { self.flag(key) } else { default }
    }

    /// Texts by name.
    pub(super) fn map(&mut self, key: &str) -> BTreeMap<String, String> {
        let Some(value) = self.fields.get(key) else { return BTreeMap::new() };
        let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let found = value.as_object().and_then(|map| map.iter().map(pair).collect());
        if found.is_none() {
            self.not(key, "a table of texts");
        }
        found.unwrap_or_default()
    }

    /// Exactly one of two keys was to be there.
    pub(super) fn one_of(&self, one: &str, other: &str) {
        let what = format!("{} takes either `{one}` or `{other}`", self.wrong.place.join("."));
        self.wrong.tell(code::MISSING_KEY, one, what);
    }

    /// A whole number of a range.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self.fields.get(key)?.as_u64().filter(|n| range.contains(n));
        if number.is_none() {
            self.not(key, &format!("a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A number from 0.
    pub(super) fn decimal(&mut self, key: &str, most: f64) -> Option<f64> {
        let number = self.fields.get(key)?.as_f64().filter(|n| (0.0..=most).contains(n));
        if number.is_none() {
            self.not(key, &format!("a number from 0 to {most}"));
        }
        number
    }

    /// A length of time, not nothing.
    pub(super) fn period(&mut self, key: &str, most: Duration) -> Option<Duration> {
        let wanted = || format!("it takes a duration such as \"30s\", at most {} s", most.as_secs());
        self.read(key, |text| {
            let read = text.parse::<Period>().map_err(|_| wanted())?.length();
            if read.is_zero() || read > most { Err(wanted()) } else { Ok(read) }
        })
    }

    /// A list of texts, each read.
    pub(super) fn read_each<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(value) = self.fields.get(key) else { return Vec::new() };
        let texts = value.as_array().filter(|list| list.len() <= MAX_LIST && list.iter().all(Value::is_string));
        let Some(texts) = texts else {
            self.not(key, &format!("a list of texts, at most {MAX_LIST}"));
            return Vec::new();
        };
        let found: Result<Vec<T>, String> = texts.iter().filter_map(Value::as_str).map(read).collect();
        found.map_err(|why| self.wrong.tell(code::NOT_ALLOWED, key, format!("`{key}`: {why}"))).unwrap_or_default()
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        self.read_each(key, |text| Ok(text.to_owned()))
    }

    /// A list of whole numbers of a range.
    pub(super) fn numbers(&mut self, key: &str, range: RangeInclusive<u64>) -> Vec<u64> {
        let Some(value) = self.fields.get(key) else { return Vec::new() };
        let one = |value: &Value| value.as_u64().filter(|n| range.contains(n));
        let found =
            value.as_array().filter(|list| list.len() <= MAX_LIST).and_then(|list| list.iter().map(one).collect());
        if found.is_none() {
            self.not(key, &format!("a list of whole numbers from {} to {}", range.start(), range.end()));
        }
        found.unwrap_or_default()
    }
}
