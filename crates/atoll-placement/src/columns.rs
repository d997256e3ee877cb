//! Reported state as columns: for each payload object, value -> set of destinations. Never an entry per object and destination.
//!
//! Hot path (every status change): a set is a lookup among the few common values, one bit out and one bit in. Always true: a destination is in at most one value of a column, so
//! that taking the old value out and putting the new one in keeps every count exact. Values are interned with reference counts; what no column holds is forgotten. A copy that looks
//! different at every destination is one value all the same: [`Seen`] names the version that it was made from, not what it looks like.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::algebra::{Projection, Projections};
use crate::bundle::RenderHash;
use crate::health::Health;
use crate::{Destination, Destinations};

/// Which render a copy reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Seen {
    /// One of an object that is the same everywhere, as it was reported.
    Shared(RenderHash),
    /// Of an object that is not: exactly what the destination should have of this version ([`crate::render::Renderer::content`]), as it is known now.
    Version(RenderHash),
    /// Of such an object: what the destination should not have (any more) of any version that is known. An exception: many of these are many values.
    Other(RenderHash),
}

/// Stands for a render that is no longer known, and so equals none.
pub const UNKNOWN: RenderHash = [0xff; 16];

impl Seen {
    /// Whether it is what is wanted: a version when copies `vary`, else a render.
    pub fn is(self, wanted: RenderHash, vary: bool) -> bool {
        match self {
            Seen::Version(version) => vary && version == wanted,
            Seen::Shared(render) | Seen::Other(render) => !vary && render == wanted,
        }
    }

    /// As it is kept.
    pub fn parts(self) -> (u8, RenderHash) {
        match self {
            Seen::Shared(hash) => (0, hash),
            Seen::Version(hash) => (1, hash),
            Seen::Other(hash) => (2, hash),
        }
    }

    /// Reads [`Seen::parts`]. What cannot be read is a render that is not known.
    pub fn from_parts(kind: u8, hash: RenderHash) -> Seen {
        match kind {
            0 => Seen::Shared(hash),
            1 => Seen::Version(hash),
            2 => Seen::Other(hash),
            _ => Seen::Other(UNKNOWN),
        }
    }
}

/// What one copy reports, without what makes it unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reported {
    /// The render that was last tried.
    pub seen: Seen,
    /// Why it is not applied; 0 when it is (the codes are `atoll_wire::ErrorKind`'s).
    pub error: u8,
    /// The error in words.
    pub message: Arc<str>,
    /// How well it is.
    pub health: Health,
    /// Whether the edge's controller has seen this render (`status.observedGeneration`); `None` for a status that does not say.
    pub observed: Option<bool>,
    /// The projected status as JSON text; empty when there is none.
    pub status: Arc<str>,
}

/// An interned [`Reported`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

#[derive(Debug)]
struct Slot {
    value: Arc<Reported>,
    projection: Option<Arc<Projection>>,
    /// How many copies have it.
    copies: u64,
}

/// The values in use.
#[derive(Debug, Default)]
pub struct Values {
    slots: Vec<Option<Slot>>,
    ids: HashMap<Arc<Reported>, ValueId>,
    free: Vec<u32>,
    projections: Projections,
}

impl Values {
    fn slot(&self, id: ValueId) -> Option<&Slot> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// The value of an id that some column holds.
    pub fn get(&self, id: ValueId) -> Option<&Arc<Reported>> {
        self.slot(id).map(|slot| &slot.value)
    }

    /// A value's projected status; `None` when it has none.
    pub fn projection(&self, id: ValueId) -> Option<&Arc<Projection>> {
        self.slot(id)?.projection.as_ref()
    }

    /// A value, shared with the columns when one of them holds it already.
    pub fn share(&self, value: Reported) -> Arc<Reported> {
        match self.ids.get_key_value(&value) {
            Some((held, _)) => held.clone(),
            None => Arc::new(value),
        }
    }

    /// How many distinct values are in use.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn take(&mut self, value: &Arc<Reported>, copies: u64) -> ValueId {
        if let Some(&id) = self.ids.get(value) {
            if let Some(Some(slot)) = self.slots.get_mut(id.0 as usize) {
                slot.copies += copies;
            }
            return id;
        }
        let status = Some(&*value.status).filter(|status| !status.is_empty());
        let slot = Some(Slot {
            value: value.clone(),
            projection: status.map(|status| self.projections.intern(status)),
            copies,
        });
        let id = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                ValueId(index)
            }
            None => {
                self.slots.push(slot);
                ValueId((self.slots.len() - 1) as u32)
            }
        };
        self.ids.insert(value.clone(), id);
        id
    }

    fn release(&mut self, id: ValueId) {
        let Some(held) = self.slots.get_mut(id.0 as usize) else {
            return;
        };
        let Some(slot) = held else { return };
        slot.copies -= 1;
        if slot.copies == 0 {
            self.ids.remove(&slot.value);
            *held = None;
            self.free.push(id.0);
        }
    }
}

