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
    pub(super) waiting: Vec<usize>,
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

    /// Begins nothing more. Polls each that runs until it has ended or `may_go`, then drops all.
    pub(super) async fn stop(&mut self, may_go: impl Fn(usize) -> bool) -> Stopped<T> {
        let waiting = self.waiting.drain(..).map(|(place, _)| place).collect();
        let mut ended = Vec::new();
        poll_fn(|cx| {
            let mut still = Vec::new();
            for (place, mut future) in self.running.drain(..) {
                match future.as_mut().poll(cx) {
                    Poll::Ready(done) => ended.push((place, done)),
                    Poll::Pending => still.push((place, future)),
                }
            }
            self.running = still;
            if self.running.iter().all(|(place, _)| may_go(*place)) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Stopped { ended, cut_off: self.running.drain(..).map(|(place, _)| place).collect(), waiting }
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
