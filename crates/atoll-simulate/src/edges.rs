//! What simulated destinations hold: what they were sent, decoded, and nothing else.
//!
//! Per copy there are eight bytes: its object and its version, both interned. A version of its own (a body that nobody else has) costs its entry. Pure: no connection is known here.

use std::collections::HashMap;

use atoll_wire::digest::SetDigest;
use atoll_wire::{CopyId, Item, ObjectRef};

use crate::oracle::Print;

/// An object's number.
pub(crate) type ObjectNumber = u32;

/// One version of one object, as some destination holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    pub(crate) render: [u8; 16],
    pub(crate) print: Print,
}

/// One copy: which object, which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) object: ObjectNumber,
    version: u32,
    /// Counts the changes of its status.
    pub(crate) phase: u8,
}

/// The objects and versions that a hub's destinations hold.
#[derive(Debug, Default)]
pub(crate) struct Known {
    objects: Vec<(CopyId, ObjectRef)>,
    by_copy: HashMap<CopyId, ObjectNumber>,
    versions: Vec<Version>,
    by_version: HashMap<Version, u32>,
}

impl Known {
    /// The number of an item's object.
    pub(crate) fn object(&mut self, item: &Item) -> Option<ObjectNumber> {
        let copy = item.copy.clone()?;
        if let Some(number) = self.by_copy.get(&copy) {
            return Some(*number);
        }
        let number = self.objects.len() as ObjectNumber;
        self.objects.push((copy.clone(), item.object.clone()?));
        self.by_copy.insert(copy, number);
        Some(number)
    }

    pub(crate) fn number_of(&self, copy: &CopyId) -> Option<ObjectNumber> {
        self.by_copy.get(copy).copied()
    }

    pub(crate) fn copy(&self, object: ObjectNumber) -> &CopyId {
        &self.objects[object as usize].0
    }

    pub(crate) fn reference(&self, object: ObjectNumber) -> &ObjectRef {
        &self.objects[object as usize].1
    }

    /// A copy in a version.
    pub(crate) fn held(&mut self, object: ObjectNumber, version: Version) -> Held {
        let next = self.versions.len() as u32;
        let number = *self.by_version.entry(version).or_insert(next);
        if number == next {
            self.versions.push(version);
        }
        Held {
            object,
            version: number,
            phase: 0,
        }
    }

    pub(crate) fn version(&self, held: Held) -> Version {
        self.versions[held.version as usize]
    }
}

/// One destination.
#[derive(Debug, Default)]
pub(crate) struct Edge {
    /// Sorted by object.
    copies: Vec<Held>,
    /// It is connected, or wants to be.
    pub(crate) online: bool,
    /// The center said Welcome.
    pub(crate) welcome: bool,
    /// Whose status changes next.
    turn: u32,
}

impl Edge {
    /// Holds a copy; true when that is news.
    pub(crate) fn take(&mut self, held: Held) -> bool {
        match self.copies.binary_search_by_key(&held.object, |h| h.object) {
            Ok(place) => {
                let before = &mut self.copies[place];
                std::mem::replace(&mut before.version, held.version) != held.version
            }
            Err(place) => {
                self.copies.insert(place, held);
                true
            }
        }
    }

    /// The status of one of its workloads changes, of each in turn. Returns which.
    pub(crate) fn stir(
        &mut self,
        is_workload: impl Fn(ObjectNumber) -> bool,
    ) -> Option<ObjectNumber> {
        self.turn = self.turn.wrapping_add(1);
        let workloads = self.copies.iter().filter(|h| is_workload(h.object)).count();
        let turn = self.turn as usize % workloads.max(1);
        let mut workloads = self.copies.iter_mut().filter(|h| is_workload(h.object));
        let held = workloads.nth(turn)?;
        held.phase = held.phase.wrapping_add(1);
        Some(held.object)
    }

    /// Lets a copy go.
    pub(crate) fn drop_copy(&mut self, object: ObjectNumber) -> bool {
        let place = self.copies.binary_search_by_key(&object, |h| h.object);
        place.map(|place| self.copies.remove(place)).is_ok()
    }

    pub(crate) fn copies(&self) -> &[Held] {
        &self.copies
    }

    /// The copy of an object.
    pub(crate) fn copy(&self, object: ObjectNumber) -> Option<Held> {
        let place = self
            .copies
            .binary_search_by_key(&object, |h| h.object)
            .ok()?;
        self.copies.get(place).copied()
    }

    /// What its Hello says of what it holds.
    pub(crate) fn digest(&self, known: &Known) -> SetDigest {
        let mut digest = SetDigest::EMPTY;
        for held in &self.copies {
            digest.add(known.copy(held.object), &known.version(*held).render);
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_holds_the_last_version_of_each() {
        let item = |uid: &str| Item {
            copy: Some(CopyId {
                cluster: "c".into(),
                uid: uid.into(),
            }),
            object: Some(ObjectRef::default()),
            ..Item::default()
        };
        let mut known = Known::default();
        let (a, b) = (
            known.object(&item("a")).unwrap(),
            known.object(&item("b")).unwrap(),
        );
        assert_eq!(known.object(&item("a")), Some(a));
        let version = |n: u8| Version {
            render: [n; 16],
            print: u64::from(n),
        };
        let mut edge = Edge::default();
        for (object, n, news) in [(b, 1, true), (a, 1, true), (a, 1, false), (a, 2, true)] {
            let held = known.held(object, version(n));
            assert_eq!(edge.take(held), news);
        }
        assert_eq!(edge.copies().len(), 2);
        assert_eq!(known.version(edge.copies()[0]), version(2));
        assert!(edge.drop_copy(a) && !edge.drop_copy(a));
        let mut digest = SetDigest::EMPTY;
        digest.add(known.copy(b), &[1; 16]);
        assert_eq!(edge.digest(&known), digest);
    }
}
