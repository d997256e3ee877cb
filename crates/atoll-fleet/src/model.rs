//! The fleet in memory: what the log says, in the shape that decisions and sessions need.
//!
//! Always true: it holds only what is durable (the engine changes it after the append), so whatever a session reads here may leave the process. Per destination there
//! are its name and labels; per object and policy a record; per object *and* destination nothing but bits.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use atoll_placement::bundle::{CopyFlags, RenderHash, Rendered};
use atoll_placement::columns::{Column, Values};
use atoll_placement::inventory::{Inventory, Labels};
use atoll_placement::order::OrderClass;
use atoll_placement::place::{Held, ObjectIndex, Placed};
use atoll_placement::policy::{Modulation, Policy};
use atoll_placement::what::WhatIndex;
use atoll_placement::{Destination, Destinations};
use atoll_store::{Key, Revision};
use atoll_wire::{CopyId, ObjectRef};
use serde_json::Value;

/// A policy's dense index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PolicyIndex(pub(crate) u32);

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
    /// The annotation that lets a held session go on.
    pub(crate) resume: Option<String>,
    /// When the agent was last heard of, in milliseconds; 0: not since this start.
    pub(crate) last_seen: i64,
}

/// How an object would travel in one form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    /// Without its body.
    pub(crate) rendered: Option<Arc<Rendered>>,
    pub(crate) size: u32,
}

impl Form {
    pub(crate) fn of(mut rendered: Rendered) -> Self {
        let size = u32::try_from(rendered.body.len()).unwrap_or(u32::MAX);
        rendered.body = Vec::new();
        Form {
            rendered: Some(Arc::new(rendered)),
            size,
        }
    }
}

/// An object that some policy placed or is about to place.
#[derive(Debug, Clone)]
pub(crate) struct PayloadObject {
    pub(crate) copy: CopyId,
    pub(crate) reference: ObjectRef,
    pub(crate) key: Key,
    pub(crate) order: OrderClass,
    /// Where it was written last; 0 for one known only from a bundle.
    pub(crate) revision: Revision,
    /// It exists in the payload workspace.
    pub(crate) live: bool,
    /// As selected.
    pub(crate) full: Form,
    /// As carried along (Namespaces: their name only).
    pub(crate) bare: Form,
    /// What health rules read of the object.
    pub(crate) health_input: Value,
    /// The workload that it scales, if it is an autoscaler: kind and name.
    pub(crate) scales: Option<(String, String)>,
    /// Policies that select it, carry it or still have it placed.
    pub(crate) policies: BTreeSet<PolicyIndex>,
    /// `metadata.creationTimestamp`.
    pub(crate) created: Value,
    /// `metadata.generation` of this content.
    pub(crate) generation: i64,
    /// We wrote its `.status` and have to clear it when nobody wants it any more. Durable before it is so.
    pub(crate) returned: bool,
}

impl PayloadObject {
    /// The form for these flags.
    pub(crate) fn form(&self, flags: CopyFlags) -> &Form {
        if flags.implicit && self.bare.rendered.is_some() {
            &self.bare
        } else {
            &self.full
        }
    }

    /// The render hash for these flags; `None` while its content is not known.
    pub(crate) fn render(&self, flags: CopyFlags) -> Option<RenderHash> {
        self.form(flags)
            .rendered
            .as_ref()
            .map(|r| r.render_hash(flags))
    }

    /// `Deployment default/web`.
    pub(crate) fn title(&self) -> String {
        let r = &self.reference;
        if r.namespaced {
            format!("{} {}/{}", r.kind, r.namespace, r.name)
        } else {
            format!("{} {}", r.kind, r.name)
        }
    }

    /// The same in every run and for every store.
    pub(crate) fn identity(&self) -> String {
        format!("{}/{}", self.copy.cluster, self.copy.uid)
    }
}

/// One object of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) flags: CopyFlags,
    /// The render that is durable, and so may have been sent.
    pub(crate) render: RenderHash,
}

