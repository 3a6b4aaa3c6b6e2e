//! The places of the children of one request that are queued or at work at a time.
//!
//! A handler may leave some of its calls alone to see to another. So nobody is handed a place: who waits for one is told
//! that there is one and takes it when it is polled, and when it is not, the next one is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How long one who was told of a place may take before the next is told too.
const NEXT: Duration = Duration::from_millis(1);

/// The places of one request.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    freed: Notify,
    waiting: AtomicUsize,
}

/// A place, given back on drop.
#[derive(Debug)]
pub(super) struct Taken {
    held: Option<OwnedSemaphorePermit>,
    of: Arc<Places>,
}

impl Places {
    pub(super) fn new(n: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(n)), freed: Notify::new(), waiting: AtomicUsize::new(0) })
    }

    /// Waits for a place. Who waits longest is told first, and whoever then takes too long waits anew; who comes while one
    /// is free takes it.
    pub(super) async fn take(self: &Arc<Self>) -> Taken {
        if let Some(taken) = self.try_take() {
            return taken;
        }
        let _waits = Waits::begin(self);
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Registered before the look, or a change between the two would be missed.
            freed.as_mut().enable();
            if let Some(taken) = self.try_take() {
                return taken;
            }
            freed.await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Taken> {
        let held = self.free.clone().try_acquire_owned().ok()?;
        Some(Taken { held: Some(held), of: self.clone() })
    }

    fn offer(self: &Arc<Self>) {
        // With the one after `begin`: one of the two sees what the other did.
        fence(Ordering::SeqCst);
        let waiting = self.waiting.load(Ordering::Acquire);
        if waiting == 0 {
            return;
        }
        self.freed.notify_one();
        let Ok(runtime) = Handle::try_current() else { return };
        let places = self.clone();
        runtime.spawn(async move {
            for _ in 1..waiting {
                tokio::time::sleep(NEXT).await;
                if places.free.available_permits() == 0 {
                    return;
                }
                places.freed.notify_one();
            }
        });
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.held = None;
        self.of.offer();
    }
}

/// One who waits.
struct Waits<'a>(&'a Places);

impl<'a> Waits<'a> {
    fn begin(of: &'a Places) -> Self {
        of.waiting.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        Self(of)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn a_place_goes_to_who_is_polled_though_others_stand_before() {
        let places = Places::new(1);
        let held = places.take().await;
        let mut left_alone: Vec<_> = (0..3).map(|_| Box::pin(places.take())).collect();
        for one in &mut left_alone {
            timeout(SOON, one).await.unwrap_err();
        }
        let polled = tokio::spawn({
            let places = places.clone();
            async move { drop(places.take().await) }
        });
        tokio::task::yield_now().await;
        drop(held);
        timeout(SOON, polled).await.expect("it is told in the end").unwrap();
        let newcomer = timeout(SOON, places.take()).await.expect("it is free");
        let first = timeout(SOON, &mut left_alone[0]).await;
        assert!(first.is_err(), "and now it is not");
        drop(newcomer);
        for one in left_alone {
            drop(timeout(SOON, one).await.expect("each in the end"));
        }
        assert_eq!((places.free.available_permits(), places.waiting.load(Ordering::Acquire)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_wait_get_one_each_in_the_order_in_which_they_came() {
        let places = Places::new(2);
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let all: Vec<_> = (0..100)
            .map(|n| {
                let (places, order) = (places.clone(), order.clone());
                tokio::spawn(async move {
                    let _place = places.take().await;
                    order.lock().unwrap().push(n);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    }
}
