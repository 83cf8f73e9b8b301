//! A sorted map that is filled mostly in order and can be very large.
//!
//! A B-tree that is filled in order stays half empty. Here keys and values lie in runs, which are full where
//! they were appended to and are split where something came between: half the memory, and a key is found by
//! bisection alone.

use std::mem::replace;

/// Most pairs in a run.
const RUN: usize = 512;

/// Keys with values, sorted by key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sorted<K, V> {
    /// None is empty.
    runs: Vec<Vec<(K, V)>>,
    len: usize,
}

/// A place: a run, and one of its pairs.
type Place = (usize, usize);

impl<K: Ord, V> Sorted<K, V> {
    pub(super) fn new() -> Self {
        Self { runs: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where `key` is, or where it belongs: in a run that is there, unless there is none.
    fn find(&self, key: &K) -> Result<Place, Place> {
        // Whatever is filled in order belongs behind all others.
        if let Some((last, run)) = self.runs.len().checked_sub(1).and_then(|last| Some((last, self.runs.get(last)?)))
            && run.last().is_some_and(|(greatest, _)| greatest < key)
        {
            return Err((last, run.len()));
        }
        let run = self.runs.partition_point(|run| run.first().is_some_and(|(first, _)| first <= key));
        let run = run.saturating_sub(1);
        match self.runs.get(run).map(|run| run.binary_search_by(|(other, _)| other.cmp(key))) {
            Some(Ok(at)) => Ok((run, at)),
            Some(Err(at)) => Err((run, at)),
            None => Err((0, 0)),
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let (run, at) = self.find(key).ok()?;
        self.runs.get(run)?.get(at).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (run, at) = self.find(key).ok()?;
        self.runs.get_mut(run)?.get_mut(at).map(|(_, value)| value)
    }

    /// Puts a value in; gives the one that it replaces.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (mut run, mut at) = match self.find(&key) {
            Ok((run, at)) => {
                return self.runs.get_mut(run)?.get_mut(at).map(|(_, old)| replace(old, value));
            }
            Err(place) => place,
        };
        if self.runs.is_empty() {
            self.runs.push(Vec::new());
        }
        if let Some(full) = self.runs.get_mut(run).filter(|run| run.len() >= RUN) {
            // At the end a new run is begun, elsewhere the run is halved.
            let middle = if at == full.len() { at } else { full.len() / 2 };
            let rest = full.split_off(middle);
            full.shrink_to_fit();
            self.runs.insert(run + 1, rest);
            if at >= middle {
                (run, at) = (run + 1, at - middle);
            }
        }
        if let Some(place) = self.runs.get_mut(run) {
            place.insert(at, (key, value));
            self.len += 1;
        }
        None
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (run, at) = self.find(key).ok()?;
        let pairs = self.runs.get_mut(run)?;
        let (_, value) = pairs.remove(at);
        if pairs.is_empty() {
            self.runs.remove(run);
        }
        self.len -= 1;
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.runs.iter().flatten().map(|(key, value)| (key, value))
    }

    /// All behind `key`, which need not be there.
    pub(super) fn after(&self, key: &K) -> impl Iterator<Item = (&K, &V)> {
        let (run, at) = match self.find(key) {
            Ok((run, at)) => (run, at + 1),
            Err(place) => place,
        };
        let first = self.runs.get(run).and_then(|run| run.get(at..)).unwrap_or_default();
        let rest = self.runs.get(run + 1..).unwrap_or_default();
        first.iter().chain(rest.iter().flatten()).map(|(key, value)| (key, value))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.runs.iter_mut().flatten().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_filled_in_order_leaves_no_room_unused() {
        let mut map = Sorted::new();
        for number in 0..10 * RUN {
            map.insert(number, ());
        }
        assert_eq!((map.runs.len(), map.len()), (10, 10 * RUN));
        assert!(map.runs.iter().all(|run| run.len() == RUN));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The same as the standard library's, whatever is done to them.
        #[test]
        fn it_is_a_sorted_map(steps in proptest::collection::vec((0..4_u8, 0..3_000_u32), 0..6_000), looked in 0..3_100_u32) {
            let (mut map, mut expected) = (Sorted::new(), BTreeMap::new());
            for (number, (what, key)) in steps.into_iter().enumerate() {
                match what {
                    0 => prop_assert_eq!(map.remove(&key), expected.remove(&key)),
                    1 => {
                        if let Some(value) = map.get_mut(&key) { *value += 1; }
                        if let Some(value) = expected.get_mut(&key) { *value += 1; }
                    }
                    _ => prop_assert_eq!(map.insert(key, number), expected.insert(key, number)),
                }
            }
            prop_assert_eq!(map.len(), expected.len());
            prop_assert!(map.iter().eq(&expected));
            prop_assert_eq!(map.get(&looked), expected.get(&looked));
            prop_assert!(map.after(&looked).eq(expected.range((Bound::Excluded(looked), Bound::Unbounded))));
            prop_assert!(map.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN));
            map.values_mut().for_each(|value| *value = 0);
            prop_assert!(map.iter().all(|(_, value)| *value == 0));
        }
    }
}
