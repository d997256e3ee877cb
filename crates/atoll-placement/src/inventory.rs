//! The inventory's index: label -> destinations, so that a selector over a million destinations is a few bitmap operations.
//!
//! Always true: a destination is in the set of each of its labels and in no other; `all` holds every destination that exists
//! and `accepted` those that may be given something new. A label (key and value together) is stored once; a destination holds small numbers for its labels, and a label that
//! only one destination has costs no bitmap.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use atoll_kube::selector::{LabelSelector, Operator, Requirement};
use hashbrown::HashTable;
use roaring::RoaringBitmap;

use crate::paged::Paged;
use crate::{Destination, Destinations};

/// A set that is usually tiny: unique labels (host names, serial numbers) are common.
#[derive(Debug, Clone, Default)]
pub(crate) enum Members {
    #[default]
    None,
    One(u32),
    Many(Box<RoaringBitmap>),
}

impl Members {
    pub(crate) fn insert(&mut self, index: u32) {
        match self {
            Members::None => *self = Members::One(index),
            Members::One(present) if *present == index => {}
            Members::One(present) => {
                *self = Members::Many(Box::new([*present, index].into_iter().collect()))
            }
            Members::Many(set) => {
                set.insert(index);
            }
        }
    }

    pub(crate) fn remove(&mut self, index: u32) {
        match self {
            Members::One(present) if *present == index => *self = Members::None,
            Members::Many(set) => {
                set.remove(index);
                if set.is_empty() {
                    *self = Members::None;
                }
            }
            Members::None | Members::One(_) => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Members::None)
    }

    fn within(&self, set: &RoaringBitmap) -> RoaringBitmap {
        match self {
            Members::None => RoaringBitmap::new(),
            Members::One(index) => set.contains(*index).then_some(*index).into_iter().collect(),
            Members::Many(members) => members.as_ref() & set,
        }
    }

    /// The set, when it is one that has been stored as such.
    pub(crate) fn many(&self) -> Option<&RoaringBitmap> {
        match self {
            Members::Many(set) => Some(set),
            Members::None | Members::One(_) => None,
        }
    }

    pub(crate) fn add_to(&self, target: &mut RoaringBitmap) {
        match self {
            Members::None => {}
            Members::One(index) => {
                target.insert(*index);
            }
            Members::Many(set) => *target |= set.as_ref(),
        }
    }
}

/// Everything with one label key.
#[derive(Debug)]
struct LabelKey {
    name: Box<str>,
    any: Members,
    /// Its labels.
    labels: Vec<u32>,
}

/// One key with one value.
#[derive(Debug)]
struct Label {
    key: u32,
    /// Where it is among its key's labels.
    position: u32,
    value: Box<str>,
    members: Members,
}

/// The index over one inventory's destinations.
#[derive(Debug, Default)]
pub struct Inventory {
    keys: Vec<LabelKey>,
    by_key: HashMap<Box<str>, u32>,
    labels: Vec<Option<Label>>,
    free: Vec<u32>,
    by_label: HashTable<u32>,
    hasher: RandomState,
    held: Paged<Box<[u32]>>,
    all: Destinations,
    accepted: Destinations,
}

/// A destination's labels.
pub type Labels = BTreeMap<String, String>;

impl Inventory {
    /// An inventory without destinations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a destination, or changes the labels and acceptance of one that is there.
    pub fn set(&mut self, destination: Destination, labels: &Labels, accepted: bool) {
        self.all.insert(destination.0);
        if accepted {
            self.accepted.insert(destination.0);
        } else {
            self.accepted.remove(destination.0);
        }
        let new: Box<[u32]> = labels
            .iter()
            .map(|(key, value)| self.join(destination.0, key, value))
            .collect();
        let old = self.held.insert(destination.0, new);
        for label in old.iter().flatten() {
            let still = self.held.get(destination.0);
            if still.is_none_or(|set| !set.contains(label)) {
                self.leave(destination.0, *label);
            }
        }
    }

    /// Takes a destination out.
    pub fn remove(&mut self, destination: Destination) {
        self.all.remove(destination.0);
        self.accepted.remove(destination.0);
        for label in self.held.remove(destination.0).iter().flatten() {
            self.leave(destination.0, *label);
        }
    }

