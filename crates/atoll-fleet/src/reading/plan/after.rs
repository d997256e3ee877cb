//! The workspace as it would be with a change: who would have which copies. Decided by the same functions that decide for real, over the same picture.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atoll_kube::{RowRef, Status, Timestamp, meta};
use atoll_placement::Destinations;
use atoll_placement::bundle::CopyFlags;
use atoll_placement::clean;
use atoll_placement::inventory::Labels;
use atoll_placement::place::{self, Guard, Held, ObjectIndex, Placed, Wanted};
use atoll_placement::policy::{Candidate, DeletionPolicy, Modulation, Policy};
use atoll_registry::{ObjectKey, ResourceId};
use atoll_store::{Key, Snapshot};
use serde_json::Value;

use super::overlay::{Overlay, Step};
use crate::absorb::recipe_of;
use crate::consent;
use crate::decide::choose::choose;
use crate::model::{Entry, PayloadObject, PolicyIndex, PolicyState, Shaping, World};
use crate::reading::{Asked, Reading};
use crate::source::{self, CRDS};

/// What one policy would place.
pub(super) struct After {
    pub(super) name: Arc<str>,
    /// `None`: it is new.
    pub(super) index: Option<PolicyIndex>,
    pub(super) spec: Arc<Policy>,
    pub(super) inventory: Option<Arc<str>>,
    /// Who has what; of a policy that the change does not concern, as it is.
    pub(super) placed: Vec<(BTreeMap<ObjectIndex, Entry>, Destinations)>,
    /// Chosen, whether or not anything may go there now.
    pub(super) selected: Destinations,
    pub(super) held: Option<Held>,
    pub(super) unsatisfied: Vec<String>,
    pub(super) note: Option<String>,
}

/// The workspace with a change.
pub(super) struct Future<'a> {
    reading: &'a Reading,
    asked: &'a Asked,
    world: &'a World,
    snapshot: &'a dyn Snapshot,
    now: Timestamp,
    overlay: &'a Overlay,
    objects: BTreeMap<Key, &'a Step>,
    /// As it would be, when that is different.
    shaping: Option<Shaping>,
    /// Objects that are not known yet.
    pub(super) fresh: BTreeMap<ObjectIndex, PayloadObject>,
    indexes: BTreeMap<Key, ObjectIndex>,
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

impl<'a> Future<'a> {
    pub(super) fn new(
        reading: &'a Reading,
        asked: &'a Asked,
        world: &'a World,
        snapshot: &'a dyn Snapshot,
        overlay: &'a Overlay,
    ) -> Self {
        Future {
            reading,
            asked,
            world,
            snapshot,
            now: reading.shared.registry.now(),
            overlay,
            objects: overlay.objects(),
            shaping: overlay.shaping(world.shaping.get(asked.cluster.as_str())),
            fresh: BTreeMap::new(),
            indexes: BTreeMap::new(),
        }
    }

    /// The policies that the change concerns, as they would be.
    pub(super) fn concerned(&mut self) -> Result<Vec<After>, Status> {
        let changed = self.overlay.policies()?;
        let cluster = self.asked.cluster.as_str();
        let mut found = Vec::new();
        let mut known = BTreeSet::new();
        for index in self.world.what.of_cluster(cluster) {
            let Some(policy) = self.world.policies.get(&index).filter(|p| !p.deleted) else {
                continue;
            };
            known.insert(policy.name.to_string());
            match changed.get(&*policy.name) {
                Some(None) => found.push(self.deleted(index, policy)),
                Some(Some(spec)) => {
                    found.push(self.decided(Some(index), policy.clone(), spec.clone())?);
                }
                None if self.touches(policy)? => {
                    found.push(self.decided(Some(index), policy.clone(), policy.spec.clone())?);
                }
                None => {}
            }
        }
        for (name, spec) in changed {
            let Some(spec) = spec.filter(|_| !known.contains(&name)) else {
                continue;
            };
            let id = (Arc::from(cluster), Arc::from(name.as_str()));
            // The uid only fixes the pick among equals; the real one is not known yet.
            let policy = PolicyState::new(id, "", self.world.applied);
            found.push(self.decided(None, policy, spec)?);
        }
        Ok(found)
    }

