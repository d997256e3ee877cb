//! How many destinations of a policy work on a change at a time, by their own eyes: from when one holds something new until what it says of that is acknowledged, so durable.
//!
//! The center's slots begin before (with the durable assignment) and end after (when it takes the report in), so there can never be more at work here than slots there.

use std::collections::{HashMap, HashSet};

/// The changes under way.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// By policy: whether it is watched at all is that it has an entry.
    busy: HashMap<String, HashSet<u32>>,
    most: HashMap<String, usize>,
}

/// The policy of an object, by its name.
fn policy_of(object: &str) -> &str {
    object.rsplit_once('-').map_or(object, |(policy, _)| policy)
}

impl Slots {
    /// Looks at these policies from now on, and at no others.
    pub(crate) fn watch<'a>(&mut self, policies: impl Iterator<Item = &'a str>) {
        self.most.clear();
        self.busy = policies.map(|p| (p.to_owned(), HashSet::new())).collect();
    }

    /// A destination holds something new.
    pub(crate) fn begins(&mut self, object: &str, destination: u32) {
        if let Some(busy) = self.busy.get_mut(policy_of(object)) {
            busy.insert(destination);
            let most = self.most.entry(policy_of(object).to_owned()).or_default();
            *most = (*most).max(busy.len());
        }
    }

    /// What it says of that is acknowledged.
    pub(crate) fn ends(&mut self, object: &str, destination: u32) {
        if let Some(busy) = self.busy.get_mut(policy_of(object)) {
            busy.remove(&destination);
        }
    }

    /// Nobody knows what the center has heard of these.
    pub(crate) fn forget(&mut self, destinations: std::ops::Range<u32>) {
        for busy in self.busy.values_mut() {
            busy.retain(|d| !destinations.contains(d));
        }
    }

    /// The most that were at work at a time, by policy.
    pub(crate) fn most(&self) -> &HashMap<String, usize> {
        &self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_at_a_time_is_remembered() {
        let mut slots = Slots::default();
        slots.watch(["policy-00"].into_iter());
        slots.begins("policy-00-002", 1);
        slots.begins("policy-00-003", 2);
        slots.begins("policy-01-002", 3);
        slots.ends("policy-00-002", 1);
        slots.begins("policy-00-002", 4);
        assert_eq!(slots.most()["policy-00"], 2);
        assert_eq!(slots.most().len(), 1);
        slots.forget(0..3);
        slots.begins("policy-00-002", 5);
        assert_eq!(slots.most()["policy-00"], 2);
    }
}
