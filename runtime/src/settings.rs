//! Reads TOML that people write, key by key, and keeps every mistake with its place instead of stopping at the first.
//!
//! A derived deserializer ends at its first error and knows types, not intentions. Here a table is asked for one key after
//! the other; what is never asked for is an unknown key, which is refused when the table is [closed](Table::close): so
//! the known keys are listed once, in the code that reads them.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use callboard_broker::code;
use callboard_broker::problem::{Place, Problem, Problems, closest};
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::period::Period;

pub(crate) mod args;
pub(crate) mod budget;
pub mod node;

#[cfg(test)]
mod tests;

/// A file and what is wrong with it so far.
pub(crate) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
    problems: RefCell<Problems>,
}

impl<'a> Source<'a> {
    /// Reads the syntax; a file that is no TOML is only told its syntax errors, since all others would be guesses.
    pub(crate) fn parse(file: &'a str, text: &'a str) -> Result<Self, Problems> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut problems = Problems::new();
        problems.extend(errors.iter().map(|error| {
            let place = error.span().map(|span| Box::new(Place::of(file, text, span)));
            Problem { at: place, ..Problem::new(code::SYNTAX, error.message()) }
        }));
        problems.or(Source { file, text, root, problems: RefCell::default() })
    }

    /// The table that is the file.
    pub(crate) fn root(&self) -> Table<'_> {
        Table::new(self, self.root.get_ref(), 0..0)
    }

    /// One more mistake.
    pub(crate) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// What a later look at the values found. A value that could not be read is empty by then, so a complaint about its
    /// emptiness at a place that has a problem already is left out.
    pub(crate) fn add(&self, problems: Problems) {
        let mut known = self.problems.borrow_mut();
        let start = |problem: &Problem| problem.at.as_ref().map(|at| (at.line, at.column));
        let echo = |new: &Problem| {
            matches!(new.code, code::NAME | code::MISSING_KEY | code::UNKNOWN_DEPENDENCY)
                && known.iter().any(|old| start(old) == start(new))
        };
        let news: Vec<Problem> = problems.into_iter().filter(|problem| !echo(problem)).collect();
        known.extend(news);
    }

    /// The value, unless there were mistakes.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Problems> {
        self.problems.into_inner().or(value)
    }

    /// Where the value at a path stands, or as much of the path as there is. Places in lists count from 0.
    pub(crate) fn place(&self, path: &[impl AsRef<str>]) -> Place {
        let mut span = 0..0;
        let mut table = Some(self.root.get_ref());
        let mut list = None;
        for part in path {
            let next = match (table, list) {
                (Some(table), _) => table.get(part.as_ref()),
                (_, Some(list)) => part.as_ref().parse().ok().and_then(|n: usize| <[_]>::get(list, n)),
                _ => None,
            };
            let Some(next) = next else { break };
            span = next.span();
            table = next.get_ref().as_table();
            list = next.get_ref().as_array().map(|list| &**list);
        }
        self.at(span)
    }

    /// The place of `part` within the value at a path, when it stands there as it is.
    pub(crate) fn place_within(&self, path: &[impl AsRef<str>], part: &str) -> Place {
        let mut place = self.place(path);
        let from: String = place.text.chars().skip(place.column - 1).take(place.width).collect();
        if let Some((before, _)) = from.split_once(part) {
            place.column += before.chars().count();
            place.width = part.chars().count();
        }
        place
    }

    fn at(&self, span: Range<usize>) -> Place {
        Place::of(self.file, self.text, span)
    }

    /// A value as it was written, when that is short and on one line.
    fn written(&self, span: Range<usize>) -> Option<&str> {
        self.text.get(span).filter(|text| text.len() <= 50 && !text.contains('\n'))
    }
}

