//! The fleet in memory: what the log says, in the shape that decisions and sessions need.
//!
//! Always true: it holds only what is durable (the engine changes it after the append), so whatever a session reads here may leave the process. Per destination there
//! are its name and labels; per object and policy a record; per object *and* destination nothing but bits.

mod desired;
mod object;
mod policy;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use atoll_placement::bundle::{BodyHash, CopyFlags};
use atoll_placement::columns::{Column, Values};
use atoll_placement::inventory::{Inventory, Labels};
use atoll_placement::place::ObjectIndex;
use atoll_placement::what::WhatIndex;
use atoll_placement::{Destination, Destinations};
use atoll_store::{Key, Revision};
use atoll_wire::{CopyId, ObjectRef};

pub(crate) use desired::{DesiredCopy, joined};
pub(crate) use object::{Content, Form, PayloadObject};
pub(crate) use policy::{Cut, Entry, PolicyIndex, PolicyState, RevisionState};

/// A ManagedCluster.
#[derive(Debug, Clone)]
pub(crate) struct DestinationState {
    pub(crate) inventory: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: Arc<str>,
    pub(crate) labels: Labels,
    pub(crate) accepted: bool,
    /// The condition `ManagedClusterConditionAvailable` as stored is True.
    pub(crate) available: bool,
    /// It is to be emptied before it is taken out.
    pub(crate) purge: bool,
    /// The ManagedCluster whose stream may carry it.
    pub(crate) hub: Option<Arc<str>>,
    /// The annotation that lets a held session go on.
    pub(crate) resume: Option<String>,
    /// When the agent was last heard of, in milliseconds; 0: not since this start.
    pub(crate) last_seen: i64,
}

/// Copies of one object that must go.
#[derive(Debug, Clone)]
pub(crate) struct Tombstone {
    pub(crate) object: ObjectIndex,
    pub(crate) inventory: Arc<str>,
    pub(crate) remove: Destinations,
    pub(crate) orphan: Destinations,
}

/// One inventory workspace.
#[derive(Debug, Default)]
pub(crate) struct InventoryState {
    pub(crate) index: Inventory,
    pub(crate) by_name: HashMap<Arc<str>, Destination>,
    pub(crate) policies: BTreeSet<PolicyIndex>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) inventories: HashMap<Arc<str>, InventoryState>,
    pub(crate) destinations: HashMap<Destination, DestinationState>,
    pub(crate) by_uid: HashMap<Arc<str>, Destination>,
    pub(crate) next_destination: u32,
    pub(crate) objects: HashMap<ObjectIndex, PayloadObject>,
    pub(crate) by_copy: HashMap<CopyId, ObjectIndex>,
    pub(crate) by_key: HashMap<Key, ObjectIndex>,
    pub(crate) next_object: u32,
    pub(crate) policies: HashMap<PolicyIndex, PolicyState>,
    pub(crate) by_policy: HashMap<(Arc<str>, Arc<str>), PolicyIndex>,
    pub(crate) next_policy: u32,
    pub(crate) what: WhatIndex<PolicyIndex>,
    /// Bodies that the store has, with the number of entries of retained revisions that name each.
    pub(crate) bodies: HashMap<BodyHash, u32>,
    pub(crate) tombstones: HashMap<ObjectIndex, Tombstone>,
    pub(crate) columns: HashMap<ObjectIndex, Column>,
    pub(crate) values: Values,
    /// When something was last reported about an object, since this start.
    pub(crate) reported: HashMap<ObjectIndex, Revision>,
    pub(crate) connected: Destinations,
    /// Destinations that are to be emptied.
    pub(crate) purging: Destinations,
    /// Destinations whose agent holds what this log knows nothing of.
    pub(crate) foreign: HashMap<Destination, Foreign>,
    /// Removals that something at the edge prevents: why, by what is to be removed. The agent says it again with every attempt.
    pub(crate) blocked: HashMap<Destination, BTreeMap<ObjectIndex, String>>,
    /// The newest raw status of objects whose status returns: from where, and its JSON. Lost at a restart.
    pub(crate) raw: HashMap<ObjectIndex, (Destination, bytes::Bytes)>,
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
        index
    }

    /// Forgets objects that nothing refers to.
    pub(crate) fn forget_if_unused(&mut self, index: ObjectIndex) {
        let Some(object) = self.objects.get(&index) else {
            return;
        };
        if object.policies.is_empty() && !object.returned && !self.tombstones.contains_key(&index) {
            if self.by_key.get(&object.key) == Some(&index) {
                self.by_key.remove(&object.key);
            }
            self.by_copy.remove(&object.copy);
            self.objects.remove(&index);
            self.reported.remove(&index);
            self.blocked.retain(|_, objects| {
                objects.remove(&index);
                !objects.is_empty()
            });
            self.raw.remove(&index);
            if let Some(mut column) = self.columns.remove(&index) {
                column.clear(&mut self.values);
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

    /// Counts the bodies that a revision names.
    pub(crate) fn hold_bodies(&mut self, cut: &Cut) {
        for entry in cut.entries.values() {
            *self.bodies.entry(entry.content.body).or_default() += 1;
        }
    }

    /// A revision is forgotten: the bodies that no other names.
    pub(crate) fn release_bodies(&mut self, cut: &Cut) -> Vec<BodyHash> {
        let mut free = Vec::new();
        for entry in cut.entries.values() {
            let hash = entry.content.body;
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

    /// Every destination that exists.
    pub(crate) fn all_destinations(&self) -> Destinations {
        let mut all = Destinations::new();
        for inventory in self.inventories.values() {
            all |= inventory.index.all();
        }
        all
    }

    /// Whether nothing of ours is left at a destination, and nothing will come.
    pub(crate) fn is_empty_at(&self, destination: Destination) -> bool {
        !self
            .policies
            .values()
            .filter_map(|p| p.at(destination))
            .any(|(_, r)| !r.cut.objects.is_empty())
            && !self
                .tombstones
                .values()
                .any(|t| t.remove.contains(destination.0) || t.orphan.contains(destination.0))
    }

    /// Whether a placed autoscaler targets this workload.
    pub(crate) fn is_scaled(&self, cluster: &str, namespace: &str, kind: &str, name: &str) -> bool {
        self.objects.values().any(|o| {
            o.live
                && !o.policies.is_empty()
                && o.copy.cluster == cluster
                && o.reference.namespace == namespace
                && o.scales
                    .as_ref()
                    .is_some_and(|(k, n)| k == kind && n == name)
        })
    }

    /// Destinations that have no session now.
    pub(crate) fn away(&self) -> Destinations {
        self.all_destinations() - &self.connected
    }

    /// A destination's name, for people.
    pub(crate) fn name_of(&self, destination: Destination) -> String {
        self.destinations
            .get(&destination)
            .map_or_else(|| format!("#{}", destination.0), |d| d.name.to_string())
    }

    /// A destination of an inventory by its name.
    pub(crate) fn destination(&self, inventory: &str, name: &str) -> Option<Destination> {
        self.inventories.get(inventory)?.by_name.get(name).copied()
    }
}

/// Reads [`CopyFlags::bits`].
pub(crate) fn flags_from(bits: u32) -> CopyFlags {
    CopyFlags {
        create_only: bits & 1 != 0,
        adopt: bits & 2 != 0,
        implicit: bits & 4 != 0,
    }
}