/// A BindingPolicy.
#[derive(Debug, Clone)]
pub(crate) struct PolicyState {
    pub(crate) cluster: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: Arc<str>,
    pub(crate) generation: i64,
    /// `metadata.creationTimestamp`.
    pub(crate) created: Value,
    /// Its spec, the last one that could be parsed.
    pub(crate) spec: Arc<Policy>,
    /// `spec` was read since the start: before that, nothing may be concluded from what it does not select.
    pub(crate) parsed: bool,
    /// What is wrong with the present spec or its surroundings.
    pub(crate) problems: Vec<String>,
    /// The inventory's logical cluster.
    pub(crate) inventory: Option<Arc<str>>,
    /// The object is gone; its copies are being removed.
    pub(crate) deleted: bool,
    /// What it selects now, with the joined modulation.
    pub(crate) selected: BTreeMap<ObjectIndex, Modulation>,
    /// Durable: objects and destinations.
    pub(crate) placed: Placed,
    /// Durable: how each placed object travels.
    pub(crate) entries: BTreeMap<ObjectIndex, Entry>,
    pub(crate) ordinal: u64,
    pub(crate) content: String,
    pub(crate) orphan: bool,
    pub(crate) held: Option<Held>,
    /// New placements wait for the inventory's consent.
    pub(crate) refused: bool,
    /// (when, copies, destinations) removed by change a short time ago.
    pub(crate) recent: VecDeque<(i64, u64, u64)>,
    /// The revision of the last change that anything computed from it can show.
    pub(crate) changed: Revision,
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

/// What one destination should have of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DesiredCopy {
    pub(crate) flags: CopyFlags,
    pub(crate) render: RenderHash,
    /// The content is the present one and can be sent; else (suspended, and changed since) what is there stays.
    pub(crate) sendable: bool,
}

/// What policies ask for one copy.
#[derive(Debug, Clone, Copy)]
struct Wish {
    flags: CopyFlags,
    fresh: bool,
    durable: RenderHash,
}

impl Wish {
    /// Of two policies. One that is not suspended lets the copy follow its object.
    fn join(self, other: Wish) -> Wish {
        Wish {
            flags: self.flags.join(other.flags),
            fresh: self.fresh || other.fresh,
            durable: if self.fresh {
                self.durable
            } else {
                other.durable
            },
        }
    }
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

    /// What a destination should have. The same copy wanted by several policies is one copy (invariant 10).
    pub(crate) fn desired(&self, destination: Destination) -> BTreeMap<ObjectIndex, DesiredCopy> {
        let mut wanted: BTreeMap<ObjectIndex, Wish> = BTreeMap::new();
        let Some(state) = self.destinations.get(&destination) else {
            return BTreeMap::new();
        };
        let Some(inventory) = self.inventories.get(&state.inventory) else {
            return BTreeMap::new();
        };
        for policy in inventory
            .policies
            .iter()
            .filter_map(|p| self.policies.get(p))
        {
            if !policy.placed.assigned.contains(destination.0) {
                continue;
            }
            for (index, entry) in &policy.entries {
                let wish = self.wish(*index, entry);
                wanted
                    .entry(*index)
                    .and_modify(|w| *w = w.join(wish))
                    .or_insert(wish);
            }
        }
        wanted
            .into_iter()
            .map(|(index, wish)| (index, self.resolve(index, wish)))
            .collect()
    }

    /// What one policy's entry asks for. It is fresh when the durable render is that of the present content: not while the policy is suspended, and not in
    /// the moment between an object's change and the append that makes its distribution durable.
    fn wish(&self, index: ObjectIndex, entry: &Entry) -> Wish {
        let present = self
            .objects
            .get(&index)
            .filter(|o| o.live)
            .and_then(|o| o.render(entry.flags));
        Wish {
            flags: entry.flags,
            fresh: present == Some(entry.render),
            durable: entry.render,
        }
    }