    /// A destination's labels.
    pub fn labels(&self, destination: Destination) -> impl Iterator<Item = (&str, &str)> {
        let held = self.held.get(destination.0).into_iter().flatten();
        held.filter_map(|label| {
            let label = self.labels.get(*label as usize)?.as_ref()?;
            let key = self.keys.get(label.key as usize)?;
            Some((key.name.as_ref(), label.value.as_ref()))
        })
    }

    /// Whether these are a destination's labels.
    pub fn has_labels(&self, destination: Destination, labels: &Labels) -> bool {
        let held = self.held.get(destination.0).map_or(0, |held| held.len());
        held == labels.len()
            && self
                .labels(destination)
                .all(|(key, value)| labels.get(key).is_some_and(|given| given == value))
    }

    /// The value of one of a destination's labels.
    pub fn label(&self, destination: Destination, key: &str) -> Option<&str> {
        let found = self.labels(destination).find(|(k, _)| *k == key);
        found.map(|(_, value)| value)
    }

    /// Whether any of the selectors selects a destination, looking at nothing else.
    pub fn selects_any(&self, selectors: &[LabelSelector], destination: Destination) -> bool {
        let label = |key: &str| self.label(destination, key);
        selectors.iter().any(|s| s.matches(label))
    }

    fn hash(&self, key: u32, value: &str) -> u64 {
        self.hasher.hash_one((key, value))
    }

    fn find(&self, key: u32, value: &str) -> Option<u32> {
        let same = |at: &u32| {
            let label = self.labels.get(*at as usize).and_then(Option::as_ref);
            label.is_some_and(|l| l.key == key && *l.value == *value)
        };
        let hash = self.hash(key, value);
        self.by_label.find(hash, same).copied()
    }

    fn key(&self, name: &str) -> Option<&LabelKey> {
        self.keys.get(*self.by_key.get(name)? as usize)
    }

    /// The members of one label.
    fn members(&self, key: &str, value: &str) -> Option<&Members> {
        let label = self.find(*self.by_key.get(key)?, value)?;
        Some(&self.labels.get(label as usize)?.as_ref()?.members)
    }

    /// A key's labels.
    fn of_key(&self, key: &str) -> impl Iterator<Item = &Label> {
        let labels = self.key(key).into_iter().flat_map(|k| &k.labels);
        labels.filter_map(|label| self.labels.get(*label as usize)?.as_ref())
    }

    /// Enters a destination under a label, made when it is new.
    fn join(&mut self, index: u32, name: &str, value: &str) -> u32 {
        let key = match self.by_key.get(name) {
            Some(key) => *key,
            None => {
                let key = self.keys.len() as u32;
                self.keys.push(LabelKey {
                    name: name.into(),
                    any: Members::None,
                    labels: Vec::new(),
                });
                self.by_key.insert(name.into(), key);
                key
            }
        };
        let label = self
            .find(key, value)
            .unwrap_or_else(|| self.make(key, value));
        if let Some(Some(entry)) = self.labels.get_mut(label as usize) {
            entry.members.insert(index);
        }
        if let Some(key) = self.keys.get_mut(key as usize) {
            key.any.insert(index);
        }
        label
    }

    fn make(&mut self, key: u32, value: &str) -> u32 {
        let label = self.free.pop().unwrap_or(self.labels.len() as u32);
        let siblings = &mut self.keys[key as usize].labels;
        let fresh = Label {
            key,
            position: siblings.len() as u32,
            value: value.into(),
            members: Members::None,
        };
        siblings.push(label);
        if label as usize == self.labels.len() {
            self.labels.push(Some(fresh));
        } else {
            self.labels[label as usize] = Some(fresh);
        }
        let hash = self.hash(key, value);
        let Inventory {
            by_label,
            labels,
            hasher,
            ..
        } = self;
        by_label.insert_unique(hash, label, |at| match &labels[*at as usize] {
            Some(l) => hasher.hash_one((l.key, &*l.value)),
            None => 0,
        });
        label
    }

    /// Takes a destination out of a label; one that nobody has is forgotten. Keys are few and stay.
    fn leave(&mut self, index: u32, label: u32) {
        let Some(Some(entry)) = self.labels.get_mut(label as usize) else {
            return;
        };
        entry.members.remove(index);
        let (key, empty) = (entry.key, entry.members.is_empty());
        // A destination has a key once: it may have it with another value by now.
        let held = self.held.get(index);
        let again = held.is_some_and(|set| {
            set.iter().any(|other| {
                let other = self.labels.get(*other as usize).and_then(Option::as_ref);
                other.is_some_and(|l| l.key == key)
            })
        });
        if !again && let Some(key) = self.keys.get_mut(key as usize) {
            key.any.remove(index);
        }
        if empty {
            self.forget(label);
        }
    }