    /// Whether what a policy places may be different.
    fn touches(&self, policy: &PolicyState) -> Result<bool, Status> {
        if self.shaping.is_some() {
            return Ok(true);
        }
        for (key, step) in &self.objects {
            let index = self.world.by_key.get(key);
            if index.is_some_and(|i| policy.selected.contains_key(i) || policy.names(*i)) {
                return Ok(true);
            }
            if let Some(value) = &step.after
                && self.selects(&policy.spec, key, value)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn selects(
        &self,
        spec: &Policy,
        key: &Key,
        value: &Value,
    ) -> Result<Option<Modulation>, Status> {
        let labels = |key: &str| {
            let mut labels = meta::labels(value);
            labels.find(|(k, _)| *k == key).map(|(_, v)| v.to_owned())
        };
        self.tests(spec, key, &labels)
    }

    fn tests(
        &self,
        spec: &Policy,
        key: &Key,
        labels: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Modulation>, Status> {
        let Some(parts) = ObjectKey::parse(key) else {
            return Ok(None);
        };
        let of_namespace = match parts.namespace() {
            Some(namespace) if spec.reads_namespace_labels() => {
                self.namespace_labels(parts.cluster, namespace)?
            }
            _ => Labels::new(),
        };
        Ok(spec.select(&Candidate {
            group: parts.group,
            resource: parts.resource,
            namespace: parts.namespace(),
            name: parts.name,
            labels,
            namespace_labels: &|key| of_namespace.get(key).cloned(),
        }))
    }

    fn namespace_labels(&self, cluster: &str, namespace: &str) -> Result<Labels, Status> {
        let key = ResourceId::builtin("", "namespaces").key(cluster, None, namespace);
        if let Some(value) = self.objects.get(&key).and_then(|s| s.after.as_ref()) {
            let labels = meta::labels(value);
            return Ok(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        }
        source::namespace_labels(self.snapshot, cluster, namespace).map_err(internal)
    }

    /// All that a policy would select.
    fn selected(
        &self,
        policy: &PolicyState,
        spec: &Policy,
    ) -> Result<BTreeMap<Key, Modulation>, Status> {
        let mut selected = BTreeMap::new();
        let renamed = self.objects.keys().any(|key| {
            let parts = ObjectKey::parse(key);
            parts.is_some_and(|p| p.group.is_empty() && p.resource == "namespaces")
        });
        let anew = policy.spec.downsync != spec.downsync
            || !policy.parsed
            || (renamed && spec.reads_namespace_labels());
        if anew {
            for prefix in source::ranges(self.snapshot, &policy.cluster).map_err(internal)? {
                for item in self.snapshot.range(&prefix, None) {
                    let (key, version) = item.map_err(internal)?;
                    let row = RowRef::parse(&version.row).map_err(internal)?;
                    if row.is_deleting() {
                        continue;
                    }
                    let labels = |key: &str| row.label(key).map(str::to_owned);
                    if let Some(modulation) = self.tests(spec, &key, &labels)? {
                        selected.insert(key, modulation);
                    }
                }
            }
        } else {
            for (index, modulation) in &policy.selected {
                if let Some(object) = self.world.objects.get(index).filter(|o| o.live) {
                    selected.insert(object.key.clone(), modulation.clone());
                }
            }
        }
        for (key, step) in &self.objects {
            selected.remove(key);
            if let Some(value) = &step.after
                && let Some(modulation) = self.selects(spec, key, value)?
            {
                selected.insert(key.clone(), modulation);
            }
        }
        Ok(selected)
    }

    /// With what has to come along.
    fn closure(
        &self,
        selected: &BTreeMap<Key, Modulation>,
    ) -> Result<BTreeMap<Key, CopyFlags>, Status> {
        let mut wanted = BTreeMap::new();
        let mut needed = BTreeSet::new();
        for (key, modulation) in selected {
            let Some(parts) = ObjectKey::parse(key) else {
                continue;
            };
            let builtin = parts.group.is_empty()
                && parts.resource == "namespaces"
                && clean::is_builtin_namespace(parts.name);
            let flags = CopyFlags {
                create_only: modulation.create_only,
                adopt: modulation.adopt,
                implicit: builtin,
            };
            wanted.insert(key.clone(), flags);
            if let Some(namespace) = parts.namespace()
                && !clean::is_builtin_namespace(namespace)
            {
                let id = ResourceId::builtin("", "namespaces");
                needed.insert(id.key(parts.cluster, None, namespace));
            }
            if !parts.identity.is_empty() {
                let name = format!("{}.{}", parts.resource, parts.group);
                let id = ResourceId::builtin(CRDS, "customresourcedefinitions");
                needed.insert(id.key(parts.cluster, None, &name));
            }
        }
        for key in needed {
            let there = match self.objects.get(&key) {
                Some(step) => step.after.is_some(),
                None => self.snapshot.get(&key).map_err(internal)?.is_some(),
            };
            if there {
                let carried = CopyFlags {
                    implicit: true,
                    ..CopyFlags::default()
                };
                wanted.entry(key).or_insert(carried);
            }
        }
        Ok(wanted)
    }

    /// An object as it would travel.
    fn entry(
        &mut self,
        key: &Key,
        flags: CopyFlags,
    ) -> Result<Option<(ObjectIndex, Entry)>, Status> {
        let known = self.world.by_key.get(key).copied();
        let step = self.objects.get(key).copied();
        if let (Some(index), None, None) = (known, step, &self.shaping) {
            let object = self.world.objects.get(&index).filter(|o| o.live);
            if let Some(form) = object.and_then(|o| o.form(flags)) {
                return Ok(Some((index, Entry::new(flags, form.content.clone()))));
            }
        }
        let index = match (known, self.indexes.get(key)) {
            (Some(index), _) | (None, Some(&index)) => index,
            (None, None) => {
                let used = u32::try_from(self.indexes.len()).unwrap_or(0);
                let index = ObjectIndex(u32::MAX - used);
                self.indexes.insert(key.clone(), index);
                index
            }
        };
        if !self.fresh.contains_key(&index) {
            let Some(object) = self.object(key, step)? else {
                return Ok(None);
            };
            self.fresh.insert(index, object);
        }
        let object = self.fresh.get(&index);
        let form = object.and_then(|o| o.form(flags));
        Ok(form.map(|form| (index, Entry::new(flags, form.content.clone()))))
    }

    fn object(&self, key: &Key, step: Option<&Step>) -> Result<Option<PayloadObject>, Status> {
        let registry = &self.reading.shared.registry;
        let (Some(parts), Some(version)) = (
            ObjectKey::parse(key),
            match step {
                Some(_) => Some(None),
                None => self.snapshot.get(key).map_err(internal)?.map(Some),
            },
        ) else {
            return Ok(None);
        };
        let Some(kind) = source::kind_of(registry, &parts) else {
            return Ok(None);
        };
        let (value, revision) = match (step, version) {
            (Some(step), _) => match &step.after {
                Some(value) => (value.clone(), self.world.applied),
                None => return Ok(None),
            },
            (None, Some(version)) => {
                let value = source::value_of(&version.row, parts.group, &kind);
                (value.map_err(internal)?, version.modified)
            }
            (None, None) => return Ok(None),
        };
        let scaled = self
            .world
            .is_scaled(parts.cluster, parts.namespace, &kind.kind, parts.name);
        let now = self.world.shaping.get(parts.cluster);
        let shaping = self.shaping.as_ref().or(now);
        let recipe = recipe_of(self.snapshot, shaping, &parts, &value, scaled);
        let recipe = recipe.map_err(internal)?;
        let made = source::payload_object(key, &parts, &kind, &value, revision, recipe);
        Ok(Some(made))
    }

    fn deleted(&self, index: PolicyIndex, policy: &PolicyState) -> After {
        let keeps = policy.spec.deletion == DeletionPolicy::Orphan;
        After {
            name: policy.name.clone(),
            index: Some(index),
            spec: policy.spec.clone(),
            inventory: policy.inventory.clone(),
            placed: Vec::new(),
            selected: Destinations::new(),
            held: None,
            unsatisfied: Vec::new(),
            note: Some(match keeps {
                true => {
                    "it is deleted: its copies stay and stop being ours (deletionPolicy Orphan)"
                        .to_owned()
                }
                false => "it is deleted: its copies are removed where no other policy wants them"
                    .to_owned(),
            }),
        }
    }

    fn decided(
        &mut self,
        index: Option<PolicyIndex>,
        mut policy: PolicyState,
        spec: Arc<Policy>,
    ) -> Result<After, Status> {
        let selected = self.selected(&policy, &spec)?;
        let wanted = self.closure(&selected)?;
        let mut entries = BTreeMap::new();
        for (key, flags) in &wanted {
            entries.extend(self.entry(key, *flags)?);
        }
        policy.spec = spec.clone();
        policy.parsed = true;
        let shared = &self.reading.shared;
        let mut after = After {
            name: policy.name.clone(),
            index,
            spec: spec.clone(),
            inventory: policy.inventory.clone(),
            placed: Vec::new(),
            selected: Destinations::new(),
            held: None,
            unsatisfied: Vec::new(),
            note: None,
        };
        let as_is = |after: &mut After, note: String| {
            let now = policy
                .in_use()
                .map(|(_, r)| (r.cut.entries.clone(), r.assigned.clone()));
            after.placed = now.collect();
            after.note = Some(note);
        };
        if spec.suspend {
            as_is(
                &mut after,
                "it is suspended: nothing changes at any destination until it goes on".to_owned(),
            );
            return Ok(after);
        }
        let resolver = shared.registry.resolver();
        let found = consent::resolve(resolver.as_ref(), self.snapshot, &policy.cluster, &spec);
        let inventory: Arc<str> = match found {
            Ok((_, inventory)) => inventory.as_str().into(),
            Err(no) => {
                as_is(&mut after, format!("InventoryNotFound: {}", no.why));
                return Ok(after);
            }
        };
        policy.inventory = Some(inventory.clone());
        after.inventory = Some(inventory.clone());
        let Some(state) = self.world.inventories.get(&inventory) else {
            after.note = Some("its inventory has no destination".to_owned());
            return Ok(after);
        };
        let choice = choose(self.world, &policy, state, None, self.now);
        // Whoever applies the change has consent, as they were just asked; for another policy, whoever wrote it.
        let consent = spec != self.spec_now(index) || !policy.refused;
        let deleted: BTreeSet<ObjectIndex> = self
            .objects
            .iter()
            .filter(|(_, step)| step.after.is_none())
            .filter_map(|(key, _)| self.world.by_key.get(key).copied())
            .collect();
        let now_placed: BTreeSet<ObjectIndex> = policy
            .newest()
            .map(|r| r.cut.objects.clone())
            .unwrap_or_default();
        let let_go = policy.entries().filter(|(_, e)| e.flags.implicit);
        let let_go = let_go.map(|(o, _)| *o).collect();
        let world = self.world;
        let covering = |object, within: &Destinations| match index {
            Some(index) => world.covered(object, index, within),
            None => Destinations::new(),
        };
        let plan = place::plan(
            &Placed {
                objects: now_placed,
                assigned: world.holders(&policy).clone(),
            },
            &Wanted {
                objects: entries.keys().copied().collect(),
                deleted,
                let_go,
                selected: choice.chosen.clone(),
                accepted: state.index.accepted(),
                existing: &world.existing,
                purging: &world.purging,
                consent,
                policy_deleted: false,
            },
            &Guard {
                limit: spec.max_removals,
                confirmed: spec.confirm_removal.clone(),
                recent_copies: policy.recent.iter().map(|r| r.1).sum(),
                recent_destinations: policy.recent.iter().map(|r| r.2).sum(),
                elsewhere: 0,
            },
            &covering,
            &|object| world.identity_of(object),
        );
        // What is held back stays as it is.
        for object in &plan.next.objects {
            if let (false, Some(old)) = (entries.contains_key(object), policy.entry(*object)) {
                entries.insert(*object, old.clone());
            }
        }
        entries.retain(|object, _| plan.next.objects.contains(object));
        after.placed = vec![(entries, plan.next.assigned)];
        if let Some(name) = &spec.rollout {
            after.note = Some(format!(
                "changes reach its destinations as RolloutPolicy {name:?} says"
            ));
        }
        after.selected = choice.chosen;
        after.held = plan.held;
        after.unsatisfied = choice.unsatisfied;
        Ok(after)
    }

    fn spec_now(&self, index: Option<PolicyIndex>) -> Arc<Policy> {
        let policy = index.and_then(|i| self.world.policies.get(&i));
        policy.map(|p| p.spec.clone()).unwrap_or_default()
    }
}
