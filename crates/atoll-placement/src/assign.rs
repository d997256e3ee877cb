//! Who is at which revision of a policy, and what a change of that means for each copy.
//!
//! An assignment is ordinal -> destinations. Always true: a destination is at one revision of a policy at most, so going from one assignment to the next is a few disjoint
//! transitions, and what becomes of every copy follows from the two bundles of its transition. It does not know why anybody moves.

use std::collections::{BTreeMap, BTreeSet};

use crate::place::ObjectIndex;
use crate::{Destination, Destinations};

/// Counts a policy's revisions from 1; going back to older content is a new ordinal.
pub type Ordinal = u64;

/// Ordinal -> who has it.
pub type Assignment = BTreeMap<Ordinal, Destinations>;

/// How many destinations share one chunk of what is stored about them.
pub const CHUNK: u32 = 1 << 16;

/// Destinations that go from one revision to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// What they had; `None`: nothing of the policy.
    pub from: Option<Ordinal>,
    /// What they get; `None`: nothing of the policy any more.
    pub to: Option<Ordinal>,
    /// Who.
    pub destinations: Destinations,
}

/// The transitions from one assignment to another: disjoint, none empty, and nobody who stays is in one.
pub fn transitions<'a>(
    before: impl IntoIterator<Item = (Ordinal, &'a Destinations)>,
    after: impl IntoIterator<Item = (Ordinal, &'a Destinations)>,
) -> Vec<Transition> {
    let before: Vec<(Ordinal, &Destinations)> = before.into_iter().collect();
    let after: Vec<(Ordinal, &Destinations)> = after.into_iter().collect();
    let mut found = Vec::new();
    let mut add = |from, to, destinations: Destinations| {
        if !destinations.is_empty() {
            found.push(Transition {
                from,
                to,
                destinations,
            });
        }
    };
    for (from, had) in &before {
        let mut rest = (*had).clone();
        for (to, get) in &after {
            if from != to {
                add(Some(*from), Some(*to), *had & *get);
            }
            rest -= *get;
        }
        add(Some(*from), None, rest);
    }
    for (to, get) in &after {
        let mut new = (*get).clone();
        for (_, had) in &before {
            new -= *had;
        }
        add(None, Some(*to), new);
    }
    found
}

/// Sets by ordinal, each ordinal once.
pub fn merge(parts: impl IntoIterator<Item = (Ordinal, Destinations)>) -> Assignment {
    let mut merged = Assignment::new();
    for (ordinal, set) in parts {
        *merged.entry(ordinal).or_default() |= set;
    }
    merged
}

/// For each object that transitions take away: where. `bundle` gives the objects of a revision.
pub fn lost<'a>(
    transitions: &[Transition],
    bundle: impl Fn(Ordinal) -> &'a BTreeSet<ObjectIndex>,
) -> BTreeMap<ObjectIndex, Destinations> {
    let mut lost: BTreeMap<ObjectIndex, Destinations> = BTreeMap::new();
    for transition in transitions {
        let Some(from) = transition.from else {
            continue;
        };
        let stays = transition.to.map(&bundle);
        for object in bundle(from) {
            if stays.is_none_or(|objects| !objects.contains(object)) {
                *lost.entry(*object).or_default() |= &transition.destinations;
            }
        }
    }
    lost
}

/// Which revisions may be forgotten: all but the newest `keep`, those that somebody has (`true`), and those that `pinned` names.
pub fn forgettable(
    revisions: impl IntoIterator<Item = (Ordinal, bool)>,
    keep: usize,
    pinned: &[Ordinal],
) -> Vec<Ordinal> {
    let mut all: Vec<(Ordinal, bool)> = revisions.into_iter().collect();
    all.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
    all.into_iter()
        .skip(keep)
        .filter(|(ordinal, in_use)| !in_use && !pinned.contains(ordinal))
        .map(|(ordinal, _)| ordinal)
        .collect()
}

/// The chunk of a destination.
pub fn chunk_of(destination: Destination) -> u16 {
    (destination.0 / CHUNK) as u16
}

