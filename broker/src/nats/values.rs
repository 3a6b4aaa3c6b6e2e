//! Large documents of a run in pieces, each of which stands once in the run's own log.
//!
//! The pieces of a run stand on one subject of the stream of runs, beside the records of its tasks: what a record refers to
//! is stored as durably as the record, and goes when the run goes. Those that a document adds stand in one message, or in
//! few; a piece is named by the sequence of its message and its place there. Which pieces a run has is remembered from
//! writing and reading them, within [`REMEMBERED`]; a piece that was forgotten is stored again, and so is one whose answer
//! was lost, which costs room and nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::link::Link;
use super::names;
use super::once::store_once;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::values::{IN_ONE, Reference, bundles, cut, tie, untie};

/// Bytes that a connection takes to remember pieces, counting for each [`ENTRY`] beside its own.
pub(crate) const REMEMBERED: usize = 16 << 20;
/// About what it costs to remember a piece, however short it is.
const ENTRY: usize = 256;
/// Messages of pieces that are read at a time.
const PAGE: usize = 32;
/// How a document begins that stands in pieces.
const BEGINS: &[u8] = br#"{"$pieces":"#;

/// What stands in the place of a document.
#[derive(Serialize, Deserialize)]
struct InPieces {
    #[serde(rename = "$pieces")]
    pieces: Reference,
    run: RunId,
    /// The mark of the write, as in the document.
    writer: String,
}

/// The pieces that were written or read last.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_number: HashMap<u64, Arc<[u8]>>,
    by_sum: HashMap<(RunId, u32), Vec<u64>>,
    /// The oldest first.
    order: VecDeque<(u64, RunId, u32)>,
    bytes: usize,
}

impl Pieces {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, run: &RunId, piece: &[u8]) -> Option<u64> {
        let known = self.lock();
        let alike = known.by_sum.get(&(run.clone(), crc32fast::hash(piece)))?;
        alike.iter().find(|number| known.by_number.get(number).is_some_and(|other| **other == *piece)).copied()
    }

    fn add(&self, run: &RunId, number: u64, piece: Arc<[u8]>) {
        let (mut known, sum) = (self.lock(), crc32fast::hash(&piece));
        known.bytes += piece.len() + ENTRY;
        if let Some(before) = known.by_number.insert(number, piece) {
            known.bytes -= before.len() + ENTRY;
            return;
        }
        known.by_sum.entry((run.clone(), sum)).or_default().push(number);
        known.order.push_back((number, run.clone(), sum));
        while known.bytes > REMEMBERED {
            let Some((number, run, sum)) = known.order.pop_front() else { return };
            known.bytes -= known.by_number.remove(&number).map_or(0, |piece| piece.len() + ENTRY);
            if let Some(alike) = known.by_sum.get_mut(&(run.clone(), sum)) {
                alike.retain(|one| *one != number);
                if alike.is_empty() {
                    known.by_sum.remove(&(run, sum));
                }
            }
        }
    }
}

impl Link {
    /// The body of a message of a run that holds this document when it has at most `inline` bytes, and refers to its
    /// pieces otherwise. Where pieces may not be stored, and they may only by nodes, as [`pack`](Self::pack).
    pub(crate) async fn pack_in(&self, run: &RunId, document: String, mark: &str, inline: usize) -> Result<Bytes> {
        if document.len() <= inline {
            return Ok(document.into());
        }
        let pieces = match self.keep(run, &cut(document.as_bytes())).await {
            Ok(pieces) => Reference::new(document.as_bytes(), &pieces),
            Err(Error::Denied { .. }) => return self.pack(document, mark).await,
            Err(error) => return Err(error),
        };
        let body = serde_json::to_vec(&InPieces { pieces, run: run.clone(), writer: mark.to_owned() });
        Ok(body.map_err(|e| Error::decode(e.to_string()))?.into())
    }

