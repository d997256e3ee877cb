//! How many copies are how: disjoint counts, and errors grouped with examples.
//!
//! Always true: `expected = current + outdated + failed + unreported`. Staleness (an edge that is away) is a flag beside, not a fifth state.

use std::collections::BTreeMap;

use crate::bundle::RenderHash;
use crate::columns::{Column, Reported, Values};
use crate::health::Health;
use crate::{Destination, Destinations};

/// Disjoint counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many there should be.
    pub expected: u64,
    /// Applied as they should be now.
    pub current: u64,
    /// Applied, but an older render.
    pub outdated: u64,
    /// Not applied, for a reason that was reported.
    pub failed: u64,
    /// Nothing was ever reported.
    pub unreported: u64,
    /// Of the current ones: healthy.
    pub healthy: u64,
    /// Of all: at a destination that is away.
    pub stale: u64,
}

/// An object's copies by state; the sets are disjoint and lie within where it is expected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct States {
    /// Where it is expected.
    pub expected: Destinations,
    /// Applied as it should be.
    pub current: Destinations,
    /// An older render is applied.
    pub outdated: Destinations,
    /// Not applied.
    pub failed: Destinations,
    /// Current and healthy.
    pub healthy: Destinations,
}

impl States {
    /// Copies that cannot be made: failed, whatever is there.
    pub fn fail(&mut self, destinations: &Destinations) {
        let failing = destinations & &self.expected;
        self.current -= &failing;
        self.outdated -= &failing;
        self.healthy -= &failing;
        self.failed |= failing;
    }

    /// Where nothing was reported.
    pub fn unreported(&self) -> Destinations {
        ((&self.expected - &self.current) - &self.outdated) - &self.failed
    }
}

/// Sorts an object's copies by state. `wanted` gives, per render hash, where exactly that render is expected.
pub fn states(
    column: Option<&Column>,
    values: &Values,
    wanted: &[(RenderHash, Destinations)],
) -> States {
    let mut states = States::default();
    for (_, destinations) in wanted {
        states.expected |= destinations;
    }
    let Some(column) = column else { return states };
    for (id, set) in column.sets() {
        let Some(value) = values.get(id) else {
            continue;
        };
        let mut set = set & &states.expected;
        if value.error != 0 {
            states.failed |= set;
            continue;
        }
        for (_, destinations) in wanted.iter().filter(|(render, _)| *render == value.render) {
            let current = &set & destinations;
            if value.health == Health::Healthy {
                states.healthy |= &current;
            }
            set -= &current;
            states.current |= current;
        }
        states.outdated |= set;
    }
    states
}

/// Adds up copies of several objects, and destinations: one is as bad as its worst copy (failed, unreported, outdated, current).
#[derive(Debug, Default)]
pub struct Tally {
    copies: Counts,
    expected: Destinations,
    failed: Destinations,
    unreported: Destinations,
    outdated: Destinations,
    unhealthy: Destinations,
}

impl Tally {
    /// Adds one object's copies.
    pub fn add(&mut self, states: &States, away: &Destinations) {
        let unreported = states.unreported();
        self.copies.expected += states.expected.len();
        self.copies.current += states.current.len();
        self.copies.outdated += states.outdated.len();
        self.copies.failed += states.failed.len();
        self.copies.unreported += unreported.len();
        self.copies.healthy += states.healthy.len();
        self.copies.stale += states.expected.intersection_len(away);
        self.unhealthy |= &states.expected - &states.healthy;
        self.expected |= &states.expected;
        self.failed |= &states.failed;
        self.outdated |= &states.outdated;
        self.unreported |= unreported;
    }

    /// Counts of copies.
    pub fn copies(&self) -> Counts {
        self.copies
    }

    /// Counts of destinations, among those `assigned` (one without any copy is current).
    pub fn destinations(&self, assigned: &Destinations, away: &Destinations) -> Counts {
        let failed = &self.failed & assigned;
        let unreported = (&self.unreported & assigned) - &failed;
        let outdated = ((&self.outdated & assigned) - &failed) - &unreported;
        let current = ((assigned - &failed) - &unreported) - &outdated;
        Counts {
            expected: assigned.len(),
            current: current.len(),
            outdated: outdated.len(),
            failed: failed.len(),
            unreported: unreported.len(),
            healthy: (current - &self.unhealthy).len(),
            stale: assigned.intersection_len(away),
        }
    }
}

/// One kind of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorGroup {
    /// The error's code (`atoll_wire::ErrorKind`).
    pub error: u8,
    /// In words.
    pub message: String,
    /// How many copies.
    pub count: u64,
    /// The lowest-numbered destinations that have it, at most three.
    pub examples: Vec<Destination>,
}

