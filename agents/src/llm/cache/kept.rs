//! Which answers are kept: pure, with the time passed in.
//!
//! The one with the fewest hits goes first, a new one starts at one hit and is always let in. Caches of the shelf let a new
//! entry in only when it was asked for more often than the one that it would push out; among questions that come a few
//! times each, that turns away what is about to be asked again.

use std::collections::{BTreeSet, HashMap};

use callboard_broker::clock::Millis;

use super::CacheKey;

/// Values by key, at most so many and none older than so long.
#[derive(Debug)]
pub(super) struct Kept<V> {
    limit: usize,
    keep: Millis,
    entries: HashMap<CacheKey, Entry<V>>,
    /// By hits, then by age.
    by_hits: BTreeSet<(u64, Born, CacheKey)>,
    by_age: BTreeSet<(Born, CacheKey)>,
    born: u64,
}

/// When the answer was given, and which of those that were let in it is.
type Born = (Millis, u64);

#[derive(Debug)]
struct Entry<V> {
    value: V,
    hits: u64,
    born: Born,
}

impl<V> Kept<V> {
    /// At least one.
    pub(super) fn new(limit: usize, keep: Millis) -> Self {
        let (entries, by_hits, by_age) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { limit: limit.max(1), keep, entries, by_hits, by_age, born: 0 }
    }

    /// What is kept under a key, and how often it was found, this time included.
    pub(super) fn find(&mut self, key: &CacheKey, now: Millis) -> Option<(&V, u64)> {
        if is_over(self.entries.get(key)?.born.0, self.keep, now) {
            self.remove(key);
            return None;
        }
        let entry = self.entries.get_mut(key)?;
        self.by_hits.remove(&(entry.hits, entry.born, *key));
        entry.hits += 1;
        self.by_hits.insert((entry.hits, entry.born, *key));
        Some((&entry.value, entry.hits))
    }

    /// Keeps a value that was made at `at`. What is too old goes, then what was found least.
    pub(super) fn put(&mut self, key: CacheKey, value: V, at: Millis, now: Millis) {
        self.remove(&key);
        while let Some((born, oldest)) = self.by_age.first().copied()
            && is_over(born.0, self.keep, now)
        {
            self.remove(&oldest);
        }
        while self.entries.len() >= self.limit
            && let Some((_, _, least)) = self.by_hits.first().copied()
        {
            self.remove(&least);
        }
        self.born += 1;
        let born = (at, self.born);
        self.by_hits.insert((1, born, key));
        self.by_age.insert((born, key));
        self.entries.insert(key, Entry { value, hits: 1, born });
    }

