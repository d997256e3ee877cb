//! Which copies that are not the same everywhere can be made at all: found by making them, once for each destination and version.
//!
//! Sessions find out when they send a copy; [`crate::checks`] tries those that nobody is sent. Always true: a destination is in at most one set of a version, and what is known of it is
//! forgotten when its properties change.

use std::collections::{BTreeMap, HashMap};

use atoll_placement::bundle::RenderHash;
use atoll_placement::place::ObjectIndex;
use atoll_placement::render::RenderError;
use atoll_placement::{Destination, Destinations};

use super::World;
use super::reported::Copies;

/// What came of making copies of one version.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// Where it was tried.
    pub(crate) done: Destinations,
    /// Where it cannot be made, and why.
    pub(crate) bad: BTreeMap<RenderError, Destinations>,
}

/// What came of making one copy.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) object: ObjectIndex,
    pub(crate) version: RenderHash,
    pub(crate) destination: Destination,
    /// Why it cannot be made.
    pub(crate) fault: Option<RenderError>,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Checks(HashMap<ObjectIndex, BTreeMap<RenderHash, Check>>);

impl Checks {
    fn of(&self, object: ObjectIndex, version: RenderHash) -> Option<&Check> {
        self.0.get(&object)?.get(&version)
    }

    /// Where a version cannot be made.
    pub(crate) fn bad(
        &self,
        object: ObjectIndex,
        version: RenderHash,
    ) -> impl Iterator<Item = &Destinations> {
        let check = self.of(object, version).into_iter();
        check.flat_map(|check| check.bad.values())
    }

    /// Where copies of an object cannot be made, and why; of all versions.
    pub(crate) fn faults(
        &self,
        object: ObjectIndex,
    ) -> impl Iterator<Item = (RenderHash, &RenderError, &Destinations)> {
        let versions = self.0.get(&object).into_iter().flatten();
        versions
            .flat_map(|(version, check)| check.bad.iter().map(|(why, set)| (*version, why, set)))
    }

    /// Those of some destinations where a version was not tried yet.
    pub(crate) fn open(
        &self,
        object: ObjectIndex,
        version: RenderHash,
        within: &Destinations,
    ) -> Destinations {
        match self.of(object, version) {
            Some(check) => within - &check.done,
            None => within.clone(),
        }
    }

    /// What is known of a destination is not so any more. Returns the objects that have to be tried again.
    pub(super) fn forget_at(&mut self, destination: Destination) -> Vec<ObjectIndex> {
        let mut found = Vec::new();
        for (object, versions) in &mut self.0 {
            let mut there = false;
            for check in versions.values_mut() {
                // What could not be made counts as such until it was tried again.
                there |= check.done.remove(destination.0);
            }
            if there {
                found.push(*object);
            }
        }
        found
    }

    pub(super) fn remove(&mut self, object: ObjectIndex) {
        self.0.remove(&object);
    }
}

impl World {
    /// Takes in what came of making copies when `looks` was what it says. Returns those that stand otherwise now; `None`: some destination has changed since, and nothing was taken in.
    pub(crate) fn note_made(&mut self, all: Vec<Made>, looks: u64) -> Option<Copies> {
        if self.looks != looks {
            return None;
        }
        let mut changed = Copies::new();
        for made in all {
            let Made {
                object,
                version,
                destination,
                fault,
            } = made;
            if !self.objects.contains_key(&object) {
                continue;
            }
            let check = self.checks.0.entry(object).or_default();
            let check = check.entry(version).or_default();
            check.done.insert(destination.0);
            let held = check
                .bad
                .iter()
                .find(|(_, set)| set.contains(destination.0));
            let held = held.map(|(why, _)| why);
            if held == fault.as_ref() {
                continue;
            }
            let held = held.cloned();
            let one = Copies::from([(object, [destination.0].into_iter().collect())]);
            self.recounted(&one, |world| {
                let versions = world.checks.0.get_mut(&object);
                let Some(check) = versions.and_then(|v| v.get_mut(&version)) else {
                    return;
                };
                if let Some(held) = held
                    && let Some(set) = check.bad.get_mut(&held)
                {
                    set.remove(destination.0);
                    if set.is_empty() {
                        check.bad.remove(&held);
                    }
                }
                if let Some(fault) = fault {
                    check.bad.entry(fault).or_default().insert(destination.0);
                }
            });
            changed.entry(object).or_default().insert(destination.0);
        }
        Some(changed)
    }

    /// Forgets what came of versions that are kept no longer.
    pub(crate) fn forget_checks(&mut self, object: ObjectIndex) {
        if self.checks.0.contains_key(&object) {
            let kept = self.versions(object);
            if let Some(versions) = self.checks.0.get_mut(&object) {
                versions.retain(|version, _| kept.contains(version));
            }
        }
    }

    /// Copies of an object that were not tried yet, up to so many, made now.
    pub(crate) fn try_copies(&self, object: ObjectIndex, most: usize) -> Vec<Made> {
        let mut found = Vec::new();
        for (copy, set) in self.wanted_within(object, &self.placed(object)) {
            if copy.content.vary.is_none() {
                continue;
            }
            let open = self.checks.open(object, copy.render, &set);
            for destination in open.iter().take(most - found.len()).map(Destination) {
                let made = self.rendered_at(destination, &copy);
                found.push(Made {
                    object,
                    version: copy.render,
                    destination,
                    fault: made.and_then(Result::err),
                });
            }
        }
        found
    }
}
