//! The table of pieces: large values, each piece of which is kept once.
//!
//! A piece is found by its sum and its length, and then compared byte for byte, so two that only look alike are two.

use std::collections::HashMap;

use rusqlite::{Connection, Row};

use super::db::Db;
use super::fault::{Done, Fault};
use super::file;
use super::sum::{Fields, Sum, int, nat};
use super::verify::Scan;
use crate::payload::Payload;
use crate::values::{Reference, cut, is_cut, press, unpress};

/// What is to be stored in the place of a value: the value, or a reference to its pieces, which are stored then.
pub(super) fn store(db: &Db, value: &Payload) -> Done<Payload> {
    if !is_cut(value)? {
        return Ok(value.clone());
    }
    if let Some(stored) = db.recent(value.json()?) {
        return Ok(stored);
    }
    let text = value.json()?.as_bytes();
    let pieces = cut(text).into_iter().map(|piece| keep(db, piece)).collect::<Done<Vec<u64>>>()?;
    let stored = Reference::new(text, &pieces).payload()?;
    db.remember(value.clone(), stored.clone());
    Ok(stored)
}

/// The value in whose place this is stored.
pub(super) fn load(conn: &Connection, stored: Payload) -> Done<Payload> {
    let Some(reference) = Reference::of(&stored) else { return Ok(stored) };
    let damaged = || Fault::damaged("piece", &reference.pieces);
    let numbers = reference.numbers().ok_or_else(damaged)?;
    let mut pieces: HashMap<u64, Vec<u8>> = HashMap::new();
    for number in &numbers {
        if !pieces.contains_key(number) {
            let sql = "SELECT id, sum, body, crc FROM piece WHERE id = ?1";
            let (_, piece) = file::one(conn, sql, [int(*number)], read)?.ok_or_else(damaged)?;
            pieces.insert(*number, piece);
        }
    }
    let in_order = numbers.iter().filter_map(|number| pieces.get(number).map(Vec::as_slice));
    reference.assemble(in_order).map_err(|_| damaged())
}

/// The number of a piece, which is stored unless it is there.
fn keep(db: &Db, piece: &[u8]) -> Done<u64> {
    let sum = sum(piece);
    let sql = "SELECT id, sum, body, crc FROM piece WHERE sum = ?1 ORDER BY id";
    let alike = file::all(db.conn(), sql, [sum], |row| Ok(read(row).ok()))?;
    if let Some((id, _)) = alike.into_iter().flatten().find(|(_, other)| other == piece) {
        return Ok(id);
    }
    let id = 1 + file::number(db.conn(), "SELECT max(id) FROM piece", [])?;
    let body = press(piece);
    let crc = Sum::of("piece").int(int(id)).int(sum).blob(&body).crc();
    db.exec("INSERT INTO piece VALUES(?1, ?2, ?3, ?4)", (int(id), sum, body, crc))?;
    Ok(id)
}

fn sum(piece: &[u8]) -> i64 {
    i64::from(crc32fast::hash(piece)) << 20 | int(piece.len() as u64 & 0xf_ffff)
}

fn read(row: &Row<'_>) -> Done<(u64, Vec<u8>)> {
    let mut fields = Fields::of("piece", row, 0);
    let (id, sum_of_it, body) = (fields.int()?, fields.int()?, fields.blob()?);
    let row = fields.verify()?;
    let piece = row.is(unpress(body))?;
    row.is((sum(&piece) == sum_of_it).then_some((nat(id), piece)))
}

/// All pieces.
pub(super) const SCANS: &[Scan] = &[("SELECT id, sum, body, crc FROM piece", |row| read(row).map(drop))];
