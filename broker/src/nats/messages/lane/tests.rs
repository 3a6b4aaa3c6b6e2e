use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::codec::Frame;

const A: u32 = 0xA;
const B: u32 = 0xB;
const HOUR: Duration = Duration::from_secs(3_600);

/// Two lanes that face each other, over a line that may lose frames; `W` is a word.
struct Side {
    lane: Lane<u64>,
    partials: Partials,
    /// What was taken, in order: the kind, and the number in the body.
    taken: Vec<(Kind, u64)>,
    /// The lengths of bodies that were taken.
    sizes: Vec<usize>,
    ended: BTreeMap<u64, End>,
    answered: BTreeMap<u64, u64>,
    out: VecDeque<Vec<u8>>,
}

impl Side {
    fn new(boot: u32, peer: u32, now: Instant) -> Self {
        Self {
            lane: Lane::new(boot, Some(peer), now),
            partials: Partials::default(),
            taken: Vec::new(),
            sizes: Vec::new(),
            ended: BTreeMap::new(),
            answered: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    fn post(&mut self, kind: Kind, word: u64, size: usize, now: Instant) -> Option<u64> {
        let body = [&word.to_le_bytes()[..], &vec![7; size]].concat();
        let post = Post { top: Top::new(kind, 0), deadline: now + HOUR, letter: b"to", body: &body };
        match self.lane.post(post, word, now) {
            Ok((number, _)) => Some(number),
            Err((word, end)) => {
                self.ended.insert(word, end);
                None
            }
        }
    }

    fn posts(&mut self, kind: Kind, words: std::ops::Range<u64>, size: usize, now: Instant) {
        for word in words {
            self.post(kind, word, size, now);
        }
    }

    fn note(&mut self, ended: Vec<(u64, End)>) {
        for (word, end) in ended {
            assert!(self.ended.insert(word, end).is_none(), "{word} ended twice");
            assert!(!self.answered.contains_key(&word), "{word} was answered before it ended");
        }
    }

    /// Puts on the line what may go.
    fn send(&mut self, now: Instant) {
        assert!(self.lane.begin());
        while let Some(next) = self.lane.next(now) {
            self.out.push_back(next.bytes.to_vec());
            self.lane.sent(&next);
        }
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        let frame = Bincode.frame(bytes).unwrap();
        let (heard, ended) = self.lane.hear(&frame.head, now);
        self.note(ended);
        if heard == Heard::New {
            self.take(&frame, now);
        }
        let ended = self.lane.take(&frame.head, heard);
        self.note(ended);
    }

    /// Answers every question with its own word.
    fn take(&mut self, frame: &Frame<'_>, now: Instant) {
        for record in &frame.records {
            let whole = record.top.chunked.then(|| self.partials.finish(record.payload).expect("all pieces"));
            let payload = whole.as_deref().unwrap_or(record.payload);
            match record.top.kind {
                kind @ (Kind::Ask | Kind::Tell) => {
                    let word = u64::from_le_bytes(payload[2..10].try_into().unwrap());
                    self.taken.push((kind, word));
                    self.sizes.push(payload.len());
                    if kind == Kind::Ask {
                        let size = payload.len() - 10;
                        let body = [&word.to_le_bytes()[..], &vec![9; size]].concat();
                        self.lane.answer(Top::new(Kind::Reply, record.top.correlation), &body, now);
                    }
                }
                Kind::Reply => {
                    let said = u64::from_le_bytes(payload[..8].try_into().unwrap());
                    let word = self.lane.answered(record.top.correlation).expect("somebody waits");
                    assert!(self.answered.insert(word, said).is_none());
                }
                Kind::Chunk => self.partials.add(record.top.correlation, record.top.left, record.payload, now),
                _ => {}
            }
        }
    }
}

fn pair() -> (Side, Side, Instant) {
    let now = Instant::now();
    (Side::new(A, B, now), Side::new(B, A, now), now)
}

/// Carries everything there and back until nothing moves.
fn carry(a: &mut Side, b: &mut Side, now: Instant) {
    loop {
        a.send(now);
        b.send(now);
        if a.out.is_empty() && b.out.is_empty() {
            return;
        }
        while let Some(bytes) = a.out.pop_front() {
            b.hear(&bytes, now);
        }
        while let Some(bytes) = b.out.pop_front() {
            a.hear(&bytes, now);
        }
    }
}

#[test]
fn a_question_is_answered_and_a_notification_is_accepted_when_its_frame_is_acknowledged() {
    let (mut a, mut b, now) = pair();
    a.post(Kind::Ask, 1, 10, now);
    a.post(Kind::Tell, 2, 10, now);
    a.send(now);
    assert_eq!(a.out.len(), 1, "one frame");
    carry(&mut a, &mut b, now);
    assert_eq!(b.taken, [(Kind::Ask, 1), (Kind::Tell, 2)]);
    assert_eq!((a.answered.get(&1), a.ended.get(&2)), (Some(&1), Some(&End::Accepted)));
    assert_eq!(a.lane.waiting(), 0);
    assert!(a.lane.is_flushed());
}

#[test]
fn frames_are_filled_to_their_limits() {
    let (mut a, _, now) = pair();
    a.posts(Kind::Ask, 0..200, 100, now);
    a.send(now);
    let records: Vec<usize> = a.out.iter().map(|bytes| Bincode.frame(bytes).unwrap().records.len()).collect();
    assert_eq!(records, [64, 64, 64, 8]);
    a.out.clear();
    a.posts(Kind::Ask, 200..210, 4_000, now);
    a.send(now);
    assert!(a.out.iter().all(|bytes| bytes.len() <= outbox::FRAME), "16 KiB");
    assert_eq!(a.out.len(), 3);
    a.out.clear();
    a.post(Kind::Ask, 210, 50_000, now);
    a.send(now);
    assert_eq!(a.out.iter().map(|bytes| Bincode.frame(bytes).unwrap().records.len()).collect::<Vec<_>>(), [1]);
}

#[test]
fn the_numbers_of_a_frame_are_contiguous_and_its_refusal_fails_exactly_them() {
    let (mut a, mut b, now) = pair();
    a.post(Kind::Ask, 1, 0, now);
    carry(&mut a, &mut b, now);
    a.posts(Kind::Ask, 2..5, 0, now);
    assert!(a.lane.begin());
    let next = a.lane.next(now).unwrap();
    a.lane.sent(&next);
    assert!(a.lane.next(now).is_none());
    assert_eq!((next.first, next.count), (2, 3));
    a.post(Kind::Ask, 5, 0, now);
    let ended = a.lane.unheard(2, 3, now);
    assert!(ended.iter().all(|(_, end)| *end == End::Undelivered));
    let mut words: Vec<u64> = ended.iter().map(|(word, _)| *word).collect();
    words.sort();
    assert_eq!(words, [2, 3, 4]);
    assert!(a.post(Kind::Ask, 6, 0, now).is_none(), "nobody is there");
    assert_eq!(a.ended[&6], End::Undelivered);
    // It was there all along, as far as it knows; what was refused is not asked again, and what waits is.
    b.lane.say(Flags::PING, true);
    carry(&mut a, &mut b, now);
    assert_eq!(b.taken, [(Kind::Ask, 1), (Kind::Ask, 5)]);
}

#[test]
fn a_peer_that_nobody_knows_of_is_gone_after_a_while() {
    let (mut a, _, now) = pair();
    a.post(Kind::Ask, 1, 0, now);
    a.send(now);
    a.post(Kind::Ask, 2, 0, now);
    a.send(now);
    a.post(Kind::Tell, 3, 0, now);
    assert_eq!(a.lane.unheard(2, 1, now).len(), 1);
    let (ended, gone) = a.lane.tick(now + SEARCH);
    assert!(ended.is_empty() && !gone);
    assert!(a.lane.has_work(), "it is looked for");
    let (mut ended, gone) = a.lane.tick(now + GONE_AFTER);
    ended.sort_by_key(|(word, _)| *word);
    assert_eq!(ended, [(1, End::InDoubt), (3, End::Undelivered)]);
    assert!(gone);
}

#[test]
fn what_a_broken_connection_swallowed_is_sent_again_and_taken_once() {
    let (mut a, mut b, now) = pair();
    a.posts(Kind::Ask, 0..100, 0, now);
    a.send(now);
    let second = a.out.pop_back().unwrap();
    a.hear_all(&mut b, now);
    a.lane.hold();
    b.lane.hold();
    a.posts(Kind::Tell, 100..110, 0, now);
    a.send(now);
    assert!(a.out.is_empty(), "nothing goes over a lane that is held");
    assert_eq!(a.lane.unheard(65, 36, now).len(), 0, "the server speaks of a peer that has not come back");
    a.lane.resume(now);
    b.lane.resume(now);
    drop(second);
    carry(&mut a, &mut b, now + KNOCK);
    let words: Vec<u64> = b.taken.iter().map(|(_, word)| *word).collect();
    assert_eq!(words, (0..110).collect::<Vec<_>>(), "all, once, in order");
    assert_eq!((a.answered.len(), a.ended.len()), (100, 10));
}

impl Side {
    fn hear_all(&mut self, other: &mut Side, now: Instant) {
        while let Some(bytes) = self.out.pop_front() {
            other.hear(&bytes, now);
        }
    }
}

#[test]
fn a_lost_tail_is_found_by_the_next_sign() {
    let (mut a, mut b, now) = pair();
    a.post(Kind::Ask, 1, 0, now);
    a.send(now);
    a.out.clear();
    assert!(a.lane.tick(now + SILENCE).0.is_empty());
    carry(&mut a, &mut b, now + SILENCE);
    assert_eq!((a.answered.get(&1), b.taken.len(), b.lane.counts().gaps), (Some(&1), 1, 1));
}

#[test]
fn a_peer_that_begins_anew_has_seen_nothing() {
    let (mut a, mut b, now) = pair();
    a.post(Kind::Ask, 1, 0, now);
    carry(&mut a, &mut b, now);
    a.post(Kind::Ask, 2, 0, now);
    a.post(Kind::Tell, 3, 0, now);
    a.send(now);
    a.out.clear();
    let mut again = Side::new(0xBB, A, now);
    a.post(Kind::Ask, 4, 0, now);
    a.send(now);
    a.hear_all(&mut again, now);
    assert!(again.taken.is_empty(), "it was meant for another incarnation");
    again.send(now);
    again.hear_all(&mut a, now);
    assert_eq!(a.ended.values().collect::<Vec<_>>(), [&End::InDoubt; 3]);
    b.lane.say(Flags::PING, true);
    b.send(now);
    b.hear_all(&mut a, now);
    assert!(a.lane.counts().stale > 0, "the earlier incarnation is not believed");
    a.post(Kind::Ask, 5, 0, now);
    carry(&mut a, &mut again, now);
    assert_eq!((again.taken, a.answered.get(&5)), (vec![(Kind::Ask, 5)], Some(&5)));
}

#[test]
fn a_window_stays_open_while_it_is_acknowledged_and_closes_when_it_is_not() {
    let (mut a, mut b, now) = pair();
    let mut posted = 0;
    // One record a frame.
    for n in 0..400 {
        a.post(Kind::Ask, n, 100, now).unwrap();
        a.send(now);
        posted += 1;
    }
    assert_eq!((posted, a.out.len()), (400, outbox::WINDOW));
    carry(&mut a, &mut b, now);
    assert_eq!(a.answered.len(), 400);
}

#[test]
fn what_waits_is_bounded() {
    let (mut a, _, now) = pair();
    a.lane.hold();
    let taken = (0..20_000).take_while(|n| a.post(Kind::Tell, *n, 0, now).is_some()).count();
    assert_eq!((taken, a.ended.values().next()), (outbox::MAX_WAITING, Some(&End::Full)));
    let (mut a, _, now) = pair();
    a.lane.hold();
    let taken = (0..20_000).take_while(|n| a.post(Kind::Tell, *n, 60_000, now).is_some()).count();
    assert!((130..=140).contains(&taken), "8 MiB: {taken}");
}

#[test]
fn a_deadline_ends_a_question_and_the_peer_is_told() {
    let (mut a, mut b, now) = pair();
    let post = |kind, seconds| Post {
        top: Top::new(kind, 0),
        deadline: now + Duration::from_secs(seconds),
        letter: b"",
        body: b"",
    };
    a.lane.post(post(Kind::Ask, 1), 1, now).unwrap();
    a.send(now);
    a.lane.post(post(Kind::Tell, 1), 2, now).unwrap();
    a.lane.post(post(Kind::Ask, 2), 3, now).unwrap();
    let late = now + Duration::from_millis(1_500);
    let (mut ended, _) = a.lane.tick(late);
    ended.sort_by_key(|(word, _)| *word);
    let limit = Duration::from_secs(1);
    assert_eq!(ended, [(1, End::Deadline(limit, true)), (2, End::Deadline(limit, false))]);
    a.out.clear();
    a.send(late);
    let bytes = a.out.pop_front().unwrap();
    let records = Bincode.frame(&bytes).unwrap().records;
    let told: Vec<_> = records.iter().map(|r| (r.top.kind, r.top.correlation, r.top.left)).collect();
    assert_eq!(told[0], (Kind::Tell, 2, 0), "no time is left");
    assert_eq!(told[1], (Kind::Ask, 3, 500), "the time that is left when it is sent");
    let cancelled: std::collections::BTreeSet<u64> = told[2..]
        .iter()
        .map(|(kind, number, _)| {
            assert_eq!(*kind, Kind::Cancel);
            *number
        })
        .collect();
    assert_eq!(cancelled, [1, 2].into());
    b.lane.drain();
}

#[test]
fn a_large_payload_goes_in_pieces_and_lets_small_ones_pass() {
    let (mut a, mut b, now) = pair();
    let size = (1 << 20) + 123;
    a.post(Kind::Ask, 1, size, now);
    a.post(Kind::Ask, 2, size, now);
    a.send(now);
    assert_eq!(a.out.len(), bulk::IN_FLIGHT);
    assert!(a.out.iter().all(|bytes| bytes.len() < bulk::CHUNK + 128));
    a.post(Kind::Ask, 3, 10, now);
    carry(&mut a, &mut b, now);
    assert_eq!(b.taken.iter().map(|(_, word)| *word).collect::<Vec<_>>(), [3, 1, 2]);
    assert_eq!(b.sizes, [20, size + 10, size + 10]);
    assert_eq!(a.answered.len(), 3);
    assert!(a.lane.is_flushed());
}

#[test]
fn a_denied_lane_fails_all_that_waits_until_the_next_connection() {
    let (mut a, mut b, now) = pair();
    a.post(Kind::Ask, 1, 0, now);
    a.send(now);
    a.out.clear();
    a.post(Kind::Ask, 2, 0, now);
    let ended = a.lane.denied();
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|(_, end)| *end == End::Denied));
    assert!(a.post(Kind::Ask, 3, 0, now).is_none());
    assert_eq!(a.ended[&3], End::Denied);
    a.lane.hold();
    a.lane.resume(now);
    a.post(Kind::Ask, 4, 0, now);
    carry(&mut a, &mut b, now + KNOCK);
    assert_eq!(a.answered.get(&4), Some(&4));
}

