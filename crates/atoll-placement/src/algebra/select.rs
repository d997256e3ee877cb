//! The first destinations of a set in the order of their names, without sorting the set.
//!
//! Walking the roster by name finds `limit` members quickly when the set is dense; looking at the members is quick when it is small. The cheaper is taken, so that the
//! cost is at most about the square root of the roster's size times `limit`.

use std::borrow::Cow;
use std::collections::BinaryHeap;

use super::inputs::Roster;
use crate::{Destination, Destinations};

/// The first `limit` members by name.
pub fn first_by_name(set: &Destinations, limit: usize, roster: &dyn Roster) -> Vec<Destination> {
    if limit == 0 || set.is_empty() {
        return Vec::new();
    }
    let members = set.len() as u128;
    if members * members <= roster.len() as u128 * limit as u128 || members <= 64 {
        let mut first: BinaryHeap<(Cow<'_, str>, u32)> = BinaryHeap::new();
        for index in set {
            let entry = (roster.name(Destination(index)), index);
            if first.len() < limit {
                first.push(entry);
            } else if first.peek().is_some_and(|last| entry < *last) {
                first.pop();
                first.push(entry);
            }
        }
        let sorted = first.into_sorted_vec().into_iter();
        return sorted.map(|(_, index)| Destination(index)).collect();
    }
    let named = roster.by_name().filter(|d| set.contains(d.0));
    named.take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::inputs::PlainRoster;

    #[test]
    fn both_ways_find_the_same() {
        let mut roster = PlainRoster::new();
        for i in 0..2000u32 {
            roster.set(
                Destination(i),
                &format!("edge-{:04}", i * 7919 % 2000),
                Default::default(),
            );
        }
        for step in [1usize, 3, 100, 999] {
            let set: Destinations = (0..2000).step_by(step).collect();
            for limit in [0, 1, 20, 5000] {
                let mut expected: Vec<Destination> = set.iter().map(Destination).collect();
                expected.sort_by_key(|d| roster.name(*d).into_owned());
                expected.truncate(limit);
                assert_eq!(
                    first_by_name(&set, limit, &roster),
                    expected,
                    "{step} {limit}"
                );
            }
        }
    }
}
