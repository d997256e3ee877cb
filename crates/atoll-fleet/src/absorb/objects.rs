//! Payload objects: which policies select them, what came with them, and what an object that went leaves behind.

use std::collections::{BTreeMap, BTreeSet};

use atoll_kube::RowRef;
use atoll_placement::bundle::CopyFlags;
use atoll_placement::clean;
use atoll_placement::inventory::Labels;
use atoll_placement::place::ObjectIndex;
use atoll_placement::policy::{Candidate, Modulation};
use atoll_registry::{ObjectKey, ResourceId};
use atoll_store::{Key, Revision};
use atoll_wire::CopyId;

use super::Absorb;
use crate::model::{PayloadObject, PolicyIndex};
use crate::rows::ObjectRow;
use crate::source::{self, CRDS, SourceError};

impl Absorb<'_> {
    pub(super) fn object(
        &mut self,
        key: &Key,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
        revision: Revision,
    ) -> Result<(), SourceError> {
        let parsed = match row {
            Some(row) => Some(
                RowRef::parse(row)
                    .map_err(|e| SourceError(format!("a stored row is damaged: {e}")))?,
            ),
            None => None,
        };
        let parsed = parsed.filter(|r| !r.is_deleting());
        let known = self.world.by_key.get(key).copied();
        let carrier = matches!(
            (parts.group, parts.resource),
            ("", "namespaces") | (CRDS, "customresourcedefinitions")
        );
        if carrier {
            // It may be carried along by objects that are there already; a Namespace's labels may select them.
            for index in self.world.what.of_cluster(parts.cluster) {
                let reads = self
                    .world
                    .policies
                    .get(&index)
                    .is_some_and(|p| p.spec.reads_namespace_labels());
                if known.is_none() {
                    self.pending.whole(index);
                }
                if reads && parts.resource == "namespaces" {
                    self.pending
                        .retest
                        .insert((parts.cluster.to_owned(), parts.name.to_owned()));
                }
            }
        }
        if let Some(index) = known {
            let same = self
                .world
                .objects
                .get(&index)
                .is_some_and(|o| parsed.as_ref().is_some_and(|r| r.uid() == o.copy.uid));
            if !same {
                self.lose(index);
                self.world.by_key.remove(key);
            }
        }
        if let Some(parsed) = parsed
            && let Some(row) = row
        {
            self.test(key, parts, &parsed, row, revision)?;
        }
        Ok(())
    }

    /// The object is gone.
    fn lose(&mut self, index: ObjectIndex) {
        let Some(object) = self.world.objects.get_mut(&index) else {
            return;
        };
        object.live = false;
        let scaled = object.scales.is_some();
        for policy in object.policies.clone() {
            if let Some(policy) = self.world.policies.get_mut(&policy) {
                policy.selected.remove(&index);
            }
            self.pending.whole(policy);
        }
        if scaled {
            self.reread_target(index);
        }
    }

    /// Which policies select the object now?
    fn test(
        &mut self,
        key: &Key,
        parts: &ObjectKey<'_>,
        row: &RowRef<'_>,
        bytes: &[u8],
        revision: Revision,
    ) -> Result<(), SourceError> {
        let copy = CopyId {
            cluster: parts.cluster.to_owned(),
            uid: row.uid().to_owned(),
        };
        let candidates = self
            .world
            .what
            .candidates(parts.cluster, parts.group, parts.resource);
        let known = self.world.by_copy.get(&copy).copied();
        if candidates.is_empty() && known.is_none() {
            return Ok(());
        }
        let namespace_labels = match parts.namespace() {
            Some(namespace) => source::namespace_labels(self.snapshot, parts.cluster, namespace)?,
            None => Labels::new(),
        };
        let candidate = Candidate {
            group: parts.group,
            resource: parts.resource,
            namespace: parts.namespace(),
            name: parts.name,
            labels: &|key| row.label(key).map(str::to_owned),
            namespace_labels: &|key| namespace_labels.get(key).cloned(),
        };
        let mut selecting: BTreeMap<PolicyIndex, Modulation> = BTreeMap::new();
        for index in candidates {
            if let Some(found) = self
                .world
                .policies
                .get(&index)
                .filter(|p| !p.deleted)
                .and_then(|p| p.spec.select(&candidate))
            {
                selecting.insert(index, found);
            }
        }
        if selecting.is_empty() && known.is_none() {
            return Ok(());
        }
        let index = self.enter(key, parts, &copy, bytes, revision)?;
        let Some(index) = index else { return Ok(()) };
        let concerned: BTreeSet<PolicyIndex> = self
            .world
            .objects
            .get(&index)
            .map(|o| o.policies.iter().chain(selecting.keys()).copied().collect())
            .unwrap_or_default();
        for policy_index in concerned {
            self.world.collected.policies.insert(policy_index);
            self.pending.whole(policy_index);
            let Some(policy) = self.world.policies.get_mut(&policy_index) else {
                continue;
            };
            match selecting.remove(&policy_index) {
                Some(modulation) => {
                    let wants = (modulation.want_singleton, modulation.want_multi);
                    let before = policy.selected.insert(index, modulation);
                    if before.is_none_or(|b| (b.want_singleton, b.want_multi) != wants) {
                        self.pending.returned.insert(index);
                    }
                    if let Some(object) = self.world.objects.get_mut(&index) {
                        object.policies.insert(policy_index);
                    }
                }
                None => {
                    policy.selected.remove(&index);
                }
            }
        }
        Ok(())
    }

    /// Makes or renews an object's record from its row. `None` when its kind is not served any more: nothing is concluded from that.
    fn enter(
        &mut self,
        key: &Key,
        parts: &ObjectKey<'_>,
        copy: &CopyId,
        bytes: &[u8],
        revision: Revision,
    ) -> Result<Option<ObjectIndex>, SourceError> {
        let Some(kind) = source::kind_of(self.registry, parts) else {
            return Ok(self.world.by_copy.get(copy).copied());
        };
        let value = source::value_of(bytes, parts.group, &kind)?;
        let scaled = self
            .world
            .is_scaled(parts.cluster, parts.namespace, &kind.kind, parts.name);
        let recipe = self.recipe(parts, &value, scaled)?;
        let fresh = source::payload_object(key, parts, &kind, &value, revision, recipe);
        let rescaled = fresh.scales.is_some();
        let index = match self.world.by_copy.get(copy).copied() {
            Some(index) => {
                let before = self
                    .world
                    .objects
                    .get(&index)
                    .and_then(|o| o.scales.clone());
                let generation = self.world.objects.get(&index).map(|o| o.generation);
                if generation != Some(fresh.generation) {
                    self.pending.returned.insert(index);
                }
                if before != fresh.scales && before.is_some() {
                    self.reread_target(index);
                }
                self.world.note_scaler(index, false);
                self.world.by_key.insert(key.clone(), index);
                if let Some(object) = self.world.objects.get_mut(&index) {
                    let (policies, returned) =
                        (std::mem::take(&mut object.policies), object.returned);
                    *object = fresh;
                    object.policies = policies;
                    object.returned = returned;
                }
                index
            }
            None => self.world.intern(copy, || fresh),
        };
        self.world.note_scaler(index, true);
        self.world.let_bodies_go(index);
        if rescaled {
            self.reread_target(index);
        }
        Ok(Some(index))
    }

    /// Takes in an object whose `.status` is ours, whether or not any policy knows it (any more). False: it is gone.
    pub(crate) fn returned(&mut self, cluster: &str, row: &ObjectRow) -> Result<bool, SourceError> {
        let remembered = PayloadObject::remembered(cluster, row);
        let (copy, key) = (remembered.copy.clone(), remembered.key.clone());
        if !self.world.by_copy.contains_key(&copy) {
            let row = self
                .snapshot
                .get(&key)
                .map_err(|e| SourceError(e.to_string()))?;
            let (Some(version), Some(parts)) = (row, ObjectKey::parse(&key)) else {
                return Ok(false);
            };
            let parsed = RowRef::parse(&version.row).map_err(|e| SourceError(e.to_string()))?;
            if parsed.uid() != copy.uid {
                return Ok(false);
            }
            self.world.intern(&copy, || remembered);
            self.enter(&key, &parts, &copy, &version.row, version.modified)?;
        }
        let index = self.world.by_copy.get(&copy);
        if let Some(object) = index.and_then(|index| self.world.objects.get_mut(index)) {
            object.returned = true;
        }
        Ok(true)
    }

    /// The workload that an autoscaler targets travels differently from now on.
    fn reread_target(&mut self, autoscaler: ObjectIndex) {
        let Some(scaler) = self.world.objects.get(&autoscaler) else {
            return;
        };
        let Some((kind, name)) = scaler.scales.clone() else {
            return;
        };
        let (cluster, namespace) = (
            scaler.copy.cluster.clone(),
            scaler.reference.namespace.clone(),
        );
        let target = self.world.objects.values().find(|o| {
            o.copy.cluster == cluster
                && o.reference.namespace == namespace
                && o.reference.kind == kind
                && o.reference.name == name
        });
        if let Some(target) = target {
            self.pending.reread.insert(target.key.clone());
        }
    }

    /// Tests every object of a workspace, or of one of its namespaces.
    pub(crate) fn scan(
        &mut self,
        cluster: &str,
        namespace: Option<&str>,
    ) -> Result<(), SourceError> {
        for prefix in source::ranges(self.snapshot, cluster)? {
            for item in self.snapshot.range(&prefix, None) {
                let (key, version) = item.map_err(|e| SourceError(e.to_string()))?;
                let Some(parts) = ObjectKey::parse(&key) else {
                    continue;
                };
                if namespace.is_none_or(|n| parts.namespace == n) {
                    self.object(&key, &parts, Some(&version.row), version.modified)?;
                }
            }
        }
        Ok(())
    }

    /// What a policy should place: what it selects, and the Namespaces and definitions that this needs.
    pub(crate) fn closure(
        &mut self,
        index: PolicyIndex,
    ) -> Result<BTreeMap<ObjectIndex, CopyFlags>, SourceError> {
        let Some(policy) = self.world.policies.get(&index) else {
            return Ok(BTreeMap::new());
        };
        let cluster = policy.cluster.clone();
        let mut wanted = BTreeMap::new();
        let mut needed: BTreeSet<Key> = BTreeSet::new();
        for (object_index, modulation) in &policy.selected {
            let Some(object) = self.world.objects.get(object_index).filter(|o| o.live) else {
                continue;
            };
            let r = &object.reference;
            let builtin = r.group.is_empty()
                && r.resource == "namespaces"
                && clean::is_builtin_namespace(&r.name);
            wanted.insert(
                *object_index,
                CopyFlags {
                    create_only: modulation.create_only,
                    adopt: modulation.adopt,
                    implicit: builtin,
                },
            );
            if r.namespaced && !clean::is_builtin_namespace(&r.namespace) {
                needed.insert(ResourceId::builtin("", "namespaces").key(
                    &cluster,
                    None,
                    &r.namespace,
                ));
            }
            if object
                .key
                .component(2)
                .is_some_and(|identity| !identity.is_empty())
            {
                let name = format!("{}.{}", r.resource, r.group);
                needed.insert(
                    ResourceId::builtin(CRDS, "customresourcedefinitions")
                        .key(&cluster, None, &name),
                );
            }
        }
        for key in needed {
            let Some(version) = self
                .snapshot
                .get(&key)
                .map_err(|e| SourceError(e.to_string()))?
            else {
                continue;
            };
            let Some(parts) = ObjectKey::parse(&key) else {
                continue;
            };
            let row = RowRef::parse(&version.row).map_err(|e| SourceError(e.to_string()))?;
            let copy = CopyId {
                cluster: cluster.to_string(),
                uid: row.uid().to_owned(),
            };
            let object = match self.world.by_copy.get(&copy).copied() {
                Some(object) if self.world.objects.get(&object).is_some_and(|o| o.live) => {
                    Some(object)
                }
                _ => self.enter(&key, &parts, &copy, &version.row, version.modified)?,
            };
            if let Some(object) = object {
                wanted.entry(object).or_insert(CopyFlags {
                    implicit: true,
                    ..CopyFlags::default()
                });
                if let Some(object) = self.world.objects.get_mut(&object) {
                    object.policies.insert(index);
                }
            }
        }
        self.bring_bodies(&wanted)?;
        Ok(wanted)
    }

    /// Reads objects again whose bodies are neither in the body store (any more) nor at hand.
    fn bring_bodies(
        &mut self,
        wanted: &BTreeMap<ObjectIndex, CopyFlags>,
    ) -> Result<(), SourceError> {
        let mut missing = Vec::new();
        for (index, flags) in wanted {
            let Some(object) = self.world.objects.get(index) else {
                continue;
            };
            let form = object.form(*flags).filter(|_| object.live);
            if form.is_some_and(|f| {
                f.body.is_none() && !self.world.bodies.contains_key(&f.content.body)
            }) {
                missing.push((object.key.clone(), object.copy.clone()));
            }
        }
        for (key, copy) in missing {
            let found = self.snapshot.get(&key);
            let Some(version) = found.map_err(|e| SourceError(e.to_string()))? else {
                continue;
            };
            let row = RowRef::parse(&version.row).map_err(|e| SourceError(e.to_string()))?;
            // Another one under the same name is an event of its own.
            if let Some(parts) = ObjectKey::parse(&key).filter(|_| row.uid() == copy.uid) {
                self.enter(&key, &parts, &copy, &version.row, version.modified)?;
            }
        }
        Ok(())
    }
}
