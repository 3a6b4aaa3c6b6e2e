//! Wakes the writer for what time alone brings: lapsed claims, deadlines, delays, waits that are over.

use std::future::pending;

use tokio::sync::watch;

use super::writer::WeakWriter;
use crate::clock::{Clock, Millis};

/// Beats whenever the time in `due` has come, until the store is closed.
pub(super) async fn beat(mut due: watch::Receiver<Option<Millis>>, clock: Clock, writer: WeakWriter) {
    loop {
        let at = *due.borrow_and_update();
        let come = async {
            match at {
                Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = due.changed() => if changed.is_err() { return },
            () = come => {
                let Some(woken) = writer.upgrade().map(|writer| writer.wake()) else { return };
                if woken.await.is_err() {
                    return;
                }
            }
        }
    }
}