#[test]
fn a_sender_that_stops_in_the_middle_leaves_its_frame_to_the_next() {
    let (mut a, mut b, now) = pair();
    a.post(Kind::Ask, 1, 0, now);
    assert!(a.lane.begin());
    let _taken = a.lane.next(now).unwrap();
    assert!(!a.lane.begin(), "one at a time");
    a.lane.stopped();
    assert!(a.lane.has_work());
    carry(&mut a, &mut b, now);
    assert_eq!(b.taken.len(), 1);
}

proptest! {
    /// Over a line that loses frames, breaks and comes back: every question is answered with its own word, everything
    /// is taken once and in order, and nothing is in doubt, as long as the line works in the end.
    #[test]
    fn whatever_the_line_loses_nothing_is_lost_twice_or_out_of_order(
        steps in prop::collection::vec((0..8_u8, any::<bool>(), 1..6_usize, 0..3_000_usize), 1..80),
    ) {
        let (mut a, mut b, mut now) = pair();
        let mut words = 0;
        for (what, to_b, count, size) in steps {
            now += Duration::from_millis(7);
            match what {
                0..3 => for _ in 0..count {
                    a.post(if what == 0 { Kind::Tell } else { Kind::Ask }, words, size, now);
                    words += 1;
                },
                3 => { a.post(Kind::Ask, words, 200_000, now); words += 1; }
                4 => { let side = if to_b { &mut a } else { &mut b }; side.send(now); side.out.truncate(count); }
                5 => { let lost = if to_b { &mut a.out } else { &mut b.out }; lost.drain(..count.min(lost.len())); }
                6 => { a.lane.hold(); b.lane.hold(); a.out.clear(); a.lane.resume(now); b.lane.resume(now); }
                _ => {
                    a.send(now);
                    b.send(now);
                    let (from, to) = if to_b { (&mut a, &mut b) } else { (&mut b, &mut a) };
                    from.hear_all(to, now);
                }
            }
        }
        for _ in 0..20 {
            now += SILENCE;
            a.note_tick(now);
            b.note_tick(now);
            carry(&mut a, &mut b, now);
        }
        let small: Vec<u64> = b.taken.iter().zip(&b.sizes).filter(|(_, s)| **s < 64_000).map(|((_, w), _)| *w).collect();
        prop_assert!(small.is_sorted_by(|x, y| x < y), "in order, once: {small:?}");
        prop_assert_eq!(b.taken.len() as u64, words);
        prop_assert!(a.answered.iter().all(|(word, said)| word == said));
        prop_assert_eq!((a.answered.len() + a.ended.len()) as u64, words);
        prop_assert!(a.ended.values().all(|end| *end == End::Accepted));
    }
}

impl Side {
    fn note_tick(&mut self, now: Instant) {
        let (ended, gone) = self.lane.tick(now);
        assert!(!gone);
        self.note(ended);
    }
}