    fn forget(&mut self, label: u32) {
        let Some(entry) = self.labels.get_mut(label as usize).and_then(Option::take) else {
            return;
        };
        let hash = self.hash(entry.key, &entry.value);
        if let Ok(found) = self.by_label.find_entry(hash, |at| *at == label) {
            found.remove();
        }
        let siblings = &mut self.keys[entry.key as usize].labels;
        siblings.swap_remove(entry.position as usize);
        if let Some(moved) = siblings.get(entry.position as usize)
            && let Some(Some(moved)) = self.labels.get_mut(*moved as usize)
        {
            moved.position = entry.position;
        }
        self.free.push(label);
    }

    /// A set divided by the value of a label; `None` when the label has so many values that looking at each member is cheaper.
    pub fn divide(
        &self,
        set: &Destinations,
        key: &str,
    ) -> Option<Vec<(Option<Arc<str>>, Destinations)>> {
        if self.values(key) as u64 > set.len() / 16 {
            return None;
        }
        let parts = self.split(key, set).into_iter();
        Some(
            parts
                .map(|(value, part)| (value.map(Arc::from), part))
                .collect(),
        )
    }

    /// How many values a label has.
    pub fn values(&self, key: &str) -> usize {
        self.key(key).map_or(0, |key| key.labels.len())
    }

    /// A set, split by a label's values; `None` are those without it. No part is empty, and their order is that of the values.
    pub fn split<'a>(
        &'a self,
        key: &str,
        set: &Destinations,
    ) -> Vec<(Option<&'a str>, Destinations)> {
        let mut parts = Vec::new();
        let mut rest = set.clone();
        for label in self.of_key(key) {
            let part = label.members.within(set);
            if !part.is_empty() {
                rest -= &part;
                parts.push((Some(label.value.as_ref()), part));
            }
        }
        if !rest.is_empty() {
            parts.push((None, rest));
        }
        parts.sort_by_key(|(value, _)| *value);
        parts
    }

    /// Every destination that exists.
    pub fn all(&self) -> &Destinations {
        &self.all
    }

    /// The destinations that may be given something new (`hubAcceptsClient`).
    pub fn accepted(&self) -> &Destinations {
        &self.accepted
    }

    /// The destinations that any of the selectors selects, accepted or not. No selectors select nothing.
    pub fn select_any(&self, selectors: &[LabelSelector]) -> Destinations {
        let mut found = Destinations::new();
        for selector in selectors {
            found |= self.select(selector);
        }
        found
    }

    /// The destinations that a selector selects, accepted or not.
    pub fn select(&self, selector: &LabelSelector) -> Destinations {
        if selector.nothing {
            return Destinations::new();
        }
        let mut found: Option<Destinations> = None;
        // Narrowing conditions first, so that a negation is subtracted from little.
        let (negative, positive): (Vec<_>, Vec<_>) =
            selector.requirements.iter().partition(|r| is_negative(r));
        for requirement in positive {
            let members = self.positive(requirement);
            found = Some(match found {
                Some(found) => found & members,
                None => members,
            });
        }
        let mut found = found.unwrap_or_else(|| self.all.clone());
        for requirement in negative {
            found -= self.negated(requirement);
        }
        found
    }

    fn with_values(&self, requirement: &Requirement) -> Destinations {
        let mut found = Destinations::new();
        for value in &requirement.values {
            if let Some(members) = self.members(&requirement.key, value) {
                members.add_to(&mut found);
            }
        }
        found
    }

    fn with_key(&self, key: &str) -> Destinations {
        let mut found = Destinations::new();
        if let Some(entry) = self.key(key) {
            entry.any.add_to(&mut found);
        }
        found
    }

    fn positive(&self, requirement: &Requirement) -> Destinations {
        match requirement.operator {
            Operator::GreaterThan | Operator::LessThan => self.compare(requirement),
            Operator::Exists => self.with_key(&requirement.key),
            _ => self.with_values(requirement),
        }
    }

    /// What a negative requirement takes away.
    fn negated(&self, requirement: &Requirement) -> Destinations {
        match requirement.operator {
            Operator::DoesNotExist => self.with_key(&requirement.key),
            _ => self.with_values(requirement),
        }
    }

    fn compare(&self, requirement: &Requirement) -> Destinations {
        let mut found = Destinations::new();
        let Some(bound) = requirement
            .values
            .first()
            .and_then(|v| v.parse::<i64>().ok())
        else {
            return found;
        };
        for label in self.of_key(&requirement.key) {
            let Ok(value) = label.value.parse::<i64>() else {
                continue;
            };
            let holds = match requirement.operator {
                Operator::GreaterThan => value > bound,
                _ => value < bound,
            };
            if holds {
                label.members.add_to(&mut found);
            }
        }
        found
    }
}

