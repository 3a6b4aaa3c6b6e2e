//! Futures that go on while nobody polls who waits for them.

use std::future::{Future, pending, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::task::{Context, Poll};

use tokio::task::JoinSet;
use tracing::Instrument;

/// Runs a future by itself and waits for it. Dropped, it drops that too, at once unless it is being polled.
///
/// For whatever holds a place that others wait for. A handler may leave one of its calls alone to see to another (a loop
/// over a group does so at every turn), and a place that was handed to a call that nobody polls would hold up that other
/// one: also what it takes is taken, used and given back in here.
///
/// What is ready is ready, and calls begin in the order in which they are made: it is polled once where it is called.
pub(crate) async fn apart<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let mut future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future.in_current_span());
    if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        return done;
    }
    let kept = Kept(Arc::new(Mutex::new(Some(future))));
    let (mut alone, inner) = (JoinSet::new(), kept.0.clone());
    alone.spawn(poll_fn(move |cx| polled(&inner, cx)));
    match alone.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(ended)) if ended.is_panic() => resume_unwind(ended.into_panic()),
        // The process is about to end.
        _ => pending().await,
    }
}

type Shared<T> = Arc<Mutex<Option<Pin<Box<dyn Future<Output = T> + Send>>>>>;

fn polled<T>(of: &Shared<T>, cx: &mut Context<'_>) -> Poll<T> {
    let mut future = of.lock().unwrap_or_else(PoisonError::into_inner);
    // Who waited for it took it away, and ends this as well.
    let Some(running) = future.as_mut() else { return Poll::Pending };
    let polled = running.as_mut().poll(cx);
    if polled.is_ready() {
        *future = None;
    }
    polled
}

/// A future that ends with whoever waits for it, and not only when its own task is polled again.
struct Kept<T>(Shared<T>);

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        let left = match self.0.try_lock() {
            Ok(mut future) => future.take(),
            Err(TryLockError::Poisoned(future)) => future.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use std::time::Duration;

    use tokio::sync::Mutex;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_place_that_nobody_polls_for_is_given_back_and_one_who_leaves_ends_it() {
        let line = Arc::new(Mutex::new(0));
        let one_more = |line: Arc<Mutex<u32>>| apart(async move { *line.lock().await += 1 });
        let held = line.clone().lock_owned().await;
        let mut left_alone = Box::pin(one_more(line.clone()));
        timeout(SOON, &mut left_alone).await.unwrap_err();
        timeout(SOON, one_more(line.clone())).await.unwrap_err();
        drop(held);
        timeout(SOON, one_more(line.clone())).await.unwrap();
        assert_eq!(*line.lock().await, 2, "who was left alone, and the last");
        timeout(SOON, left_alone).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_ends_it_there_and_then() {
        let held = Arc::new(());
        let inner = held.clone();
        let mut left = Box::pin(apart(async move {
            let _inner = inner;
            pending::<()>().await;
        }));
        timeout(SOON, &mut left).await.unwrap_err();
        assert_eq!(Arc::strong_count(&held), 2);
        drop(left);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn calls_begin_in_the_order_in_which_they_are_made() {
        let order = Mutex::new(Vec::new()).into();
        let call = |n: usize, order: &Arc<Mutex<Vec<usize>>>| {
            let order = order.clone();
            apart(async move {
                order.lock().await.push(n);
                tokio::task::yield_now().await;
            })
        };
        tokio::join!(call(1, &order), call(2, &order), call(3, &order));
        assert_eq!(*order.lock().await, [1, 2, 3]);
    }

    #[tokio::test]
    #[should_panic(expected = "as it was")]
    async fn a_panic_is_that_of_who_waits() {
        apart(async {
            tokio::task::yield_now().await;
            panic!("as it was")
        })
        .await;
    }
}