/// Values that few destinations have are kept in a map until they have this many.
const COMMON_FROM: u32 = 24;
/// A column keeps at most so many bitmaps; every lookup may look at each.
const MOST_COMMON: usize = 48;

/// Sets of up to so many are looked up one by one.
const FEW: u64 = 64;

/// One payload object's reported state.
#[derive(Debug, Default)]
pub struct Column {
    common: Vec<(ValueId, Destinations)>,
    rare: BTreeMap<u32, ValueId>,
    rare_counts: HashMap<ValueId, u32>,
}

impl Column {
    /// What a destination reported.
    pub fn get(&self, destination: Destination) -> Option<ValueId> {
        self.common
            .iter()
            .find(|(_, set)| set.contains(destination.0))
            .map(|(id, _)| *id)
            .or_else(|| self.rare.get(&destination.0).copied())
    }

    /// Replaces what a destination reported (`None`: the copy is gone). True when that changed anything.
    pub fn set(
        &mut self,
        values: &mut Values,
        destination: Destination,
        value: Option<&Arc<Reported>>,
    ) -> bool {
        let old = self.get(destination);
        if let (Some(old), Some(new)) = (old, value)
            && values.get(old).is_some_and(|held| held == new)
        {
            return false;
        }
        if old.is_none() && value.is_none() {
            return false;
        }
        // Take the new one before the old one is released: an id is not reused in between.
        let new = value.map(|value| values.take(value, 1));
        if let Some(old) = old {
            self.remove(destination.0, old);
            values.release(old);
        }
        if let Some(new) = new {
            self.insert(destination.0, new);
        }
        true
    }

    /// Enters what destinations reported of which nothing is known here yet.
    pub fn fill(
        &mut self,
        values: &mut Values,
        value: &Arc<Reported>,
        destinations: &Destinations,
    ) {
        if destinations.is_empty() {
            return;
        }
        let id = values.take(value, destinations.len());
        if let Some((_, set)) = self.common.iter_mut().find(|(common, _)| *common == id) {
            *set |= destinations;
        } else if destinations.len() >= u64::from(COMMON_FROM)
            && self.common.len() < MOST_COMMON
            && !self.rare_counts.contains_key(&id)
        {
            self.common.push((id, destinations.clone()));
        } else {
            for destination in destinations {
                self.insert(destination, id);
            }
        }
    }

    fn remove(&mut self, index: u32, id: ValueId) {
        if let Some(at) = self.common.iter().position(|(common, _)| *common == id) {
            self.common[at].1.remove(index);
            if self.common[at].1.is_empty() {
                self.common.swap_remove(at);
            }
        } else if self.rare.remove(&index).is_some()
            && let Some(count) = self.rare_counts.get_mut(&id)
        {
            *count -= 1;
            if *count == 0 {
                self.rare_counts.remove(&id);
            }
        }
    }

    fn insert(&mut self, index: u32, id: ValueId) {
        if let Some((_, set)) = self.common.iter_mut().find(|(common, _)| *common == id) {
            set.insert(index);
            return;
        }
        self.rare.insert(index, id);
        let count = self.rare_counts.entry(id).or_default();
        *count += 1;
        if *count >= COMMON_FROM && self.common.len() < MOST_COMMON {
            let members: Destinations = self
                .rare
                .iter()
                .filter(|(_, v)| **v == id)
                .map(|(d, _)| *d)
                .collect();
            for member in &members {
                self.rare.remove(&member);
            }
            self.rare_counts.remove(&id);
            self.common.push((id, members));
        }
    }

    /// The distinct values.
    pub fn values(&self) -> impl Iterator<Item = ValueId> {
        let common = self.common.iter().map(|(id, _)| *id);
        common.chain(self.rare_counts.keys().copied())
    }

    /// Every value with the destinations that have it.
    pub fn sets(&self) -> Vec<(ValueId, Destinations)> {
        self.sets_of(|_| true)
    }

    /// The values that a test is true of, with the destinations that have them.
    pub fn sets_of(&self, test: impl Fn(ValueId) -> bool) -> Vec<(ValueId, Destinations)> {
        let common = self.common.iter().filter(|(id, _)| test(*id));
        let mut sets: Vec<(ValueId, Destinations)> = common.cloned().collect();
        let mut rare: HashMap<ValueId, Destinations> = HashMap::new();
        let tested = self.rare_counts.keys().filter(|id| test(**id));
        rare.extend(tested.map(|id| (*id, Destinations::new())));
        if !rare.is_empty() {
            for (destination, id) in &self.rare {
                if let Some(set) = rare.get_mut(id) {
                    set.insert(*destination);
                }
            }
        }
        sets.extend(rare);
        sets.sort_unstable_by_key(|(id, _)| *id);
        sets
    }

