//! Copies that must go, found by object and, without looking at all of them, by destination.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use atoll_placement::assign;
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};

/// Copies of one object that must go.
#[derive(Debug, Clone)]
pub(crate) struct Tombstone {
    pub(crate) object: ObjectIndex,
    pub(crate) inventory: Arc<str>,
    pub(crate) remove: Destinations,
    pub(crate) orphan: Destinations,
}

impl Tombstone {
    /// Whether a destination has not confirmed yet.
    pub(crate) fn concerns(&self, destination: Destination) -> bool {
        self.remove.contains(destination.0) || self.orphan.contains(destination.0)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.remove.is_empty() && self.orphan.is_empty()
    }
}

/// All tombstones.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    by_object: HashMap<ObjectIndex, (Tombstone, BTreeSet<u16>)>,
    /// Objects with a tombstone that has, or had, somebody in a chunk.
    by_chunk: HashMap<u16, BTreeSet<ObjectIndex>>,
}

impl Tombstones {
    pub(crate) fn get(&self, object: &ObjectIndex) -> Option<&Tombstone> {
        self.by_object.get(object).map(|(tombstone, _)| tombstone)
    }

    pub(crate) fn contains_key(&self, object: &ObjectIndex) -> bool {
        self.by_object.contains_key(object)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Tombstone> {
        self.by_object.values().map(|(tombstone, _)| tombstone)
    }

    /// Those that a destination has not confirmed.
    pub(crate) fn at(&self, destination: Destination) -> impl Iterator<Item = &Tombstone> {
        let near = self.by_chunk.get(&assign::chunk_of(destination));
        let near = near.into_iter().flatten().filter_map(|o| self.get(o));
        near.filter(move |t| t.concerns(destination))
    }

    /// Enters one, or replaces it.
    pub(crate) fn insert(&mut self, tombstone: Tombstone) {
        let object = tombstone.object;
        let mut chunks: BTreeSet<u16> = assign::chunks(&tombstone.remove).into_iter().collect();
        chunks.extend(assign::chunks(&tombstone.orphan));
        for chunk in &chunks {
            self.by_chunk.entry(*chunk).or_default().insert(object);
        }
        let old = self.by_object.insert(object, (tombstone, chunks));
        // What it had is kept in its list, so that removing it finds everything.
        if let (Some((_, before)), Some((_, chunks))) = (old, self.by_object.get_mut(&object)) {
            chunks.extend(before);
        }
    }

    /// A destination confirmed. True when that is news.
    pub(crate) fn confirm(&mut self, object: ObjectIndex, destination: Destination) -> bool {
        self.by_object
            .get_mut(&object)
            .is_some_and(|(t, _)| t.remove.remove(destination.0) | t.orphan.remove(destination.0))
    }

    /// Copies that are wanted again.
    pub(crate) fn revive(&mut self, object: ObjectIndex, destinations: &Destinations) {
        if let Some((tombstone, _)) = self.by_object.get_mut(&object) {
            tombstone.remove -= destinations;
            tombstone.orphan -= destinations;
        }
    }

    /// A destination is gone: nothing is waited for there.
    pub(crate) fn forget(&mut self, destination: Destination) {
        let near = self.by_chunk.get(&assign::chunk_of(destination));
        for object in near.cloned().unwrap_or_default() {
            self.confirm(object, destination);
        }
    }

    pub(crate) fn remove(&mut self, object: &ObjectIndex) -> Option<Tombstone> {
        let (tombstone, chunks) = self.by_object.remove(object)?;
        for chunk in chunks {
            if let Some(objects) = self.by_chunk.get_mut(&chunk) {
                objects.remove(object);
                if objects.is_empty() {
                    self.by_chunk.remove(&chunk);
                }
            }
        }
        Some(tombstone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Found by destination exactly those that testing each finds.
        #[test]
        fn none_is_missed(
            steps in proptest::collection::vec((0u8..5, 0u32..6, proptest::collection::btree_set(prop_oneof![0u32..5, 65_534u32..65_540], 0..4)), 0..40),
        ) {
            let mut tombstones = Tombstones::default();
            for (what, object, set) in steps {
                let (object, set) = (ObjectIndex(object), set.into_iter().collect::<Destinations>());
                match what {
                    0 => tombstones.insert(Tombstone { object, inventory: "i".into(), remove: set, orphan: Destinations::new() }),
                    1 => tombstones.insert(Tombstone { object, inventory: "i".into(), remove: Destinations::new(), orphan: set }),
                    2 => tombstones.revive(object, &set),
                    3 => { set.min().map(|d| tombstones.confirm(object, Destination(d))); }
                    _ => { tombstones.remove(&object); }
                }
                for d in (0..5).chain(65_534..65_540).map(Destination) {
                    let found: BTreeSet<_> = tombstones.at(d).map(|t| t.object).collect();
                    let expected: BTreeSet<_> = tombstones.values().filter(|t| t.concerns(d)).map(|t| t.object).collect();
                    prop_assert_eq!(found, expected);
                }
            }
            for object in (0..6).map(ObjectIndex) {
                tombstones.remove(&object);
            }
            prop_assert!(tombstones.by_chunk.is_empty());
        }
    }
}
