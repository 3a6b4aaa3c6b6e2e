use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use callboard_broker::BoxFuture;

/// Futures of which a bounded number is polled at a time, in the order they came.
pub(super) struct Pool<T> {
    waiting: VecDeque<(usize, BoxFuture<'static, T>)>,
    running: Vec<(usize, BoxFuture<'static, T>)>,
    limit: usize,
    added: usize,
}

/// What was in a pool when it was stopped, by place.
pub(super) struct Stopped<T> {
    pub(super) ended: Vec<(usize, T)>,
    pub(super) cut_off: Vec<usize>,
    pub(super) not_begun: Vec<usize>,
}

/// How far one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    NotBegun,
    /// What it begins may or may not be there yet.
    UnderWay,
    AtWork,
}

impl<T> Pool<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { waiting: VecDeque::new(), running: Vec::new(), limit, added: 0 }
    }

    pub(super) fn at_most(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    pub(super) fn add(&mut self, future: BoxFuture<'static, T>) {
        self.waiting.push_back((self.added, future));
        self.added += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// The next one to end, with its place in the order of adding; `None` when none is left.
    pub(super) async fn next(&mut self) -> Option<(usize, T)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Begins nothing more, and drops all that `at`, by its place, says is not begun or at work. What is under way is
    /// polled until it no longer is.
    pub(super) async fn stop(&mut self, at: impl Fn(usize) -> Stage) -> Stopped<T> {
        let waiting = std::mem::take(&mut self.waiting);
        let (begun, not_begun): (Vec<_>, Vec<_>) =
            self.running.drain(..).partition(|(place, _)| at(*place) != Stage::NotBegun);
        self.running = begun;
        let not_begun = not_begun.into_iter().chain(waiting).map(|(place, _)| place).collect();
        let mut stopped = Stopped { ended: Vec::new(), cut_off: Vec::new(), not_begun };
        poll_fn(|cx| {
            for (place, mut future) in std::mem::take(&mut self.running) {
                match future.as_mut().poll(cx) {
                    Poll::Ready(done) => stopped.ended.push((place, done)),
                    Poll::Pending if at(place) == Stage::UnderWay => self.running.push((place, future)),
                    Poll::Pending => stopped.cut_off.push(place),
                }
            }
            if self.running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        stopped
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, T)>> {
        while self.running.len() < self.limit
            && let Some(next) = self.waiting.pop_front()
        {
            self.running.push(next);
        }
        // All are polled at each wake: the bound keeps that cheap beside what a child costs.
        for i in 0..self.running.len() {
            if let Poll::Ready(done) = self.running[i].1.as_mut().poll(cx) {
                let (place, _) = self.running.remove(i);
                return Poll::Ready(Some((place, done)));
            }
        }
        if self.running.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}