fn is_negative(requirement: &Requirement) -> bool {
    matches!(
        requirement.operator,
        Operator::NotEquals | Operator::NotIn | Operator::DoesNotExist
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&str; 3] = ["region", "tier", "host"];
    const VALUES: [&str; 3] = ["a", "b", "7"];

    fn labels() -> impl Strategy<Value = Labels> {
        proptest::collection::btree_map(
            proptest::sample::select(KEYS.to_vec()),
            proptest::sample::select(VALUES.to_vec()),
            0..3,
        )
        .prop_map(|m| {
            m.into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect()
        })
    }

    fn requirement() -> impl Strategy<Value = Requirement> {
        let operator = proptest::sample::select(vec![
            Operator::In,
            Operator::NotIn,
            Operator::Exists,
            Operator::DoesNotExist,
            Operator::Equals,
            Operator::NotEquals,
        ]);
        (
            proptest::sample::select(KEYS.to_vec()),
            operator,
            proptest::sample::subsequence(VALUES.to_vec(), 1..3),
        )
            .prop_map(|(key, operator, values)| Requirement {
                key: key.to_owned(),
                operator,
                values: values.into_iter().map(str::to_owned).collect(),
            })
    }

    /// What a requirement means for one destination, said as simply as possible.
    fn holds(requirement: &Requirement, labels: &Labels) -> bool {
        let value = labels.get(&requirement.key);
        let listed = value.is_some_and(|v| requirement.values.contains(v));
        match requirement.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::NotIn | Operator::NotEquals => !listed,
            _ => listed,
        }
    }

    proptest! {
        /// After any history, a selector finds exactly what testing each destination finds.
        #[test]
        fn selection_equals_testing_each_destination(
            history in proptest::collection::vec((0u32..12, proptest::option::of(labels())), 0..40),
            requirements in proptest::collection::vec(requirement(), 0..4),
        ) {
            let mut index = Inventory::new();
            let mut model: BTreeMap<u32, Labels> = BTreeMap::new();
            for (id, step) in history {
                let destination = Destination(id);
                match step {
                    Some(new) => { index.set(destination, &new, true); model.insert(id, new); }
                    None => { index.remove(destination); model.remove(&id); }
                }
            }
            for (id, labels) in &model {
                let held: Labels = index.labels(Destination(*id)).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
                prop_assert_eq!(&held, labels);
            }
            let distinct: std::collections::BTreeSet<_> = model.values().flatten().collect();
            prop_assert_eq!(index.by_label.len(), distinct.len(), "what nobody has is forgotten");
            let selector = LabelSelector { requirements, nothing: false };
            let expected: Destinations = model.iter()
                .filter(|(_, labels)| selector.requirements.iter().all(|r| holds(r, labels)))
                .map(|(id, _)| *id).collect();
            for id in 0..12 {
                let alone = index.selects_any(std::slice::from_ref(&selector), Destination(id));
                prop_assert_eq!(alone && model.contains_key(&id), expected.contains(id));
            }
            prop_assert_eq!(index.select(&selector), expected);
        }
    }

    #[test]
    fn no_selector_selects_nothing_and_an_empty_one_everything() {
        let mut index = Inventory::new();
        index.set(Destination(3), &Labels::new(), false);
        assert!(index.select_any(&[]).is_empty());
        assert!(index.select(&LabelSelector::nothing()).is_empty());
        assert_eq!(index.select_any(&[LabelSelector::everything()]).len(), 1);
        assert!(index.accepted().is_empty());
    }
}
