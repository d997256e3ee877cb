//! The fleet in memory: what the log says, in the shape that decisions and sessions need.
//!
//! Always true: it holds only what is durable (the engine changes it after the append), so whatever a session reads here may leave the process. Per destination there
//! are its name and labels; per object and policy a record; per object *and* destination nothing but bits.

mod checks;
mod collected;
mod desired;
mod destinations;
mod object;
mod policy;
mod reported;
mod tombstones;
mod vary;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use atoll_placement::bundle::BodyHash;
use atoll_placement::choose::signal::Signals;
use atoll_placement::choose::taint::Taints;
use atoll_placement::columns::{Column, Values};
use atoll_placement::inventory::Inventory;
use atoll_placement::place::ObjectIndex;
use atoll_placement::render::{Layer, Layers, Places, PropertyTable};
use atoll_placement::what::WhatIndex;
use atoll_placement::{Destination, Destinations};
use atoll_store::{Key, Revision};
use atoll_wire::{CopyId, ObjectRef};

pub(crate) use checks::{Checks, Made};
pub(crate) use collected::{Collected, CollectorId, Shown};
pub(crate) use desired::{DesiredCopy, grouped, joined};
pub(crate) use destinations::{DestinationState, DestinationTable, Registration};
pub(crate) use object::{Content, Form, PayloadObject};
pub(crate) use policy::{Cut, Entry, PolicyIndex, PolicyState, RevisionState};
pub(crate) use reported::Copies;
pub(crate) use tombstones::{Tombstone, Tombstones};
pub(crate) use vary::Shaping;

use crate::rollout::Control;

/// One inventory workspace.
#[derive(Debug, Default)]
pub(crate) struct InventoryState {
    pub(crate) index: Inventory,
    pub(crate) taints: Taints,
    pub(crate) signals: Signals,
    /// Annotations, claims and ConfigMaps of destinations.
    pub(crate) properties: PropertyTable,
    /// For whom Customizers act.
    pub(crate) places: Places,
    /// The Customizers' layers that `places` knows.
    pub(crate) layers: Vec<Arc<Layer>>,
    pub(crate) policies: BTreeSet<PolicyIndex>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) inventories: HashMap<Arc<str>, InventoryState>,
    pub(crate) destinations: DestinationTable,
    /// Every destination that exists.
    pub(crate) existing: Destinations,
    /// Indexes are new from here on.
    pub(crate) next_destination: u32,
    /// Indexes of destinations that are gone and that no row names any more.
    pub(crate) free: Destinations,
    pub(crate) objects: HashMap<ObjectIndex, PayloadObject>,
    pub(crate) by_copy: HashMap<CopyId, ObjectIndex>,
    pub(crate) by_key: HashMap<Key, ObjectIndex>,
    pub(crate) next_object: u32,
    /// Autoscalers by what they target: cluster, namespace, kind, name.
    pub(crate) scalers: HashMap<[String; 4], BTreeSet<ObjectIndex>>,
    pub(crate) policies: HashMap<PolicyIndex, PolicyState>,
    pub(crate) by_policy: HashMap<(Arc<str>, Arc<str>), PolicyIndex>,
    pub(crate) next_policy: u32,
    pub(crate) what: WhatIndex<PolicyIndex>,
    /// CustomTransforms and Customizers, by payload workspace.
    pub(crate) shaping: HashMap<String, Shaping>,
    /// Layers of Customizers in use.
    pub(crate) layers: Layers,
    /// Bodies that the store has, with the number of entries of retained revisions that name each.
    pub(crate) bodies: HashMap<BodyHash, u32>,
    pub(crate) tombstones: Tombstones,
    pub(crate) columns: HashMap<ObjectIndex, Column>,
    pub(crate) values: Values,
    /// Objects some of whose kept revisions do not make the same copies everywhere.
    pub(crate) varying: BTreeSet<ObjectIndex>,
    /// When something about a destination was written last.
    pub(crate) told: Revision,
    /// How often something changed of what such copies depend on.
    pub(crate) looks: u64,
    /// Copies that ceased to be what their column's row says, or are again, because their destination changed.
    pub(crate) moved: Copies,
    /// Destinations of which it is not known any more what they reported.
    pub(crate) doubted: Destinations,
    /// Which copies can be made.
    pub(crate) checks: Checks,
    /// Objects with copies of which that is not known yet.
    pub(crate) unchecked: BTreeSet<ObjectIndex>,
    /// What StatusCollectors make of it.
    pub(crate) collected: Collected,
    /// Objects that are forgotten, and whose columns' rows are to go.
    pub(crate) dropped: Vec<(ObjectIndex, CopyId)>,
    /// When something was last reported about an object, since this start.
    pub(crate) reported: HashMap<ObjectIndex, Revision>,
    pub(crate) connected: Destinations,
    /// Destinations that were here by the log.
    pub(crate) available: Destinations,
    /// Destinations that are to be emptied.
    pub(crate) purging: Destinations,
    /// Destinations whose agent holds what this log knows nothing of.
    pub(crate) foreign: HashMap<Destination, Foreign>,
    /// Removals that something at the edge prevents: why, by what is to be removed. The agent says it again with every attempt.
    pub(crate) blocked: HashMap<Destination, BTreeMap<ObjectIndex, String>>,
    /// The newest raw status of objects whose status returns: from where, and its JSON. Lost at a restart.
    pub(crate) raw: HashMap<ObjectIndex, (Destination, bytes::Bytes)>,
    /// Rollouts: RolloutPolicies, DisruptionBudgets, and the engine.
    pub(crate) control: Control,
    /// What was born at edges and came up.
    pub(crate) born: crate::upsync::Shelf,
    /// Everything up to here is in this picture.
    pub(crate) applied: Revision,
}