    /// What some destinations reported: cost follows from how many they are, or from the distinct values.
    pub fn sets_within(&self, within: &Destinations) -> Vec<(ValueId, Destinations)> {
        let mut sets: BTreeMap<ValueId, Destinations> = BTreeMap::new();
        if within.len() <= FEW {
            for destination in within {
                if let Some(id) = self.get(Destination(destination)) {
                    sets.entry(id).or_default().insert(destination);
                }
            }
            return sets.into_iter().collect();
        }
        for (id, set) in &self.common {
            let here = set & within;
            if !here.is_empty() {
                sets.insert(*id, here);
            }
        }
        if let (Some(first), Some(last)) = (within.min(), within.max()) {
            for (destination, id) in self.rare.range(first..=last) {
                if within.contains(*destination) {
                    sets.entry(*id).or_default().insert(*destination);
                }
            }
        }
        sets.into_iter().collect()
    }

    /// How many of some destinations have reported.
    pub fn count_within(&self, within: &Destinations) -> u64 {
        let common = self
            .common
            .iter()
            .map(|(_, set)| set.intersection_len(within));
        let rare = self
            .rare
            .keys()
            .filter(|destination| within.contains(**destination));
        common.sum::<u64>() + rare.count() as u64
    }

    /// How many destinations have reported.
    pub fn len(&self) -> u64 {
        self.common.iter().map(|(_, set)| set.len()).sum::<u64>() + self.rare.len() as u64
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.common.is_empty() && self.rare.is_empty()
    }

    /// Retracts everything.
    pub fn clear(&mut self, values: &mut Values) {
        for (id, set) in std::mem::take(self).sets() {
            for _ in 0..set.len() {
                values.release(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn reported(n: u8) -> Reported {
        Reported {
            seen: Seen::Shared([n % 3; 16]),
            error: n % 2,
            message: "".into(),
            health: Health::Healthy,
            observed: (n > 2).then_some(n > 3),
            status: n.to_string().into(),
        }
    }

    #[test]
    fn a_version_is_wanted_where_copies_vary_and_a_render_where_they_do_not() {
        for (seen, vary, expected) in [
            (Seen::Shared([1; 16]), false, true),
            (Seen::Shared([1; 16]), true, false),
            (Seen::Version([1; 16]), true, true),
            (Seen::Version([1; 16]), false, false),
            (Seen::Other([1; 16]), true, false),
            (Seen::Other([1; 16]), false, true),
            (Seen::Version([2; 16]), true, false),
        ] {
            assert_eq!(seen.is([1; 16], vary), expected, "{seen:?} {vary}");
            let (kind, hash) = seen.parts();
            assert_eq!(Seen::from_parts(kind, hash), seen);
        }
        assert_eq!(Seen::from_parts(9, [1; 16]), Seen::Other(UNKNOWN));
    }

    proptest! {
        /// After any history of reports and retractions, a column holds what a plain map holds, and interns nothing else.
        #[test]
        fn a_column_equals_a_map(history in proptest::collection::vec((0u8..2, 0u32..200, proptest::option::weighted(0.8, 0u8..6)), 0..600)) {
            let mut values = Values::default();
            let mut columns = [Column::default(), Column::default()];
            let mut model: BTreeMap<(u8, u32), u8> = BTreeMap::new();
            for (column, destination, value) in history {
                let changed = columns[usize::from(column)].set(&mut values, Destination(destination), value.map(|n| Arc::new(reported(n))).as_ref());
                let before = match value {
                    Some(value) => model.insert((column, destination), value),
                    None => model.remove(&(column, destination)),
                };
                prop_assert_eq!(changed, before != value);
            }
            let mut found = BTreeMap::new();
            for (c, column) in columns.iter().enumerate() {
                for (id, set) in column.sets() {
                    for d in &set {
                        let value: u8 = values.get(id).unwrap().status.parse().unwrap();
                        prop_assert!(found.insert((c as u8, d), value).is_none(), "in two values");
                        prop_assert_eq!(column.get(Destination(d)), Some(id));
                    }
                }
                for within in [(0..3u32).collect::<Destinations>(), (20..180).collect()] {
                    let expected: Vec<_> = column.sets().into_iter().map(|(id, set)| (id, set & &within)).filter(|(_, set)| !set.is_empty()).collect();
                    prop_assert_eq!(column.count_within(&within), expected.iter().map(|(_, set)| set.len()).sum::<u64>());
                    prop_assert_eq!(column.sets_within(&within), expected);
                }
                let distinct: std::collections::BTreeSet<_> = column.values().collect();
                prop_assert_eq!(distinct, column.sets().into_iter().map(|(id, _)| id).collect());
                prop_assert_eq!(column.len(), model.keys().filter(|(m, _)| usize::from(*m) == c).count() as u64);
            }
            prop_assert_eq!(&found, &model);
            // Filled anew from what it says, a column says the same.
            let mut again = Column::default();
            for (id, set) in columns[0].sets() {
                let value = values.get(id).unwrap().clone();
                again.fill(&mut values, &value, &set);
            }
            prop_assert_eq!(again.sets(), columns[0].sets());
            again.clear(&mut values);
            let distinct: std::collections::BTreeSet<u8> = model.values().copied().collect();
            prop_assert_eq!(values.len(), distinct.len());
            for column in &mut columns { column.clear(&mut values); }
            prop_assert!(values.is_empty());
        }
    }
}