    /// The numbers of pieces, those that are not known being stored.
    async fn keep(&self, run: &RunId, pieces: &[&[u8]]) -> Result<Vec<u64>> {
        let mut numbers: HashMap<&[u8], u64> = HashMap::new();
        let mut fresh = Vec::new();
        for piece in pieces {
            match self.pieces.find(run, piece) {
                Some(number) => drop(numbers.insert(piece, number)),
                None if !fresh.contains(piece) => fresh.push(*piece),
                None => {}
            }
        }
        let bundles = bundles(&fresh);
        let stored = join_all(bundles.iter().map(|bundle| self.keep_together(run, bundle))).await;
        for (bundle, first) in bundles.iter().zip(stored) {
            numbers.extend(bundle.iter().copied().zip(first?..));
        }
        Ok(pieces.iter().filter_map(|piece| numbers.get(piece).copied()).collect())
    }

    /// Stores pieces in one message: the number of the first.
    async fn keep_together(&self, run: &RunId, bundle: &[&[u8]]) -> Result<u64> {
        let sent = store_once(self, &names::piece(run), &HeaderMap::new(), &tie(bundle).into()).await;
        let first = number(sent.answer.map_err(|refusal| refusal.into_error("the log of runs"))?.seq);
        for (piece, number) in bundle.iter().zip(first..) {
            self.pieces.add(run, number, (*piece).into());
        }
        Ok(first)
    }

    /// The document that stands in pieces; none when a body is no reference to one.
    ///
    /// # Errors
    /// `NotFound` when pieces are gone; `Decode` when they are not what they were.
    pub(crate) async fn in_pieces(&self, body: &[u8]) -> Result<Option<Bytes>> {
        if !body.starts_with(BEGINS) {
            return Ok(None);
        }
        let Ok(InPieces { pieces: reference, run, .. }) = serde_json::from_slice(body) else { return Ok(None) };
        let damaged = || Error::decode("a document in pieces is not what was stored");
        let mut found = Vec::new();
        for number in reference.numbers().ok_or_else(damaged)? {
            found.push(self.piece(&run, number).await?);
        }
        let document = reference.assemble(found.iter().map(|piece| &**piece))?;
        Ok(Some(Bytes::copy_from_slice(document.json()?.as_bytes())))
    }

    /// A piece, and what follows it, which is mostly asked for next.
    async fn piece(&self, run: &RunId, wanted: u64) -> Result<Arc<[u8]>> {
        let known = self.pieces.lock().by_number.get(&wanted).cloned();
        if let Some(piece) = known {
            return Ok(piece);
        }
        let mut found = None;
        for raw in self.page_as_stored(names::RUNS, &names::piece(run), wanted / IN_ONE as u64, PAGE).await? {
            for (piece, number) in untie(&raw.body).unwrap_or_default().into_iter().zip(number(raw.seq)..) {
                let piece: Arc<[u8]> = piece.into();
                if number == wanted {
                    found = Some(piece.clone());
                }
                self.pieces.add(run, number, piece);
            }
        }
        found.ok_or_else(|| Error::not_found(format!("piece {wanted} of run {run}")))
    }
}

/// The number of the first piece in a message.
fn number(seq: u64) -> u64 {
    seq * IN_ONE as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_is_remembered_within_its_bound() {
        let (pieces, run) = (Pieces::default(), RunId::parse("r").unwrap());
        let piece = |n: u64| vec![n as u8; 1 << 20];
        for n in 1..=40 {
            pieces.add(&run, n, piece(n).into());
        }
        assert_eq!((pieces.find(&run, &piece(1)), pieces.find(&run, &piece(40))), (None, Some(40)));
        assert_eq!(pieces.find(&RunId::parse("other").unwrap(), &piece(40)), None);
        let known = pieces.lock();
        assert!(known.bytes <= REMEMBERED && known.order.len() == known.by_number.len() && known.by_sum.len() == 15);
    }

    #[test]
    fn small_pieces_are_bounded_in_number() {
        let (pieces, run) = (Pieces::default(), RunId::parse("r").unwrap());
        let most = REMEMBERED / ENTRY;
        for n in 0..2 * most as u64 {
            pieces.add(&run, n, n.to_le_bytes().into());
        }
        assert!(pieces.lock().order.len() <= most);
    }
}