/// What an agent holds that this log does not know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Foreign {
    /// The log does not contain the agent's cursor: nothing is changed until a person gives this token.
    pub(crate) token: Option<String>,
    /// Copies that nothing here knows.
    pub(crate) orphans: Vec<(CopyId, ObjectRef)>,
}

impl World {
    /// The record of an object, made when it is new.
    pub(crate) fn intern(
        &mut self,
        copy: &CopyId,
        make: impl FnOnce() -> PayloadObject,
    ) -> ObjectIndex {
        if let Some(&index) = self.by_copy.get(copy) {
            return index;
        }
        let index = ObjectIndex(self.next_object);
        self.next_object += 1;
        let object = make();
        self.by_key.insert(object.key.clone(), index);
        self.by_copy.insert(copy.clone(), index);
        self.objects.insert(index, object);
        self.note_scaler(index, true);
        index
    }

    /// Forgets objects that nothing refers to.
    pub(crate) fn forget_if_unused(&mut self, index: ObjectIndex) {
        let Some(object) = self.objects.get(&index) else {
            return;
        };
        if object.policies.is_empty() && !object.returned && !self.tombstones.contains_key(&index) {
            self.note_scaler(index, false);
            let Some(object) = self.objects.get(&index) else {
                return;
            };
            if self.by_key.get(&object.key) == Some(&index) {
                self.by_key.remove(&object.key);
            }
            let copy = object.copy.clone();
            self.by_copy.remove(&copy);
            self.objects.remove(&index);
            self.reported.remove(&index);
            self.blocked.retain(|_, objects| {
                objects.remove(&index);
                !objects.is_empty()
            });
            self.raw.remove(&index);
            self.varying.remove(&index);
            self.unchecked.remove(&index);
            self.checks.remove(index);
            self.moved.remove(&index);
            if let Some(mut column) = self.columns.remove(&index) {
                column.clear(&mut self.values);
                self.dropped.push((index, copy));
            }
        }
    }

    /// What the body store has need not be kept in memory.
    pub(crate) fn let_bodies_go(&mut self, index: ObjectIndex) {
        let Some(object) = self.objects.get_mut(&index) else {
            return;
        };
        for form in [&mut object.full, &mut object.bare].into_iter().flatten() {
            if self.bodies.contains_key(&form.content.body) {
                form.body = None;
            }
        }
    }

    /// Counts the bodies that a revision names, and remembers which of its objects vary.
    pub(crate) fn hold_bodies(&mut self, cut: &Cut) {
        for (object, entry) in &cut.entries {
            *self.bodies.entry(entry.content.body).or_default() += 1;
            if entry.content.vary.is_some() {
                self.varying.insert(*object);
            }
        }
    }

    /// A revision is forgotten: the bodies that no other names.
    pub(crate) fn release_bodies(&mut self, cut: &Cut) -> Vec<BodyHash> {
        self.let_bodies(cut.entries.values().map(|entry| entry.content.body))
    }

    /// Bodies that something names no longer. Returns those that nothing names.
    pub(crate) fn let_bodies(&mut self, bodies: impl Iterator<Item = BodyHash>) -> Vec<BodyHash> {
        let mut free = Vec::new();
        for hash in bodies {
            if let Some(count) = self.bodies.get_mut(&hash) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.bodies.remove(&hash);
                    free.push(hash);
                }
            }
        }
        free
    }

    /// Whether nothing of ours is left at a destination, and nothing will come.
    pub(crate) fn is_empty_at(&self, destination: Destination) -> bool {
        !self
            .policies
            .values()
            .filter_map(|p| p.at(destination))
            .any(|(_, r)| !r.cut.objects.is_empty())
            && self.tombstones.at(destination).next().is_none()
    }

    /// Whether a placed autoscaler targets this workload.
    pub(crate) fn is_scaled(&self, cluster: &str, namespace: &str, kind: &str, name: &str) -> bool {
        if self.scalers.is_empty() {
            return false;
        }
        let target = [cluster, namespace, kind, name].map(str::to_owned);
        let scalers = self.scalers.get(&target).into_iter().flatten();
        let mut scalers = scalers.filter_map(|o| self.objects.get(o));
        scalers.any(|o| o.live && !o.policies.is_empty())
    }

    /// Enters an object among the autoscalers, or takes it out (`there`: false).
    pub(crate) fn note_scaler(&mut self, index: ObjectIndex, there: bool) {
        let Some(target) = self.objects.get(&index).and_then(|o| o.target()) else {
            return;
        };
        if there {
            self.scalers.entry(target).or_default().insert(index);
        } else if let Some(scalers) = self.scalers.get_mut(&target) {
            scalers.remove(&index);
            if scalers.is_empty() {
                self.scalers.remove(&target);
            }
        }
    }

    /// What names an object in every run.
    pub(crate) fn identity_of(&self, object: ObjectIndex) -> String {
        let object = self.objects.get(&object);
        object.map(PayloadObject::identity).unwrap_or_default()
    }

    /// Destinations that have no session now.
    pub(crate) fn away(&self) -> Destinations {
        &self.existing - &self.connected
    }

    /// A destination's name, for people.
    pub(crate) fn name_of(&self, destination: Destination) -> String {
        self.destinations
            .get(&destination)
            .map_or_else(|| format!("#{}", destination.0), |d| d.name.to_string())
    }

    /// A destination of an inventory by its name.
    pub(crate) fn destination(&self, inventory: &str, name: &str) -> Option<Destination> {
        self.destinations.by_name(inventory, name)
    }
}
