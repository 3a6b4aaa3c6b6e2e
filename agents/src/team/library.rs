//! Sources, read once and kept for all members of a team.
//!
//! Tasks carry the names of sources and quotations, never documents, so that run logs stay small; whoever needs the
//! text opens it here. A shelf is read and indexed by the first who opens it for a run, and the rest of the run sees the
//! same text even if a file changes meanwhile. A later run reads it again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::Reading;
use super::blocking::blocking;
use super::problem::phrase;
use crate::extract::{Claim, Index, collapse};
use crate::source::{Document, Limits, Only, Passage, Skipped, SourceError, is_url, load};

/// How many shelves are kept; the one opened longest ago goes first.
pub const SHELVES: usize = 8;

/// How many bytes of text are kept together, unless the newest shelf alone has more: 128 MiB.
pub const KEPT_BYTES: u64 = 128 << 20;

/// Sources of runs, in memory. Cheap to clone; clones are the same library.
#[derive(Clone, Debug)]
pub struct Library {
    limits: Limits,
    shelves: Arc<Mutex<Vec<Entry>>>,
}

/// What was read for one run, and how to search it.
#[derive(Debug)]
pub struct Shelf {
    /// The documents.
    pub index: Index,
    /// What was read and what was skipped.
    pub reading: Reading,
    bytes: u64,
}

/// What a shelf is kept under.
#[derive(Clone, Debug, PartialEq)]
struct Label {
    run: String,
    sources: Vec<String>,
    only: Only,
}

type Cell = Arc<OnceCell<Arc<Shelf>>>;

#[derive(Debug)]
struct Entry {
    label: Label,
    shelf: Cell,
}

impl Library {
    /// One that reads within these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, shelves: Arc::default() }
    }

    /// The documents of one kind among `sources`, for one run. Who comes second waits for the first.
    ///
    /// # Errors
    /// When none of the sources can be read. One that cannot is otherwise listed as skipped.
    ///
    /// # Cancellation
    /// Dropping the future leaves the reading to the next who asks.
    pub async fn open(&self, run: &str, sources: &[String], only: Only) -> Result<Arc<Shelf>, SourceError> {
        let is_wanted = |source: &&String| only != Only::Local || !is_url(source);
        let sources = sources.iter().filter(is_wanted).cloned().collect();
        let label = Label { run: run.to_owned(), sources, only };
        let (cell, limits) = (self.cell(&label), self.limits.clone());
        let read = || blocking(move || Shelf::read(&label.sources, only, &limits).map(Arc::new));
        let shelf = cell.get_or_try_init(read).await.cloned()?;
        self.make_room();
        Ok(shelf)
    }

    fn make_room(&self) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |shelves: &[Entry]| shelves.iter().filter_map(|entry| Some(entry.shelf.get()?.bytes)).sum::<u64>();
        while shelves.len() > SHELVES || shelves.len() > 1 && bytes(&shelves) > KEPT_BYTES {
            shelves.remove(0);
        }
    }

    fn cell(&self, label: &Label) -> Cell {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match shelves.iter().position(|entry| entry.label == *label) {
            Some(at) => shelves.remove(at),
            None => Entry { label: label.clone(), shelf: Cell::default() },
        };
        let shelf = entry.shelf.clone();
        shelves.push(entry);
        shelf
    }
}

impl Default for Library {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Shelf {
    /// Reads each source by itself, so that one that cannot be read does not hide the others.
    fn read(sources: &[String], only: Only, limits: &Limits) -> Result<Self, SourceError> {
        let mut left = limits.clone();
        let (mut documents, mut reading, mut first, mut bytes) = (Vec::new(), Reading::default(), None, 0);
        for source in sources {
            match load(std::slice::from_ref(source), only, &left) {
                Ok(loaded) => {
                    left.passages -= loaded.passages().min(left.passages);
                    let read = text(&loaded.documents);
                    left.total_bytes -= read.min(left.total_bytes);
                    bytes += read;
                    reading.left += loaded.unwanted;
                    reading.skip(loaded.skipped);
                    documents.extend(loaded.documents);
                }
                Err(error) => {
                    reading.skip([Skipped { source: source.clone(), why: phrase(&error) }]);
                    first.get_or_insert(error);
                }
            }
        }
        if documents.is_empty() && reading.left == 0 {
            return Err(first.unwrap_or(SourceError::NoneNamed));
        }
        let index = Index::new(documents);
        (reading.documents, reading.passages) = (index.documents().len(), index.passages());
        Ok(Self { index, reading, bytes })
    }

    /// Whether a document of this name was read.
    pub fn has(&self, source: &str) -> bool {
        self.index.documents().iter().any(|document| document.source == source)
    }

    /// The paragraph or row in which the quotation of a claim stands, at its place and verbatim but for white space.
    pub fn find(&self, claim: &Claim) -> Option<&Passage> {
        let quote = collapse(&claim.quote);
        let documents = self.index.documents().iter().filter(|document| document.source == claim.source);
        let mut passages = documents.flat_map(|document| &document.passages);
        passages.find(|passage| passage.is_at(&claim.locator) && collapse(&passage.text).contains(&quote))
    }
}

/// Bytes of text in documents.
fn text(documents: &[Document]) -> u64 {
    documents.iter().flat_map(|document| &document.passages).map(|passage| passage.text.len() as u64).sum()
}
