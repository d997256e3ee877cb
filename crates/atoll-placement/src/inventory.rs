//! The inventory's index: label -> destinations, so that a selector over a million destinations is a few bitmap operations.
//!
//! Always true: a destination is in the set of each of its labels and in no other; `all` holds every destination that exists
//! and `accepted` those that may be given something new. Labels are interned; a label that only one destination has costs no bitmap.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atoll_kube::selector::{LabelSelector, Operator, Requirement};
use roaring::RoaringBitmap;

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

#[derive(Debug, Default)]
struct LabelKey {
    any: Members,
    values: HashMap<Box<str>, Members>,
}

/// The index over one inventory's destinations.
#[derive(Debug, Default)]
pub struct Inventory {
    labels: HashMap<Box<str>, LabelKey>,
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

    /// Adds a destination that was not there.
    pub fn add(&mut self, destination: Destination, labels: &Labels, accepted: bool) {
        self.all.insert(destination.0);
        self.set_accepted(destination, accepted);
        for (key, value) in labels {
            self.add_label(destination.0, key, value);
        }
    }

    /// Changes a destination's labels and acceptance.
    pub fn change(&mut self, destination: Destination, old: &Labels, new: &Labels, accepted: bool) {
        self.set_accepted(destination, accepted);
        for (key, value) in old {
            if new.get(key) != Some(value) {
                self.remove_label(destination.0, key, value);
            }
        }
        for (key, value) in new {
            if old.get(key) != Some(value) {
                self.add_label(destination.0, key, value);
            }
        }
    }

    /// Takes a destination out.
    pub fn remove(&mut self, destination: Destination, labels: &Labels) {
        self.all.remove(destination.0);
        self.accepted.remove(destination.0);
        for (key, value) in labels {
            self.remove_label(destination.0, key, value);
        }
    }

    /// A set divided by the value of a label; `None` when the label has so many values that looking at each member is cheaper.
    pub fn divide(
        &self,
        set: &Destinations,
        key: &str,
    ) -> Option<Vec<(Option<Arc<str>>, Destinations)>> {
        let Some(label) = self.labels.get(key) else {
            return Some(vec![(None, set.clone())]);
        };
        if label.values.len() as u64 > set.len() / 16 {
            return None;
        }
        let mut rest = set.clone();
        let mut parts = Vec::new();
        for (value, members) in &label.values {
            let part = match members {
                Members::None => continue,
                Members::One(index) if !set.contains(*index) => continue,
                Members::One(index) => Destinations::from_iter([*index]),
                Members::Many(members) => set & members.as_ref(),
            };
            if !part.is_empty() {
                rest -= &part;
                parts.push((Some(Arc::from(&**value)), part));
            }
        }
        if !rest.is_empty() {
            parts.push((None, rest));
        }
        Some(parts)
    }

    fn set_accepted(&mut self, destination: Destination, accepted: bool) {
        if accepted {
            self.accepted.insert(destination.0);
        } else {
            self.accepted.remove(destination.0);
        }
    }

    fn add_label(&mut self, index: u32, key: &str, value: &str) {
        if !self.labels.contains_key(key) {
            self.labels.insert(key.into(), LabelKey::default());
        }
        let Some(entry) = self.labels.get_mut(key) else {
            return;
        };
        entry.any.insert(index);
        entry.values.entry(value.into()).or_default().insert(index);
    }

    fn remove_label(&mut self, index: u32, key: &str, value: &str) {
        let Some(entry) = self.labels.get_mut(key) else {
            return;
        };
        let mut held = false;
        if let Some(members) = entry.values.get_mut(value) {
            held = true;
            members.remove(index);
            if members.is_empty() {
                entry.values.remove(value);
            }
        }
        if held {
            entry.any.remove(index);
        }
        if entry.any.is_empty() {
            self.labels.remove(key);
        }
    }

    /// How many values a label has.
    pub fn values(&self, key: &str) -> usize {
        self.labels.get(key).map_or(0, |entry| entry.values.len())
    }

    /// A set, split by a label's values; `None` are those without it. No part is empty, and their order is that of the values.
    pub fn split<'a>(
        &'a self,
        key: &str,
        set: &Destinations,
    ) -> Vec<(Option<&'a str>, Destinations)> {
        let mut parts = Vec::new();
        let mut rest = set.clone();
        if let Some(entry) = self.labels.get(key) {
            for (value, members) in &entry.values {
                let part = members.within(set);
                if !part.is_empty() {
                    rest -= &part;
                    parts.push((Some(value.as_ref()), part));
                }
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
        if let Some(entry) = self.labels.get(requirement.key.as_str()) {
            for value in &requirement.values {
                if let Some(members) = entry.values.get(value.as_str()) {
                    members.add_to(&mut found);
                }
            }
        }
        found
    }

    fn with_key(&self, key: &str) -> Destinations {
        let mut found = Destinations::new();
        if let Some(entry) = self.labels.get(key) {
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
        if let Some(entry) = self.labels.get(requirement.key.as_str()) {
            for (value, members) in &entry.values {
                let Ok(value) = value.parse::<i64>() else {
                    continue;
                };
                let holds = match requirement.operator {
                    Operator::GreaterThan => value > bound,
                    _ => value < bound,
                };
                if holds {
                    members.add_to(&mut found);
                }
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
                match (model.get(&id).cloned(), step) {
                    (None, Some(new)) => { index.add(destination, &new, true); model.insert(id, new); }
                    (Some(old), Some(new)) => { index.change(destination, &old, &new, true); model.insert(id, new); }
                    (Some(old), None) => { index.remove(destination, &old); model.remove(&id); }
                    (None, None) => {}
                }
            }
            let selector = LabelSelector { requirements, nothing: false };
            let expected: Destinations = model.iter()
                .filter(|(_, labels)| selector.requirements.iter().all(|r| holds(r, labels)))
                .map(|(id, _)| *id).collect();
            prop_assert_eq!(index.select(&selector), expected);
        }
    }

    #[test]
    fn no_selector_selects_nothing_and_an_empty_one_everything() {
        let mut index = Inventory::new();
        index.add(Destination(3), &Labels::new(), false);
        assert!(index.select_any(&[]).is_empty());
        assert!(index.select(&LabelSelector::nothing()).is_empty());
        assert_eq!(index.select_any(&[LabelSelector::everything()]).len(), 1);
        assert!(index.accepted().is_empty());
    }
}
