use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// One request at a time per state, in the order in which they came.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<Turn<()>>>>);

impl Turns {
    /// Waits until no other request works on this state. The turn lasts as long as what is returned.
    pub(super) async fn wait(&self, state: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // What nobody holds or waits for is forgotten, so the map is as large as the work in hand.
            turns.retain(|_, turn| turn.strong_count() > 0);
            turns.get(state).and_then(Weak::upgrade).unwrap_or_else(|| {
                let turn = Arc::new(Turn::new(()));
                turns.insert(state.into(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}
