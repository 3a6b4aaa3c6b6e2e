//! What a pool has done and is doing, readable without asking it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use callboard_broker::error::{Error, Result};
use serde::Serialize;

/// Buckets of the latency histogram: each is 1.25 times as wide as the one before, from 1 ms to beyond a day.
const BUCKETS: usize = 84;
const GROWTH: f64 = 1.25;

/// Counters of one pool, or of a whole node.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    running: AtomicUsize,
    done: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    retried: AtomicU64,
    refused: AtomicU64,
    latency: Mutex<Histogram>,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a response.
    Done,
    /// With a failure that is final.
    Failed,
    /// With a failure after which another attempt is due.
    Retried,
    /// Neither: it was cancelled, declined or handed back.
    Withdrawn,
}

impl Ended {
    /// In a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "completed",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// One reading of the counters of a pool or a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Reading {
    /// Requests at work, waiting parents included.
    pub running: usize,
    /// Requests that ended with a response.
    pub done: u64,
    /// Requests that ended with a final failure.
    pub failed: u64,
    /// Requests whose handler panicked.
    pub panicked: u64,
    /// Attempts after which another one was due.
    pub retried: u64,
    /// Writes of attempts that were refused because another attempt had taken over; of a whole node only.
    pub refused: u64,
    /// Half of the requests took at most so long, in milliseconds; none before the first.
    pub p50_ms: Option<f64>,
    /// 95 of 100 requests took at most so long, in milliseconds.
    pub p95_ms: Option<f64>,
}

impl Stats {
    /// A request begins; it is at work until the guard is dropped.
    pub(crate) fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(self)
    }

    /// A request has ended.
    pub(crate) fn ended(&self, how: Ended, took: Duration) {
        match how {
            Ended::Done => self.done.fetch_add(1, Ordering::Relaxed),
            Ended::Failed => self.failed.fetch_add(1, Ordering::Relaxed),
            Ended::Retried => self.retried.fetch_add(1, Ordering::Relaxed),
            Ended::Withdrawn => return,
        };
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).add(took);
    }

    /// A handler has panicked.
    pub(crate) fn panicked(&self) {
        self.panicked.fetch_add(1, Ordering::Relaxed);
    }

    /// A write of an attempt has ended so; it counts when the claim was not the attempt's any more.
    pub(crate) fn written<T>(&self, how: &Result<T>) {
        if let Err(Error::Replaced) = how {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters now.
    pub(crate) fn read(&self) -> Reading {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        Reading {
            running: self.running.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            p50_ms: latency.quantile(0.50),
            p95_ms: latency.quantile(0.95),
        }
    }
}

/// A request at work.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Stats);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Latencies in buckets of constant ratio: bounded memory, quantiles within 12 %.
#[derive(Debug)]
struct Histogram {
    counts: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let ms = took.as_secs_f64() * 1e3;
        let bucket = if ms <= 1.0 { 0 } else { (ms.ln() / GROWTH.ln()).ceil().min((BUCKETS - 1) as f64) as usize };
        self.counts[bucket] += 1;
    }

    fn quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.counts.iter().sum();
        let rank = ((total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|n| {
            seen += n;
            seen >= rank
        })?;
        // The middle of the bucket, in the logarithmic sense.
        Some(if bucket == 0 { 1.0 } else { GROWTH.powf(bucket as f64 - 0.5) })
    }
}

/// The exact quantile of a handful of values, by the nearest rank; none of none.
pub fn quantile(sorted: &[u64], q: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_an_eighth_of_the_truth() {
        let stats = Stats::default();
        for ms in 1..=1000 {
            stats.ended(Ended::Done, Duration::from_millis(ms));
        }
        let read = stats.read();
        for (got, want) in [(read.p50_ms.unwrap(), 500.0), (read.p95_ms.unwrap(), 950.0)] {
            assert!((got / want - 1.0).abs() < 0.125, "{got} for {want}");
        }
        assert_eq!((read.done, read.running), (1000, 0));
    }

    #[test]
    fn nothing_has_no_quantile_and_what_was_withdrawn_does_not_count() {
        let stats = Stats::default();
        stats.ended(Ended::Withdrawn, Duration::from_secs(9));
        assert_eq!(stats.read(), Reading::default());
        assert_eq!(quantile(&[], 0.95), None);
        assert_eq!(quantile(&[4], 0.95), Some(4));
        assert_eq!(quantile(&[1, 2, 3, 4], 0.5), Some(2));
    }

    #[test]
    fn a_request_is_running_until_its_guard_goes() {
        let stats = Stats::default();
        let guard = stats.begin();
        assert_eq!(stats.read().running, 1);
        drop(guard);
        assert_eq!(stats.read().running, 0);
    }
}
