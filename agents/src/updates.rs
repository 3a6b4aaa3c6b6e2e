//! A stream that can be read with `.next().await` and no other crate.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

/// Things as they happen. Also a `futures_core::Stream`, for those who want its combinators.
///
/// # Cancellation
/// Dropping the future of [`next`](Updates::next) loses nothing; dropping the whole ends the subscription.
#[must_use = "updates do nothing until they are read"]
pub struct Updates<T>(Pin<Box<dyn Stream<Item = T> + Send>>);

impl<T> Updates<T> {
    /// The items of a stream.
    pub fn of(stream: impl Stream<Item = T> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// The next item; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl<T: 'static> Updates<T> {
    /// The items that `step` makes, each from what it left behind with the one before; `None` ends.
    pub fn unfold<S, F, Fut>(seed: S, step: F) -> Self
    where
        S: Send + 'static,
        F: FnMut(S) -> Fut + Send + 'static,
        Fut: Future<Output = Option<(T, S)>> + Send + 'static,
    {
        Self::of(Unfold { seed: Some(seed), step, busy: None })
    }
}

impl<T> Stream for Updates<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<T> fmt::Debug for Updates<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Updates")
    }
}

struct Unfold<S, F, Fut> {
    seed: Option<S>,
    step: F,
    busy: Option<Pin<Box<Fut>>>,
}

// Nothing in it is pinned in place: the one future is behind a pointer of its own.
impl<S, F, Fut> Unpin for Unfold<S, F, Fut> {}

impl<T, S, F, Fut> Stream for Unfold<S, F, Fut>
where
    F: FnMut(S) -> Fut,
    Fut: Future<Output = Option<(T, S)>>,
{
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        if let Some(seed) = this.seed.take() {
            this.busy = Some(Box::pin((this.step)(seed)));
        }
        let Some(busy) = &mut this.busy else { return Poll::Ready(None) };
        let made = ready!(busy.as_mut().poll(cx));
        this.busy = None;
        Poll::Ready(made.map(|(item, seed)| {
            this.seed = Some(seed);
            item
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_three() -> Updates<u32> {
        Updates::unfold(1, |n| async move {
            tokio::task::yield_now().await;
            (n <= 3).then_some((n, n + 1))
        })
    }

    #[tokio::test]
    async fn it_ends_once_and_stays_ended() {
        let mut updates = to_three();
        for expected in [Some(1), Some(2), Some(3), None, None] {
            assert_eq!(updates.next().await, expected);
        }
    }

    #[tokio::test]
    async fn a_dropped_next_loses_nothing() {
        let mut updates = to_three();
        // Polled once, it is in the middle of making the first item.
        tokio::select! {
            biased;
            _ = updates.next() => panic!("the first poll is pending"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(updates.next().await, Some(1));
    }
}