    fn resolve(&self, index: ObjectIndex, wish: Wish) -> DesiredCopy {
        let joined = self
            .objects
            .get(&index)
            .filter(|_| wish.fresh)
            .and_then(|o| o.render(wish.flags));
        DesiredCopy {
            flags: wish.flags,
            render: joined.unwrap_or(wish.durable),
            sendable: joined.is_some(),
        }
    }

    /// Where an object is wanted by policies other than one.
    pub(crate) fn covered(&self, object: ObjectIndex, except: PolicyIndex) -> Destinations {
        let mut covered = Destinations::new();
        let Some(record) = self.objects.get(&object) else {
            return covered;
        };
        for policy in record
            .policies
            .iter()
            .filter(|p| **p != except)
            .filter_map(|p| self.policies.get(p))
        {
            if policy.placed.objects.contains(&object) {
                covered |= &policy.placed.assigned;
            }
        }
        covered
    }

    /// Where an object is placed, by all policies together.
    pub(crate) fn placed(&self, object: ObjectIndex) -> Destinations {
        self.covered(object, PolicyIndex(u32::MAX))
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
            .any(|p| p.placed.assigned.contains(destination.0) && !p.placed.objects.is_empty())
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

    /// Which render of an object is expected where, by all policies together.
    pub(crate) fn wanted_renders(&self, index: ObjectIndex) -> Vec<(RenderHash, Destinations)> {
        let Some(object) = self.objects.get(&index) else {
            return Vec::new();
        };
        let mut groups: Vec<(Wish, Destinations)> = Vec::new();
        for policy in object.policies.iter().filter_map(|p| self.policies.get(p)) {
            let Some(entry) = policy.entries.get(&index) else {
                continue;
            };
            let wish = self.wish(index, entry);
            let mut rest = policy.placed.assigned.clone();
            let mut split = Vec::new();
            for (other, set) in &mut groups {
                let both = &*set & &rest;
                if !both.is_empty() {
                    *set -= &both;
                    rest -= &both;
                    split.push((other.join(wish), both));
                }
            }
            groups.extend(split);
            groups.push((wish, rest));
            groups.retain(|(_, set)| !set.is_empty());
        }
        groups
            .into_iter()
            .map(|(wish, set)| (self.resolve(index, wish).render, set))
            .collect()
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

    /// What a policy or tombstone row says about an object, as a record that is not live.
    pub(crate) fn remembered(cluster: &str, entry: &crate::rows::EntryRow) -> PayloadObject {
        let reference = entry.object.clone().unwrap_or_default();
        let key = Key::new([
            reference.group.as_str(),
            &reference.resource,
            &entry.identity,
            cluster,
            &reference.namespace,
            &reference.name,
        ]);
        PayloadObject {
            copy: CopyId {
                cluster: cluster.to_owned(),
                uid: entry.uid.clone(),
            },
            reference,
            key,
            order: OrderClass(u8::try_from(entry.order).unwrap_or(u8::MAX)),
            revision: Revision(0),
            live: false,
            full: Form::default(),
            bare: Form::default(),
            health_input: Value::Null,
            scales: None,
            policies: BTreeSet::new(),
            created: Value::Null,
            generation: 0,
            returned: false,
        }
    }

    /// An object as rows remember it that say nothing of how it travels.
    pub(crate) fn remembrance(object: &PayloadObject) -> crate::rows::EntryRow {
        let entry = Entry {
            flags: CopyFlags::default(),
            render: [0; 16],
        };
        Self::entry_row(object, &entry)
    }

    /// An object as bundles and tombstones remember it.
    pub(crate) fn entry_row(object: &PayloadObject, entry: &Entry) -> crate::rows::EntryRow {
        crate::rows::EntryRow {
            uid: object.copy.uid.clone(),
            object: Some(object.reference.clone()),
            identity: object
                .key
                .component(2)
                .map(|c| String::from_utf8_lossy(c).into_owned())
                .unwrap_or_default(),
            order: u32::from(object.order.0),
            flags: u32::from(entry.flags.bits()),
            render: bytes::Bytes::copy_from_slice(&entry.render),
        }
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