/// A table of the file. Each key is asked for once; a wrong value is reported and reads as missing, a wrong text as empty.
pub(crate) struct Table<'s> {
    source: &'s Source<'s>,
    entries: &'s DeTable<'s>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'s> Table<'s> {
    fn new(source: &'s Source<'s>, entries: &'s DeTable<'s>, span: Range<usize>) -> Self {
        Table { source, entries, span, asked: Vec::new() }
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                let fix = self.source.written(value.span()).map(|raw| format!("{key} = \"{raw}\""));
                self.wrong(key, value, "a text", fix).or_else(|| Some(String::new()))
            }
            _ => self.wrong(key, value, "a text", None).or_else(|| Some(String::new())),
        }
    }

    /// A whole number of a range.
    pub(crate) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.ask(key)?;
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        match value.get_ref() {
            DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()).ok().map(u64::try_from) {
                Some(Ok(n)) if range.contains(&n) => Some(n),
                _ => {
                    let what = format!("`{key}` is out of range: it takes {wanted}");
                    self.source.report(Problem::new(code::RANGE, what).at(self.source.at(value.span())));
                    None
                }
            },
            DeValue::String(text) => {
                let fix = text.trim().parse::<u64>().ok().map(|n| format!("{key} = {n}"));
                self.wrong(key, value, &wanted, fix)
            }
            _ => self.wrong(key, value, &wanted, None),
        }
    }

    /// A number from 0, also with a fraction.
    pub(crate) fn decimal(&mut self, key: &'static str, most: f64) -> Option<f64> {
        let value = self.ask(key)?;
        let wanted = format!("a number from 0 to {most}");
        let read: Option<f64> = match value.get_ref() {
            DeValue::Float(n) => n.as_str().parse().ok(),
            DeValue::Integer(n) => n.as_str().parse().ok(),
            _ => return self.wrong(key, value, &wanted, None),
        };
        let read = read.filter(|n| (0.0..=most).contains(n));
        if read.is_none() {
            let what = format!("`{key}` is out of range: it takes {wanted}");
            self.source.report(Problem::new(code::RANGE, what).at(self.source.at(value.span())));
        }
        read
    }

    /// A length of time.
    pub(crate) fn period(&mut self, key: &'static str) -> Option<Period> {
        const WANTED: &str = "a duration such as \"30s\"";
        let value = self.ask(key)?;
        let DeValue::String(text) = value.get_ref() else {
            let fix = value.get_ref().as_integer().map(|n| format!("{key} = \"{}s\"", n.as_str()));
            return self.wrong(key, value, WANTED, fix);
        };
        match text.parse() {
            Ok(period) => Some(period),
            Err(why) => {
                let mut problem = Problem::new(code::DURATION, format!("`{key}` takes {WANTED}: {why}"));
                problem.fix = why.meant.map(|meant| format!("{key} = \"{meant}\""));
                let units = ["500ms", "30s", "5m", "24h", "7d"];
                self.source.report(problem.at(self.source.at(value.span())).allowed(units));
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.ask(key)?;
        let names = words.iter().map(|(word, _)| *word);
        let Some(given) = value.get_ref().as_str() else {
            let fix = words.first().map(|(word, _)| format!("{key} = \"{word}\""));
            return self.wrong(key, value, "a text", fix);
        };
        let chosen = words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning);
        if chosen.is_none() {
            let what = format!("`{key}` cannot be \"{given}\"");
            let mut problem = Problem::new(code::NOT_ALLOWED, what).allowed_near(given, names);
            problem.fix = problem.allowed.first().map(|nearest| format!("{key} = \"{nearest}\""));
            self.source.report(problem.at(self.source.at(value.span())));
        }
        chosen
    }

    /// A list of texts; empty when missing. An item that is none reads as an empty text, so that places stay right.
    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            let fix = value.get_ref().as_str().map(|one| format!("{key} = [\"{one}\"]"));
            return self.wrong(key, value, "a list of texts", fix).unwrap_or_default();
        };
        let one = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
            DeValue::String(text) => text.to_string(),
            _ => self.wrong(key, item, "a list of texts", None).unwrap_or_default(),
        };
        list.iter().map(one).collect()
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::Boolean(on) => Some(*on),
            DeValue::String(text) => {
                let fix = text.parse::<bool>().ok().map(|on| format!("{key} = {on}"));
                self.wrong(key, value, "true or false", fix)
            }
            _ => self.wrong(key, value, "true or false", None),
        }
    }

    /// Any value, as JSON.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<Value> {
        let value = self.ask(key)?;
        self.json(key, value)
    }

    /// A table of any keys and values, as JSON; empty when missing.
    pub(crate) fn object(&mut self, key: &'static str) -> Map<String, Value> {
        let Some(value) = self.ask(key) else { return Map::new() };
        match self.json(key, value) {
            Some(Value::Object(fields)) => fields,
            Some(_) => self.wrong(key, value, "a table", None).unwrap_or_default(),
            None => Map::new(),
        }
    }

    /// A table of its own. It must be closed like this one.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Table<'s>> {
        let value = self.ask(key)?;
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table::new(self.source, entries, value.span())),
            _ => self.wrong(key, value, "a table", None),
        }
    }

    /// A list of tables, `[[key]]`; empty when missing.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<Table<'s>> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            return self.wrong(key, value, "a list of tables", Some(format!("[[{key}]]"))).unwrap_or_default();
        };
        let one = |item: &'s Spanned<DeValue<'s>>| match item.get_ref() {
            DeValue::Table(entries) => Some(Table::new(self.source, entries, item.span())),
            _ => self.wrong(key, item, "a list of tables", Some(format!("[[{key}]]"))),
        };
        list.iter().filter_map(one).collect()
    }

    /// Whether the key is there, with whatever value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Reports that a key without which the table means nothing is not there, with an example of how to write it. Says
    /// nothing when it is there with a wrong value: that was reported.
    pub(crate) fn missing(&self, key: &str, example: &str) {
        if !self.has(key) {
            let problem = Problem::new(code::MISSING_KEY, format!("`{key}` is missing"));
            self.source.report(problem.at(self.source.at(self.span.clone())).fix(example));
        }
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn close(self) {
        for (key, value) in self.entries {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let problem = Problem::new(code::UNKNOWN_KEY, format!("`{name}` is not a key here"));
                let mut problem = problem.at(self.source.at(key.span())).allowed_near(name, &self.asked);
                let raw = self.source.written(value.span()).unwrap_or("...");
                problem.fix = closest(name, &self.asked).map(|known| format!("{known} = {raw}"));
                self.source.report(problem);
            }
        }
    }

    fn ask(&mut self, key: &'static str) -> Option<&'s Spanned<DeValue<'s>>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    /// Reports a value of the wrong type, and reads as missing.
    fn wrong<T>(&self, key: &str, got: &Spanned<DeValue<'_>>, wanted: impl Display, fix: Option<String>) -> Option<T> {
        let what = format!("`{key}` takes {wanted}, not {}", kind(got.get_ref()));
        let problem = Problem::new(code::WRONG_TYPE, what).at(self.source.at(got.span()));
        self.source.report(Problem { fix, ..problem });
        None
    }

    fn json(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        const NUMBER: &str = "numbers that JSON has";
        match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Datetime(time) => Some(Value::String(time.to_string())),
            DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Some(n.into()),
                Err(_) => self.wrong(key, value, NUMBER, None),
            },
            DeValue::Float(n) => match n.as_str().parse().ok().and_then(Number::from_f64) {
                Some(n) => Some(Value::Number(n)),
                None => self.wrong(key, value, NUMBER, None),
            },
            DeValue::Array(list) => list.iter().map(|item| self.json(key, item)).collect::<Option<_>>(),
            DeValue::Table(entries) => {
                let mut fields = Map::new();
                for (name, item) in entries {
                    fields.insert(name.get_ref().to_string(), self.json(key, item)?);
                }
                Some(Value::Object(fields))
            }
        }
    }
}

/// The type of a value in a person's words.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