/// Groups failures by error and words.
#[derive(Debug, Default)]
pub struct ErrorGroups {
    groups: BTreeMap<(u8, String), (u64, Destinations)>,
}

impl ErrorGroups {
    /// Adds one object's failing copies. `subject` is put before the words, so that a person knows what failed.
    pub fn add(&mut self, subject: &str, column: &Column, values: &Values, within: &Destinations) {
        for (id, set) in column.sets() {
            let Some(value) = values.get(id).filter(|value| value.error != 0) else {
                continue;
            };
            let set = set & within;
            if set.is_empty() {
                continue;
            }
            let message = describe(subject, value);
            let (count, destinations) = self.groups.entry((value.error, message)).or_default();
            *count += set.len();
            *destinations |= set.iter().take(3).collect::<Destinations>();
        }
    }

    /// The groups, most frequent first, at most `limit`.
    pub fn top(&self, limit: usize) -> Vec<ErrorGroup> {
        let mut groups: Vec<ErrorGroup> = self
            .groups
            .iter()
            .map(|((error, message), (count, destinations))| ErrorGroup {
                error: *error,
                message: message.clone(),
                count: *count,
                examples: destinations.iter().take(3).map(Destination).collect(),
            })
            .collect();
        groups.sort_by(|a, b| {
            b.count
                .cmp(&a.count)
                .then_with(|| a.message.cmp(&b.message))
        });
        groups.truncate(limit);
        groups
    }
}

fn describe(subject: &str, value: &Reported) -> String {
    if value.message.is_empty() {
        subject.to_owned()
    } else {
        format!("{subject}: {}", value.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(render: u8, error: u8, health: Health) -> Reported {
        Reported {
            render: [render; 16],
            error,
            message: "why".into(),
            health,
            observed: None,
            status: "".into(),
        }
    }

    proptest! {
        /// Counts are disjoint, complete, and equal to judging every copy by itself.
        #[test]
        fn counts_equal_judging_each_copy(
            reports in proptest::collection::btree_map(0u32..40, (0u8..3, 0u8..2, 0u8..3), 0..40),
            first in proptest::collection::btree_set(0u32..40, 0..20), second in proptest::collection::btree_set(0u32..40, 0..20),
            away in proptest::collection::btree_set(0u32..40, 0..10),
        ) {
            let mut values = Values::default();
            let mut column = Column::default();
            for (d, (render, error, health)) in &reports {
                column.set(&mut values, Destination(*d), Some(value(*render, *error, Health::from_code(*health))));
            }
            let second: std::collections::BTreeSet<u32> = second.difference(&first).copied().collect();
            let wanted = [([0u8; 16], first.iter().copied().collect::<Destinations>()), ([1u8; 16], second.iter().copied().collect())];
            let away: Destinations = away.into_iter().collect();
            let states = states(Some(&column), &values, &wanted);
            let mut tally = Tally::default();
            tally.add(&states, &away);
            let mut expected = Counts::default();
            for (d, render) in first.iter().map(|d| (d, 0u8)).chain(second.iter().map(|d| (d, 1u8))) {
                expected.expected += 1;
                if away.contains(*d) { expected.stale += 1; }
                match reports.get(d) {
                    None => expected.unreported += 1,
                    Some((_, error, _)) if *error != 0 => expected.failed += 1,
                    Some((r, _, health)) if *r == render => {
                        expected.current += 1;
                        if *health == 0 { expected.healthy += 1; }
                    }
                    Some(_) => expected.outdated += 1,
                }
            }
            prop_assert_eq!(tally.copies(), expected);
            let assigned = &states.expected;
            prop_assert_eq!(tally.destinations(assigned, &away), expected);
        }
    }

    #[test]
    fn errors_are_grouped_with_three_examples() {
        let mut values = Values::default();
        let mut column = Column::default();
        for d in 0..10 {
            column.set(
                &mut values,
                Destination(d),
                Some(value(0, u8::from(d > 1), Health::Progressing)),
            );
        }
        let mut groups = ErrorGroups::default();
        groups.add("Deployment a/b", &column, &values, &(0..8).collect());
        let top = groups.top(5);
        assert_eq!(top.len(), 1);
        assert_eq!(
            (top[0].count, top[0].message.as_str()),
            (6, "Deployment a/b: why")
        );
        assert_eq!(
            top[0].examples,
            [Destination(2), Destination(3), Destination(4)]
        );
    }
}
