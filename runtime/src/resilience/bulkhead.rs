//! Bulkheads: how many asks for one capability a node has under way at a time, so that one that is slow takes only what is
//! behind its own wall, and those behind the others go on.
//!
//! Who finds all places taken waits in order, until its ask's deadline at most. Only asks that hang on no other ask need a
//! place: who had one and waited for a second could wait for somebody who does the same, for ever.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use callboard_broker::subject::CapabilityName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Asks for one capability that a node has under way at a time, unless it is told otherwise.
pub const AT_ONCE: usize = 10;
/// Asks that wait for a place for one capability; of more, each is refused at once.
pub const WAITING: usize = 1_024;
/// When whoever was refused should come again.
const AGAIN: Duration = Duration::from_millis(100);
/// Capabilities that a node keeps apart; of more, those that nobody uses at the moment are forgotten.
const WALLS: usize = 1_000;

/// How many asks a node may have under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bulkhead {
    /// For each capability. Default [`AT_ONCE`].
    pub at_once: Option<usize>,
    /// For one of them.
    pub of: BTreeMap<CapabilityName, usize>,
}

impl Bulkhead {
    /// How many for this capability, at least one.
    pub fn of(&self, capability: &CapabilityName) -> usize {
        self.of.get(capability).copied().or(self.at_once).unwrap_or(AT_ONCE).clamp(1, Semaphore::MAX_PERMITS)
    }
}

/// The bulkheads of one node.
#[derive(Debug, Default)]
pub(crate) struct Bulkheads {
    limits: Bulkhead,
    rooms: Mutex<HashMap<CapabilityName, Arc<Room>>>,
}

#[derive(Debug)]
struct Room {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A place behind the wall, given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    _room: Arc<Room>,
}

impl Bulkheads {
    pub(crate) fn new(limits: Bulkhead) -> Self {
        Self { limits, rooms: Mutex::default() }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// `Busy` when too many wait already, `Deadline` when there was none in time. Nothing was asked.
    pub(crate) async fn enter(&self, capability: &CapabilityName, deadline: Instant) -> Result<Place> {
        let room = self.room(capability);
        let places = room.places.clone();
        let place = match places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let _waits = Waits::begin(&room, capability)?;
                let limit = deadline.saturating_duration_since(Instant::now());
                let late =
                    || Error::Deadline { to: format!("a place behind the bulkhead of {capability}").into(), limit };
                let place = tokio::time::timeout_at(deadline, places.acquire_owned()).await.map_err(|_| late())?;
                // It is never closed.
                place.map_err(|closed| Error::unavailable(closed.to_string()))?
            }
        };
        Ok(Place { _place: place, _room: room })
    }

    fn room(&self, capability: &CapabilityName) -> Arc<Room> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(capability) {
            return room.clone();
        }
        if rooms.len() >= WALLS {
            rooms.retain(|_, room| Arc::strong_count(room) > 1);
        }
        let places = Arc::new(Semaphore::new(self.limits.of(capability)));
        let room = Arc::new(Room { places, waiting: AtomicUsize::new(0) });
        rooms.insert(capability.clone(), room.clone());
        room
    }
}

/// One who waits for a place.
struct Waits<'a>(&'a Room);

impl<'a> Waits<'a> {
    fn begin(room: &'a Room, capability: &CapabilityName) -> Result<Self> {
        let waits = Self(room);
        if room.waiting.fetch_add(1, Ordering::AcqRel) >= WAITING {
            return Err(Error::Busy { to: format!("the bulkhead of {capability}").into(), retry_after: AGAIN });
        }
        Ok(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> CapabilityName {
        CapabilityName::parse(text).unwrap()
    }

    fn soon(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn ten_pass_and_the_eleventh_waits_in_order_until_its_deadline() {
        let (web, files) = (name("research.web"), name("research.files"));
        let limits = Bulkhead { of: [(files.clone(), 2)].into(), ..Bulkhead::default() };
        for (limits, capability, passes) in [
            (Bulkhead::default(), &web, 10),
            (Bulkhead { at_once: Some(3), ..Bulkhead::default() }, &web, 3),
            (limits.clone(), &files, 2),
            (limits, &web, 10),
            (Bulkhead { at_once: Some(0), ..Bulkhead::default() }, &web, 1),
        ] {
            let bulkheads = Bulkheads::new(limits);
            let mut places = Vec::new();
            for _ in 0..passes {
                places.push(bulkheads.enter(capability, Instant::now()).await.unwrap());
            }
            let began = Instant::now();
            let late = bulkheads.enter(capability, soon(700)).await.unwrap_err();
            assert!(matches!(late, Error::Deadline { .. }), "{late}");
            assert_eq!(began.elapsed(), Duration::from_millis(700));
            let (one, two) = (bulkheads.enter(capability, soon(700)), bulkheads.enter(capability, soon(700)));
            let (mut one, mut two) = (Box::pin(one), Box::pin(two));
            assert!(futures_pending(&mut one).await && futures_pending(&mut two).await);
            places.pop();
            assert!(futures_pending(&mut two).await, "the first in the line is first");
            drop(one.await.unwrap());
            two.await.unwrap();
        }
    }

    async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
        tokio::select! {
            biased;
            _ = future => false,
            () = std::future::ready(()) => true,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_full_does_not_stop_others_and_the_line_is_bounded() {
        let bulkheads = Arc::new(Bulkheads::new(Bulkhead { at_once: Some(1), ..Bulkhead::default() }));
        let full = name("full");
        let _place = bulkheads.enter(&full, Instant::now()).await.unwrap();
        bulkheads.enter(&name("other"), Instant::now()).await.unwrap();
        let line: Vec<_> = (0..WAITING)
            .map(|_| {
                let (bulkheads, full) = (bulkheads.clone(), full.clone());
                tokio::spawn(async move { bulkheads.enter(&full, soon(60_000)).await.map(drop) })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let refused = bulkheads.enter(&full, soon(60_000)).await.unwrap_err();
        assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        line.into_iter().for_each(|one| one.abort());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(
            matches!(bulkheads.enter(&full, soon(10)).await, Err(Error::Deadline { .. })),
            "the line is short again"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_walls_that_are_kept_are_bounded_and_those_in_use_stay() {
        let bulkheads = Bulkheads::new(Bulkhead { at_once: Some(1), ..Bulkhead::default() });
        let _place = bulkheads.enter(&name("used"), Instant::now()).await.unwrap();
        for n in 0..3 * WALLS {
            bulkheads.enter(&name(&format!("n{n}")), Instant::now()).await.unwrap();
        }
        assert!(bulkheads.rooms.lock().unwrap().len() <= WALLS);
        assert!(bulkheads.enter(&name("used"), Instant::now()).await.is_err());
    }
}