/// The chunks in which a set has members.
pub fn chunks(set: &Destinations) -> Vec<u16> {
    let mut found = Vec::new();
    let mut members = set.iter();
    while let Some(member) = members.next() {
        let chunk = chunk_of(Destination(member));
        found.push(chunk);
        match u32::from(chunk)
            .checked_add(1)
            .and_then(|c| c.checked_mul(CHUNK))
        {
            Some(next) => members.advance_to(next),
            None => break,
        }
    }
    found
}

/// All that there may be in one chunk.
pub fn whole_chunk(chunk: u16) -> Destinations {
    let start = u32::from(chunk) * CHUNK;
    let mut whole = Destinations::new();
    whole.insert_range(start..=start + (CHUNK - 1));
    whole
}

/// The members that a set has in one chunk.
pub fn in_chunk(set: &Destinations, chunk: u16) -> Destinations {
    whole_chunk(chunk) & set
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assignment() -> impl Strategy<Value = BTreeMap<u32, Ordinal>> {
        proptest::collection::btree_map(0u32..30, 1u64..5, 0..30)
    }

    fn sets(of: &BTreeMap<u32, Ordinal>) -> Assignment {
        let mut sets = Assignment::new();
        for (destination, ordinal) in of {
            sets.entry(*ordinal).or_default().insert(*destination);
        }
        sets
    }

    fn pairs(sets: &Assignment) -> impl Iterator<Item = (Ordinal, &Destinations)> {
        sets.iter().map(|(o, s)| (*o, s))
    }

    proptest! {
        /// Transitions say for every destination exactly what comparing it alone says, and a copy is lost exactly where its object is in the old bundle and not in the new one.
        #[test]
        fn transitions_equal_comparing_each_destination(
            before in assignment(), after in assignment(),
            bundles in proptest::collection::vec(proptest::collection::btree_set((0u32..6).prop_map(ObjectIndex), 0..6), 5),
        ) {
            let (old, new) = (sets(&before), sets(&after));
            let found = transitions(pairs(&old), pairs(&new));
            let mut seen: BTreeMap<u32, (Option<Ordinal>, Option<Ordinal>)> = BTreeMap::new();
            for t in &found {
                for d in &t.destinations {
                    prop_assert!(seen.insert(d, (t.from, t.to)).is_none(), "twice");
                }
            }
            let lost = lost(&found, |ordinal| &bundles[ordinal as usize]);
            for d in 0..30u32 {
                let (from, to) = (before.get(&d).copied(), after.get(&d).copied());
                let expected = (from != to).then_some((from, to));
                prop_assert_eq!(seen.get(&d).copied(), expected);
                for object in (0..6).map(ObjectIndex) {
                    let has = |at: Option<Ordinal>| at.is_some_and(|o| bundles[o as usize].contains(&object));
                    let goes = lost.get(&object).is_some_and(|s| s.contains(d));
                    prop_assert_eq!(goes, has(from) && !has(to));
                }
            }
        }

        #[test]
        fn chunks_put_together_are_the_set(members in proptest::collection::btree_set(prop_oneof![0u32..10, 65_530u32..65_540, 0u32..1_000_000, 4_294_967_290u32..=u32::MAX], 0..40)) {
            let set: Destinations = members.into_iter().collect();
            let mut whole = Destinations::new();
            for chunk in chunks(&set) {
                let part = in_chunk(&set, chunk);
                prop_assert!(!part.is_empty());
                whole |= part;
            }
            prop_assert_eq!(whole, set);
        }
    }

    #[test]
    fn what_somebody_has_is_not_forgotten() {
        let revisions = [(1, false), (2, true), (3, false), (4, false), (5, false)];
        assert_eq!(forgettable(revisions, 2, &[1]), [3]);
        assert_eq!(forgettable(revisions, 5, &[]), Vec::<Ordinal>::new());
        assert_eq!(forgettable(revisions, 1, &[]), [4, 3, 1]);
    }
}
