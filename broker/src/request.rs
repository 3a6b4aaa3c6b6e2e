//! The correlation table: which answer belongs to which ask.
//!
//! Every ask takes a number that is never used again and a slot under it; an answer takes the slot away. So an ask ends
//! in one answer or none, never in another's, and whatever comes late, twice or from nowhere finds no slot: it is
//! dropped and counted.
//!
//! # Cancellation
//! Dropping a [`Pending`] gives its slot back; the answer then counts as late.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, Result};
use crate::payload::Payload;

/// The asks that wait for an answer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Table(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Payload>>>>,
    answered: AtomicU64,
    late: AtomicU64,
}

/// An ask that waits for its answer.
#[derive(Debug)]
pub struct Pending {
    number: u64,
    answer: oneshot::Receiver<Result<Payload>>,
    table: Table,
    here: Here,
}

/// The end that whoever asked keeps. Dropped, it tells the other end that nobody waits any more.
///
/// Every ask has a pair of these, so it is the smallest thing that can be both looked at and waited for: a semaphore
/// without permits, which closes.
#[derive(Debug)]
pub struct Here(Arc<Semaphore>);

/// The end that goes with the question. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Asker(Arc<Semaphore>);

impl Default for Here {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Here {
    /// The other end.
    pub fn asker(&self) -> Asker {
        Asker(self.0.clone())
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Asker {
    /// Whether somebody still waits.
    pub fn waits(&self) -> bool {
        !self.0.is_closed()
    }

    /// Resolves when nobody waits any more.
    pub async fn gone(&self) {
        // There is never a permit to be had, so this ends in one way only.
        let _ = self.0.acquire().await;
    }
}

impl Table {
    /// Opens a slot under a fresh number.
    pub fn open(&self) -> Pending {
        let number = self.0.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (send, answer) = oneshot::channel();
        self.waiting().insert(number, send);
        Pending { number, answer, table: self.clone(), here: Here::default() }
    }

    /// Gives an answer to whoever asked under `number`; whether somebody still waited for it.
    pub fn answer(&self, number: u64, answer: Result<Payload>) -> bool {
        let slot = self.waiting().remove(&number);
        let reached = slot.is_some_and(|slot| slot.send(answer).is_ok());
        let count = if reached { &self.0.answered } else { &self.0.late };
        count.fetch_add(1, Ordering::Relaxed);
        reached
    }

    /// Answers that reached their asker.
    pub fn answered(&self) -> u64 {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// Answers that found nobody: late, second, or to a number that was never given.
    pub fn late(&self) -> u64 {
        self.0.late.load(Ordering::Relaxed)
    }

    /// How many asks wait.
    pub fn waiting_now(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<Payload>>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// The number that the answer has to carry.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Tells when the asker no longer waits, answered or not.
    pub fn asker(&self) -> Asker {
        self.here.asker()
    }
}

impl Future for Pending {
    type Output = Result<Payload>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|answered| {
            // The slot holds the only sender and is given up only with an answer or with this future.
            answered.unwrap_or_else(|_| Err(Error::unavailable("the correlation table was dropped")))
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.table.waiting().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(n: u64) -> Payload {
        Payload::of(n)
    }

    #[tokio::test]
    async fn a_slot_that_was_given_up_makes_its_answer_late() {
        let table = Table::default();
        let (kept, dropped) = (table.open(), table.open());
        let asker = dropped.asker();
        assert!(asker.waits());
        let gone = dropped.number();
        drop(dropped);
        asker.gone().await;
        assert!(!asker.waits());
        assert!(!table.answer(gone, Ok(number(1))));
        assert!(table.answer(kept.number(), Ok(number(2))));
        assert_eq!(kept.await.unwrap(), number(2));
        assert_eq!((table.answered(), table.late(), table.waiting_now()), (1, 1, 0));
    }

    proptest! {
        /// Answers in any order, some twice, some to numbers that nobody has, some to askers that have gone: everyone
        /// who still waits gets their own, and every other answer is counted.
        #[test]
        fn whatever_the_order_nobody_gets_anothers_answer(
            asks in 1..40_usize,
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            answers in prop::collection::vec((0..60_u64, any::<bool>()), 0..120),
        ) {
            let table = Table::default();
            let mut pending: Vec<Option<Pending>> = (0..asks).map(|_| Some(table.open())).collect();
            for index in gone {
                pending[index.index(asks)] = None;
            }
            let sent: u64 = answers.iter().map(|(n, twice)| {
                table.answer(*n, Ok(number(*n)));
                if *twice { table.answer(*n, Ok(number(0))); }
                1 + u64::from(*twice)
            }).sum();
            prop_assert_eq!(table.answered() + table.late(), sent);
            let mut got = 0;
            for mut ask in pending.into_iter().flatten() {
                if let Ok(answer) = ask.answer.try_recv() {
                    got += 1;
                    prop_assert_eq!(answer.unwrap(), number(ask.number()));
                }
            }
            prop_assert_eq!(got, table.answered());
        }
    }
}
