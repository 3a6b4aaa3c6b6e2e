//! The checksum that each row carries.
//!
//! SQLite notices a torn page, not a flipped bit. So every row is stored with a CRC-32 over its table's name and all its
//! other columns, and every row is verified before anything is made of it. A damaged row is reported, never applied.

use crc32fast::Hasher;
use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::de::DeserializeOwned;

use super::fault::{Done, Fault};

/// Collects the columns of a row in the order of its table.
pub(super) struct Sum(Hasher);

impl Sum {
    /// Begins with the table, so that no row passes for one of another table.
    pub(super) fn of(table: &str) -> Self {
        Self(Hasher::new()).text(table)
    }

    /// An integer column.
    pub(super) fn int(mut self, value: i64) -> Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    /// A text column, with its length, so that `ab, c` and `a, bc` differ.
    pub(super) fn text(mut self, value: &str) -> Self {
        self.0.update(&value.len().to_le_bytes());
        self.0.update(value.as_bytes());
        self
    }

    /// A column of bytes, with its length.
    pub(super) fn blob(mut self, value: &[u8]) -> Self {
        self.0.update(&value.len().to_le_bytes());
        self.0.update(value);
        self
    }

    /// A text column that may be null.
    pub(super) fn maybe(self, value: Option<&str>) -> Self {
        match value {
            Some(text) => self.int(1).text(text),
            None => self.int(0),
        }
    }

    /// An integer column that may be null.
    pub(super) fn maybe_int(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.int(1).int(value),
            None => self.int(0),
        }
    }

    /// An integer column that older versions have not: null adds nothing, so that their rows keep their sums.
    pub(super) fn later_int(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.int(value),
            None => self,
        }
    }

    /// What goes into the column `crc`.
    pub(super) fn crc(self) -> i64 {
        i64::from(self.0.finalize())
    }
}

/// Reads the columns of a row one after the other and sums them up as they were when it was written.
pub(super) struct Fields<'r> {
    table: &'static str,
    row: &'r Row<'r>,
    first: usize,
    next: usize,
    sum: Sum,
}

impl<'r> Fields<'r> {
    /// Begins at column `first`, which holds the key of the row.
    pub(super) fn of(table: &'static str, row: &'r Row<'r>, first: usize) -> Self {
        Self { table, row, first, next: first, sum: Sum::of(table) }
    }

    fn take(&mut self) -> Done<ValueRef<'r>> {
        self.next += 1;
        Ok(self.row.get_ref(self.next - 1)?)
    }

    fn add(&mut self, add: impl FnOnce(Sum) -> Sum) {
        let sum = std::mem::replace(&mut self.sum, Sum(Hasher::new()));
        self.sum = add(sum);
    }

    /// An integer column.
    pub(super) fn int(&mut self) -> Done<i64> {
        let value = self.take()?.as_i64().map_err(|_| self.damaged())?;
        self.add(|sum| sum.int(value));
        Ok(value)
    }

    /// An integer column that is never negative.
    pub(super) fn nat(&mut self) -> Done<u64> {
        self.int().map(nat)
    }

    /// A text column.
    pub(super) fn text(&mut self) -> Done<&'r str> {
        let text = self.take()?.as_str().map_err(|_| self.damaged())?;
        self.add(|sum| sum.text(text));
        Ok(text)
    }

    /// A column of bytes.
    pub(super) fn blob(&mut self) -> Done<&'r [u8]> {
        let bytes = self.take()?.as_blob().map_err(|_| self.damaged())?;
        self.add(|sum| sum.blob(bytes));
        Ok(bytes)
    }

    /// A text column that may be null.
    pub(super) fn maybe(&mut self) -> Done<Option<&'r str>> {
        let text = self.take()?.as_str_or_null().map_err(|_| self.damaged())?;
        self.add(|sum| sum.maybe(text));
        Ok(text)
    }

    /// An integer column that may be null.
    pub(super) fn maybe_int(&mut self) -> Done<Option<i64>> {
        let value = self.take()?.as_i64_or_null().map_err(|_| self.damaged())?;
        self.add(|sum| sum.maybe_int(value));
        Ok(value)
    }

    /// An integer column that older versions have not.
    pub(super) fn later_int(&mut self) -> Done<Option<i64>> {
        let value = self.take()?.as_i64_or_null().map_err(|_| self.damaged())?;
        self.add(|sum| sum.later_int(value));
        Ok(value)
    }

    /// Reads the column `crc`, which comes last: nothing may be made of the row before.
    pub(super) fn verify(mut self) -> Done<Whole> {
        let written = self.take()?.as_i64().map_err(|_| self.damaged())?;
        let (table, key) = (self.table, self.key());
        if self.sum.crc() == written { Ok(Whole { table, key }) } else { Err(Fault::damaged(table, key)) }
    }

    fn damaged(&self) -> Fault {
        Fault::damaged(self.table, self.key())
    }

    fn key(&self) -> Key {
        match self.row.get_ref(self.first) {
            Ok(ValueRef::Integer(n)) => Key::Number(n),
            Ok(ValueRef::Text(text)) => Key::Text(String::from_utf8_lossy(text).chars().take(100).collect()),
            _ => Key::Text("?".into()),
        }
    }
}

/// What a row is called when it has to be named.
#[derive(Debug)]
enum Key {
    Number(i64),
    Text(String),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A row that is as it was written. What cannot be read from it was written by somebody else.
pub(super) struct Whole {
    table: &'static str,
    key: Key,
}

impl Whole {
    /// A document in one of its columns.
    pub(super) fn json<T: DeserializeOwned>(&self, text: &str) -> Done<T> {
        serde_json::from_str(text).map_err(|_| self.damaged())
    }

    /// What one of its columns has to be.
    pub(super) fn is<T>(&self, value: Option<T>) -> Done<T> {
        value.ok_or_else(|| self.damaged())
    }

    fn damaged(&self) -> Fault {
        Fault::damaged(self.table, &self.key)
    }
}

/// A number as SQLite keeps it. Ours never come near the limit; one that did would be kept at it, not wrapped.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number as SQLite has kept it.
pub(super) fn nat(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_that_differ_look_alike() {
        let sums = [
            Sum::of("a").text("b").text("c").crc(),
            Sum::of("a").text("bc").text("").crc(),
            Sum::of("ab").text("c").text("").crc(),
            Sum::of("a").maybe(Some("b")).crc(),
            Sum::of("a").maybe(None).text("b").crc(),
            Sum::of("a").maybe_int(Some(0)).crc(),
            Sum::of("a").maybe_int(None).crc(),
        ];
        let differing: std::collections::HashSet<_> = sums.iter().collect();
        assert_eq!(differing.len(), sums.len());
    }
}