    /// Lets go of it.
    pub(super) fn remove(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_hits.remove(&(entry.hits, entry.born, *key));
            self.by_age.remove(&(entry.born, *key));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Whether something that was made then is too old.
pub(super) fn is_over(at: Millis, keep: Millis, now: Millis) -> bool {
    now.saturating_sub(at) >= keep
}

/// Which of these, each with its hits and when it was made, have to go so that no more than `limit` stay.
pub(super) fn surplus(entries: &[(u64, Millis)], limit: usize, keep: Millis, now: Millis) -> Vec<usize> {
    let (mut gone, mut rest): (Vec<usize>, Vec<usize>) =
        (0..entries.len()).partition(|at| is_over(entries[*at].1, keep, now));
    rest.sort_by_key(|at| entries[*at]);
    rest.truncate(rest.len().saturating_sub(limit));
    gone.append(&mut rest);
    gone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: Millis = 1_000;

    fn key(n: u8) -> CacheKey {
        CacheKey::of_bytes([n; 32])
    }

    /// The rule in its plainest form: a list in the order in which its entries were let in.
    #[derive(Default)]
    struct Plain(Vec<(u8, u64, Millis)>);

    impl Plain {
        fn find(&mut self, n: u8, now: Millis) -> Option<u64> {
            self.0.retain(|(known, _, at)| *known != n || now.saturating_sub(*at) < KEEP);
            let entry = self.0.iter_mut().find(|(known, ..)| *known == n)?;
            entry.1 += 1;
            Some(entry.1)
        }

        fn put(&mut self, n: u8, now: Millis, limit: usize) {
            self.0.retain(|(known, _, at)| *known != n && now.saturating_sub(*at) < KEEP);
            while self.0.len() >= limit {
                let least = self.0.iter().map(|entry| entry.1).min().unwrap();
                let oldest = self.0.iter().position(|entry| entry.1 == least).unwrap();
                self.0.remove(oldest);
            }
            self.0.push((n, 1, now));
        }
    }

    #[test]
    fn the_one_with_the_fewest_hits_goes_and_a_new_one_is_let_in() {
        let mut kept = Kept::new(3, KEEP);
        (0..3).for_each(|n| kept.put(key(n), n, 0, 0));
        assert_eq!(kept.find(&key(0), 1), Some((&0, 2)));
        assert_eq!(kept.find(&key(2), 1), Some((&2, 2)));
        kept.put(key(9), 9, 2, 2);
        assert!(kept.find(&key(1), 2).is_none(), "it had one hit");
        kept.put(key(8), 8, 3, 3);
        assert!(kept.find(&key(9), 3).is_none(), "the new one has as few as any and is let in all the same");
        assert_eq!(kept.find(&key(8), 3), Some((&8, 2)));
        assert_eq!(kept.len(), 3);
        kept.put(key(7), 7, 4, 4);
        assert!(kept.find(&key(0), 4).is_none(), "of those with equal hits the oldest goes");
    }

    #[test]
    fn what_is_an_hour_old_is_not_found_and_makes_room_first() {
        let mut kept = Kept::new(2, KEEP);
        kept.put(key(0), (), 0, 0);
        (0..9).for_each(|_| assert!(kept.find(&key(0), 10).is_some()));
        kept.put(key(1), (), 500, 500);
        assert!(kept.find(&key(0), 999).is_some() && kept.find(&key(0), 1_000).is_none());
        kept.put(key(0), (), 0, 1_000);
        kept.put(key(2), (), 1_000, 1_000);
        assert!(kept.find(&key(1), 1_000).is_some(), "the one from elsewhere was too old when it came");
    }

    proptest! {
        #[test]
        fn it_keeps_what_the_plain_rule_keeps(
            limit in 1usize..6,
            acts in proptest::collection::vec((0u8..10, any::<bool>(), 0u64..400), 0..200),
        ) {
            let (mut kept, mut plain, mut now) = (Kept::new(limit, KEEP), Plain::default(), 0);
            for (n, puts, later) in acts {
                now += later / 100 * later;
                if puts {
                    kept.put(key(n), n, now, now);
                    plain.put(n, now, limit);
                    prop_assert!(kept.entries.contains_key(&key(n)), "a new one is always let in");
                } else {
                    prop_assert_eq!(kept.find(&key(n), now).map(|(_, hits)| hits), plain.find(n, now));
                }
                let all: std::collections::BTreeSet<_> = kept.entries.keys().copied().collect();
                prop_assert_eq!(all, plain.0.iter().map(|(n, ..)| key(*n)).collect());
                prop_assert!(kept.len() <= limit);
                prop_assert_eq!((kept.by_hits.len(), kept.by_age.len()), (kept.len(), kept.len()));
            }
        }

        #[test]
        fn what_goes_from_a_store_has_the_fewest_hits_and_nothing_old_stays(
            entries in proptest::collection::vec((1u64..5, 0u64..2_000), 0..30), limit in 0usize..10,
        ) {
            let gone = surplus(&entries, limit, KEEP, 2_000);
            let stays: Vec<_> = (0..entries.len()).filter(|at| !gone.contains(at)).collect();
            prop_assert!(stays.len() <= limit && stays.iter().all(|at| entries[*at].1 > 1_000));
            for out in gone.iter().filter(|at| entries[**at].1 > 1_000) {
                prop_assert!(stays.len() == limit && stays.iter().all(|at| entries[*at] >= entries[*out]));
            }
        }
    }
}
