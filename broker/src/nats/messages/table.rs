//! The nodes that this one talks to, and those that it has talked to.
//!
//! A lane is numbered within one incarnation of both its ends, and a node that is away may be frozen or cut off and come
//! back as the same one. So nothing that its lane goes by may be lost when others need its place: of those that are away
//! and for whom nothing waits the lanes are laid to rest, whole, and wake with the first word from their node or for it.
//! Nobody looks at them meanwhile; of names that never come again there may be many.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::peer::{Peer, lock};

/// Nodes that one node talks to.
const MAX_PEERS: usize = 4_096;
/// With more than so many those that are away make room.
const CROWDED: usize = MAX_PEERS / 2;
/// Lanes that rest, about a kilobyte each. Of more, the quarter that has rested longest is forgotten: such a node is
/// understood again once it has begun anew.
const MAX_RESTING: usize = 65_536;

/// The lanes of this node.
#[derive(Default)]
pub(super) struct Peers {
    here: HashMap<Arc<str>, Arc<Peer>>,
    /// With when they were laid there, by count.
    resting: HashMap<Arc<str>, (u64, Arc<Peer>)>,
    laid: u64,
}

impl Peers {
    /// One that is in use.
    pub(super) fn here(&self, name: &str) -> Option<&Arc<Peer>> {
        self.here.get(name)
    }

    /// All that are in use.
    pub(super) fn all_here(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.here.values()
    }

    /// All, resting ones too.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.here.values().chain(self.resting.values().map(|(_, peer)| peer))
    }

    /// Whether a lane of this name rests.
    pub(super) fn rests(&self, name: &str) -> bool {
        self.resting.contains_key(name)
    }

    /// The one of this name, which rests no longer; a `new` one if there is none. None for one too many.
    pub(super) fn open(&mut self, name: &str, now: Instant, new: impl FnOnce() -> Peer) -> Option<Arc<Peer>> {
        if let Some(peer) = self.here.get(name) {
            return Some(peer.clone());
        }
        if self.here.len() >= MAX_PEERS {
            return None;
        }
        let peer = match self.resting.remove(name) {
            Some((_, peer)) => {
                peer.with(|lane| (lane.wake(now), Vec::new()));
                peer
            }
            None => Arc::new(new()),
        };
        self.here.insert(name.into(), peer.clone());
        Some(peer)
    }

    /// Whether those that are away are to make room.
    pub(super) fn is_crowded(&self) -> bool {
        self.here.len() > CROWDED
    }

    /// Lays those to rest that are away and that nobody waits for, in whichever direction.
    pub(super) fn rest(&mut self, is_there: impl Fn(&str) -> bool) {
        // Whoever holds a peer is about to use it, and gets none without this table.
        let away = self.here.extract_if(|name, peer| Arc::strong_count(peer) == 1 && !is_there(name) && peer.rest());
        for (name, peer) in away {
            self.laid += 1;
            self.resting.insert(name, (self.laid, peer));
        }
        if self.resting.len() > MAX_RESTING {
            let mut laid: Vec<u64> = self.resting.values().map(|(laid, _)| *laid).collect();
            laid.sort_unstable();
            let kept = laid[laid.len() / 4];
            self.resting.retain(|_, (laid, _)| *laid >= kept);
        }
    }
}

impl Peer {
    /// Whether nothing waits on its lane; what it does not need meanwhile is given back then.
    fn rest(self: &Arc<Self>) -> bool {
        lock(&self.desk).partials.is_empty() && self.with(|lane| (lane.rest(), Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::codec::{Kind, Top};
    use crate::id::NodeName;
    use crate::nats::messages::lane::Post;

    fn open(peers: &mut Peers, name: &str) -> Option<Arc<Peer>> {
        let me = NodeName::parse("me").unwrap();
        peers.open(name, Instant::now(), || Peer::new(&me, name, 1, Some(7), Arc::default()))
    }

    fn full() -> Peers {
        let mut peers = Peers::default();
        for n in 0..MAX_PEERS {
            open(&mut peers, &format!("n{n}")).expect("there is room");
        }
        assert!(open(&mut peers, "late").is_none());
        peers
    }

    #[test]
    fn who_is_away_makes_room_and_comes_back_as_it_was() {
        let mut peers = full();
        let before = Arc::as_ptr(&open(&mut peers, "n1").unwrap());
        peers.rest(|name| name == "n0");
        assert!(peers.here("n0").is_some() && peers.here("n1").is_none() && peers.rests("n1"));
        assert_eq!((peers.all_here().count(), peers.all().count()), (1, MAX_PEERS));
        assert!(open(&mut peers, "late").is_some());
        let back = open(&mut peers, "n1").unwrap();
        assert!(std::ptr::eq(before, Arc::as_ptr(&back)) && !peers.rests("n1"), "its numbers go on");
        assert!(back.with(|lane| (lane.has_work(), Vec::new())), "it is asked for a sign");
    }

    #[test]
    fn whom_somebody_waits_for_or_holds_stays() {
        let mut peers = full();
        let held = open(&mut peers, "n0").unwrap();
        let now = Instant::now();
        let post =
            Post { top: Top::new(Kind::Ask, 0), deadline: now + Duration::from_secs(9), letter: b"", body: b"x" };
        let asked = open(&mut peers, "n1").unwrap();
        let sent = asked.post(post).unwrap();
        drop(asked);
        peers.rest(|_| false);
        assert_eq!(peers.all_here().count(), 2);
        drop((sent, held));
        peers.rest(|_| false);
        assert_eq!(peers.all_here().count(), 1, "what was asked is still to be taken back");
    }

    #[test]
    fn of_very_many_those_that_have_rested_longest_are_forgotten() {
        let mut peers = Peers::default();
        for n in 0..=MAX_RESTING {
            drop(open(&mut peers, &format!("n{n}")));
            if peers.is_crowded() || n == MAX_RESTING {
                peers.rest(|_| false);
            }
        }
        assert!((MAX_RESTING / 2..MAX_RESTING).contains(&peers.all().count()), "{}", peers.all().count());
        assert!(!peers.rests("n0") && peers.rests(&format!("n{MAX_RESTING}")));
    }
}
