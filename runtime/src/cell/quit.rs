//! What a node or a cell is told to do with what it has at work, and who waits to be told.
//!
//! Not a `watch` channel, which wakes those who wait in an order of chance: here they are told in the order in which they
//! began to wait, so that a drain in a simulation comes again.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// What a cell is told to do with what it has at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quit {
    /// Go on.
    #[default]
    No,
    /// Take nothing new, finish what is at work.
    Finish,
    /// Take nothing new, give back what is at work.
    HandBack,
}

/// Tells. Once it has gone, everybody is told the most.
#[derive(Debug, Default)]
pub(crate) struct Teller(Told);

/// Is told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<(Mutex<Quit>, Notify)>);

impl Teller {
    /// From now on at least this.
    pub(crate) fn tell(&self, quit: Quit) {
        let (told, waiting) = &*self.0.0;
        {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            *told = quit.max(*told);
        }
        waiting.notify_waiters();
    }

    /// Somebody who is told.
    pub(crate) fn told(&self) -> Told {
        self.0.clone()
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(Quit::HandBack);
    }
}

impl Told {
    /// What was told so far.
    pub(crate) fn so_far(&self) -> Quit {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when it is told as much. Cancel safe.
    pub(crate) async fn until(&self, at_least: Quit) {
        loop {
            let mut next = pin!(self.0.1.notified());
            next.as_mut().enable();
            if self.so_far() >= at_least {
                return;
            }
            next.await;
        }
    }
}

/// What a node and one of its cells are told; a request goes by whichever is more.
#[derive(Clone)]
pub(crate) struct Quits {
    pub(crate) node: Told,
    pub(crate) cell: Told,
}

impl Quits {
    /// Resolves when either is told as much. Cancel safe.
    pub(crate) async fn until(&self, at_least: Quit) {
        tokio::select! {
            biased;
            () = self.node.until(at_least) => {}
            () = self.cell.until(at_least) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_is_told_in_order_and_nothing_is_taken_back() {
        let (teller, order) = (Teller::default(), Arc::new(Mutex::new(Vec::new())));
        let mut waiting = tokio::task::JoinSet::new();
        for n in 0..20 {
            let (told, order) = (teller.told(), order.clone());
            waiting.spawn(async move {
                told.until(Quit::Finish).await;
                order.lock().unwrap().push(n);
            });
        }
        tokio::task::yield_now().await;
        teller.tell(Quit::HandBack);
        teller.tell(Quit::Finish);
        waiting.join_all().await;
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(teller.told().so_far(), Quit::HandBack);
    }

    #[tokio::test]
    async fn who_waits_for_a_teller_that_has_gone_is_told() {
        let told = Teller::default().told();
        told.until(Quit::HandBack).await;
    }
}
