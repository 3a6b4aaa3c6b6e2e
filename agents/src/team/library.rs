//! Sources, read once and kept for all members of a team.
//!
//! Tasks carry the names of sources and quotations, never documents, so that run logs stay small; whoever needs the
//! text opens it here. A shelf is read and indexed by the first who opens it for a run, and the rest of the run sees the
//! same text even if a file changes meanwhile. A later run reads it again.

use std::sync::{Arc, Mutex, PoisonError};

use callboard_broker::blobs::Blobs;
use tokio::sync::OnceCell;

use super::Reading;
use super::blocking::blocking;
use super::problem::phrase;
use crate::extract::{Claim, Index, collapse};
use crate::source::{
    Document, Limits, Loaded, Only, Passage, Room, Skipped, SourceError, Unpacked, is_parcel, is_url, load, unpack,
};

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
        self.open_from(None, run, sources, only).await
    }

    /// As [`open`](Self::open); with a room of large bodies, for clients with another file system: their parcels and
    /// public URLs are read, and nothing else.
    ///
    /// # Errors
    /// As for `open`.
    pub async fn open_from(
        &self,
        blobs: Option<Arc<dyn Blobs>>,
        run: &str,
        sources: &[String],
        only: Only,
    ) -> Result<Arc<Shelf>, SourceError> {
        let is_wanted = |source: &&String| only != Only::Local || !is_url(source);
        let sources = sources.iter().filter(is_wanted).cloned().collect();
        let label = Label { run: run.to_owned(), sources, only };
        let (cell, limits) = (self.cell(&label), self.limits.clone());
        let read = async || {
            let limits = Limits { only_public: limits.only_public || blobs.is_some(), ..limits };
            let places = places(&label.sources, &limits, blobs.as_ref()).await;
            blocking(move || Shelf::read(&places, only, &limits).map(Arc::new)).await
        };
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
    fn read(places: &[Place], only: Only, limits: &Limits) -> Result<Self, SourceError> {
        let mut left = limits.clone();
        let (mut documents, mut reading, mut first, mut bytes) = (Vec::new(), Reading::default(), None, 0);
        for place in places {
            reading.skip(place.skipped().iter().cloned());
            match place.load(only, &left) {
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
                    reading.skip([Skipped { source: place.name().to_owned(), why: phrase(&error) }]);
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

/// Where a source is found.
enum Place {
    /// Under its own name.
    Here(String),
    /// In a parcel that has arrived.
    Arrived(Unpacked),
    /// Nowhere that may be opened.
    Refused(String, SourceError),
}

impl Place {
    /// What whoever named it calls it.
    fn name(&self) -> &str {
        match self {
            Self::Here(source) | Self::Refused(source, _) => source,
            Self::Arrived(parcel) => &parcel.source,
        }
    }

    fn skipped(&self) -> &[Skipped] {
        match self {
            Self::Arrived(parcel) => &parcel.skipped,
            Self::Here(_) | Self::Refused(..) => &[],
        }
    }

    fn load(&self, only: Only, limits: &Limits) -> Result<Loaded, SourceError> {
        match self {
            Self::Here(source) => load(std::slice::from_ref(source), only, limits),
            Self::Arrived(parcel) => load(&[&parcel.path], only, limits).map_err(|e| e.about(&parcel.source)),
            Self::Refused(_, error) => Err(error.clone()),
        }
    }
}

/// Finds each source: where it was named, or, for clients with another file system, where their parcels are.
async fn places(sources: &[String], limits: &Limits, blobs: Option<&Arc<dyn Blobs>>) -> Vec<Place> {
    let (mut places, room) = (Vec::new(), Room::new(limits));
    for source in sources {
        places.push(match blobs {
            Some(blobs) if is_parcel(source) => match unpack(source, limits, &room, blobs).await {
                Ok(parcel) => Place::Arrived(parcel),
                Err(error) => Place::Refused(source.clone(), error),
            },
            Some(_) if !is_url(source) => {
                Place::Refused(source.clone(), SourceError::Elsewhere { path: source.clone() })
            }
            _ => Place::Here(source.clone()),
        });
    }
    places
}

/// Bytes of text in documents.
fn text(documents: &[Document]) -> u64 {
    documents.iter().flat_map(|document| &document.passages).map(|passage| passage.text.len() as u64).sum()
}
