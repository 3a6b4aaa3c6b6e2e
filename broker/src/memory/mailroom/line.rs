//! What waits, in the order in which it came, each under a number.
//!
//! Nearly all of it leaves at the front. What is withdrawn or expires leaves a gap instead of moving those behind it, and
//! the gaps are closed when they are more than what waits: so every step costs a constant on average, and the room taken
//! follows what waits.

use std::collections::VecDeque;

/// Room that an empty line keeps.
const KEPT: usize = 256;

#[derive(Debug)]
pub(super) struct Line<T> {
    /// By number, ascending.
    places: VecDeque<(u64, Option<T>)>,
    gaps: usize,
    last: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { places: VecDeque::new(), gaps: 0, last: 0 }
    }
}

impl<T> Line<T> {
    /// Comes in last; its number.
    pub(super) fn push(&mut self, one: T) -> u64 {
        self.last += 1;
        self.places.push_back((self.last, Some(one)));
        self.last
    }

    /// The first, if there is one.
    pub(super) fn pop(&mut self) -> Option<T> {
        while let Some((_, place)) = self.places.pop_front() {
            if place.is_some() {
                self.tidy();
                return place;
            }
            self.gaps -= 1;
        }
        None
    }

    /// The one of this number, if it still waits.
    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let at = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let one = self.places.get_mut(at)?.1.take()?;
        self.gaps += 1;
        self.tidy();
        Some(one)
    }

    /// The first that passes, if there is one.
    pub(super) fn take_first(&mut self, passes: impl Fn(&T) -> bool) -> Option<T> {
        let number =
            self.places.iter().find(|(_, place)| place.as_ref().is_some_and(&passes)).map(|(number, _)| *number);
        self.remove(number?)
    }

    /// All that pass, in their order.
    pub(super) fn take(&mut self, passes: impl Fn(&T) -> bool) -> Vec<T> {
        let passing = |(_, place): &mut (u64, Option<T>)| place.take_if(|one| passes(one));
        let taken: Vec<T> = self.places.iter_mut().filter_map(passing).collect();
        self.gaps += taken.len();
        self.tidy();
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.gaps
    }

    fn tidy(&mut self) {
        if self.gaps > self.len() {
            self.places.retain(|(_, place)| place.is_some());
            self.gaps = 0;
        }
        if self.places.is_empty() && self.places.capacity() > KEPT {
            self.places.shrink_to(KEPT);
        }
    }
}

impl<T> IntoIterator for Line<T> {
    type Item = T;
    type IntoIter = std::iter::FilterMap<
        std::collections::vec_deque::IntoIter<(u64, Option<T>)>,
        fn((u64, Option<T>)) -> Option<T>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.places.into_iter().filter_map(|(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Pop,
        Remove(u64),
        TakeMultiplesOf(usize),
        TakeFirstMultipleOf(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            1 => Just(Step::Pop),
            3 => (0..80_u64).prop_map(Step::Remove),
            1 => (1..5_usize).prop_map(Step::TakeMultiplesOf),
            1 => (1..5_usize).prop_map(Step::TakeFirstMultipleOf),
        ]
    }

    proptest! {
        /// Whatever is done to it, it is an ordered map by number, and takes no more than twice its room.
        #[test]
        fn it_is_an_ordered_map(steps in prop::collection::vec(step(), 0..120)) {
            let (mut line, mut map) = (Line::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Push => {
                        let number = line.push(map.len());
                        prop_assert!(map.insert(number, map.len()).is_none());
                    }
                    Step::Pop => prop_assert_eq!(line.pop(), map.pop_first().map(|(_, one)| one)),
                    Step::Remove(number) => prop_assert_eq!(line.remove(number), map.remove(&number)),
                    Step::TakeMultiplesOf(n) => {
                        let taken = map.extract_if(.., |_, one: &mut usize| one.is_multiple_of(n));
                        let taken: Vec<usize> = taken.map(|(_, one)| one).collect();
                        prop_assert_eq!(line.take(|one| one.is_multiple_of(n)), taken);
                    }
                    Step::TakeFirstMultipleOf(n) => {
                        let first = map.iter().find(|(_, one)| one.is_multiple_of(n)).map(|(number, _)| *number);
                        let taken = first.and_then(|number| map.remove(&number));
                        prop_assert_eq!(line.take_first(|one| one.is_multiple_of(n)), taken);
                    }
                }
                prop_assert_eq!(line.len(), map.len());
                prop_assert!(line.places.len() <= 2 * map.len());
            }
            let left: Vec<usize> = line.into_iter().collect();
            prop_assert_eq!(left, map.into_values().collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_empty_line_gives_its_room_back() {
        let mut line = Line::default();
        for n in 0..10 * KEPT {
            line.push(n);
        }
        while line.pop().is_some() {}
        assert!(line.places.capacity() <= 2 * KEPT, "{}", line.places.capacity());
    }
}
