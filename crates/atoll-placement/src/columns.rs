//! Reported state as columns: for each payload object, value -> set of destinations. Never an entry per object and destination.
//!
//! Hot path (every status change): a set is a lookup among the few common values, one bit out and one bit in. Always true: a destination is in at most one value of a column, so
//! that taking the old value out and putting the new one in keeps every count exact. Values are interned with reference counts; what no column holds is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bundle::RenderHash;
use crate::health::Health;
use crate::{Destination, Destinations};

/// What one copy reports, without what makes it unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reported {
    /// The render that was last tried.
    pub render: RenderHash,
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

/// The values in use, each with the number of copies that have it.
#[derive(Debug, Default)]
pub struct Values {
    slots: Vec<Option<(Arc<Reported>, u64)>>,
    ids: HashMap<Arc<Reported>, ValueId>,
    free: Vec<u32>,
}

impl Values {
    /// The value of an id that some column holds.
    pub fn get(&self, id: ValueId) -> Option<&Arc<Reported>> {
        self.slots
            .get(id.0 as usize)?
            .as_ref()
            .map(|(value, _)| value)
    }

    /// How many distinct values are in use.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn take(&mut self, value: Reported) -> ValueId {
        if let Some(&id) = self.ids.get(&value) {
            if let Some(Some((_, count))) = self.slots.get_mut(id.0 as usize) {
                *count += 1;
            }
            return id;
        }
        let value = Arc::new(value);
        let slot = Some((value.clone(), 1));
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
        self.ids.insert(value, id);
        id
    }

    fn release(&mut self, id: ValueId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else {
            return;
        };
        let Some((value, count)) = slot else { return };
        *count -= 1;
        if *count == 0 {
            self.ids.remove(value);
            *slot = None;
            self.free.push(id.0);
        }
    }
}

/// Values that few destinations have are kept in a map until they have this many.
const COMMON_FROM: u32 = 24;
/// A column keeps at most so many bitmaps; every lookup may look at each.
const MOST_COMMON: usize = 48;

/// One payload object's reported state.
#[derive(Debug, Default)]
pub struct Column {
    common: Vec<(ValueId, Destinations)>,
    rare: HashMap<u32, ValueId>,
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
        value: Option<Reported>,
    ) -> bool {
        let old = self.get(destination);
        if let (Some(old), Some(new)) = (old, &value)
            && values.get(old).is_some_and(|held| held.as_ref() == new)
        {
            return false;
        }
        if old.is_none() && value.is_none() {
            return false;
        }
        // Take the new one before the old one is released: an id is not reused in between.
        let new = value.map(|value| values.take(value));
        if let Some(old) = old {
            self.remove(destination.0, old);
            values.release(old);
        }
        if let Some(new) = new {
            self.insert(destination.0, new);
        }
        true
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

    /// Every value with the destinations that have it.
    pub fn sets(&self) -> Vec<(ValueId, Destinations)> {
        let mut sets = self.common.clone();
        let mut rare: HashMap<ValueId, Destinations> = HashMap::new();
        for (destination, id) in &self.rare {
            rare.entry(*id).or_default().insert(*destination);
        }
        sets.extend(rare);
        sets.sort_unstable_by_key(|(id, _)| *id);
        sets
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
            render: [n % 3; 16],
            error: n % 2,
            message: "".into(),
            health: Health::Healthy,
            observed: (n > 2).then_some(n > 3),
            status: n.to_string().into(),
        }
    }

    proptest! {
        /// After any history of reports and retractions, a column holds what a plain map holds, and interns nothing else.
        #[test]
        fn a_column_equals_a_map(history in proptest::collection::vec((0u8..2, 0u32..200, proptest::option::weighted(0.8, 0u8..6)), 0..600)) {
            let mut values = Values::default();
            let mut columns = [Column::default(), Column::default()];
            let mut model: BTreeMap<(u8, u32), u8> = BTreeMap::new();
            for (column, destination, value) in history {
                let changed = columns[usize::from(column)].set(&mut values, Destination(destination), value.map(reported));
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
                prop_assert_eq!(column.len(), model.keys().filter(|(m, _)| usize::from(*m) == c).count() as u64);
            }
            prop_assert_eq!(&found, &model);
            let distinct: std::collections::BTreeSet<u8> = model.values().copied().collect();
            prop_assert_eq!(values.len(), distinct.len());
            for column in &mut columns { column.clear(&mut values); }
            prop_assert!(values.is_empty());
        }
    }
}
