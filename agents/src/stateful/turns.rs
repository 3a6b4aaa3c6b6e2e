use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use callboard_broker::error::Error;
use callboard_broker::lineage::{self, Link};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::host::Host;

/// One request at a time per state, in the order in which they came.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<Seat>>>);

#[derive(Default)]
struct Seat {
    turn: Arc<Turn<()>>,
    /// Whose turn it is.
    by: Mutex<Option<Weak<dyn Host>>>,
}

/// It is somebody's turn, until this is dropped.
pub(super) struct Taken {
    seat: Arc<Seat>,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        *self.seat.by() = None;
    }
}

impl Seat {
    fn by(&self) -> MutexGuard<'_, Option<Weak<dyn Host>>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses who would wait for a request that waits for it: one from which it came. `hops` end with its own.
    fn check(&self, hops: &[Arc<str>]) -> Result<(), Error> {
        let Some(holder) = self.by().as_ref().and_then(Weak::upgrade) else { return Ok(()) };
        let links = |hops: &[Arc<str>]| -> Vec<Link> { hops.iter().filter_map(|hop| Link::of_hop(hop)).collect() };
        let (holder, way) = (links(&holder.chain()).pop(), links(lineage::that_wait(hops)));
        let above = way.len().saturating_sub(1);
        match way[..above].iter().rposition(|link| Some(link) == holder.as_ref()) {
            None => Ok(()),
            Some(at) => {
                let names: Vec<&str> = way[at..].iter().map(|link| link.capability.as_str()).collect();
                Err(Error::Loop { cycle: names.join(" -> ").into() })
            }
        }
    }
}

impl Turns {
    /// Waits until no other request works on this state. The turn lasts as long as what is returned.
    ///
    /// # Errors
    /// `Loop`, at once, when the other one is further up in the chain of this request, and so waits for it.
    pub(super) async fn wait(&self, state: &str, by: Option<&Arc<dyn Host>>) -> Result<Taken, Error> {
        let seat = self.seat(state);
        let turn = match seat.turn.clone().try_lock_owned() {
            Ok(turn) => turn,
            Err(_) => {
                by.map_or(Ok(()), |by| seat.check(&by.chain()))?;
                let _line = by.map(|by| by.in_line());
                seat.turn.clone().lock_owned().await
            }
        };
        *seat.by() = by.map(Arc::downgrade);
        Ok(Taken { seat, _turn: turn })
    }

    /// Whether a request of another node that came over these hops may wait for this state.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub(super) fn check(&self, state: &str, hops: &[Arc<str>]) -> Result<(), Error> {
        let seat = self.lock().get(state).and_then(Weak::upgrade);
        seat.map_or(Ok(()), |seat| seat.check(hops))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(&self, state: &str) -> Arc<Seat> {
        let mut seats = self.lock();
        // What nobody holds or waits for is forgotten, so the map is as large as the work in hand.
        seats.retain(|_, seat| seat.strong_count() > 0);
        seats.get(state).and_then(Weak::upgrade).unwrap_or_else(|| {
            let seat = Arc::new(Seat::default());
            seats.insert(state.into(), Arc::downgrade(&seat));
            seat
        })
    }
}
