//! What an event of the log means for the picture of the fleet: which destinations, objects and policies changed, and which policies have to be decided anew.
//!
//! Nothing is appended here. Policies to decide are collected; destinations that are new wait for their index to be durable.

mod objects;
mod shape;

pub(crate) use shape::recipe_of;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atoll_kube::{Timestamp, meta};
use atoll_placement::choose::taint::Taint;
use atoll_placement::clean;
use atoll_placement::inventory::Labels;
use atoll_placement::place::ObjectIndex;
use atoll_placement::policy::Policy;
use atoll_placement::render::properties;
use atoll_placement::{Destination, Destinations};
use atoll_registry::{ObjectKey, Registry};
use atoll_store::{Key, Revision, Snapshot};
use serde_json::Value;

use crate::consent;
use crate::model::{DestinationState, PolicyIndex, PolicyState, Registration, World};
use crate::rollout::Heard;
use crate::rollout::specs::EDGE;
use crate::source::{self, CONTROL, OCM, SourceError};

/// What is to be done after some events.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Policies to decide, each with what is to be looked at.
    pub(crate) policies: BTreeMap<PolicyIndex, Scope>,
    /// ManagedClusters that have no index yet.
    pub(crate) new_destinations: Vec<Registration>,
    /// Destinations that changed or went.
    pub(crate) changed_destinations: BTreeSet<Destination>,
    pub(crate) gone_destinations: Vec<(Destination, DestinationState)>,
    /// Destinations whose copies may look different now.
    pub(crate) rerender: BTreeSet<Destination>,
    /// Objects whose own row has to be read again (an autoscaler began or ceased to target them).
    pub(crate) reread: BTreeSet<Key>,
    /// Namespaces whose objects have to be tested again: (cluster, namespace).
    pub(crate) retest: BTreeSet<(String, String)>,
    /// Objects whose returned status is another now, though no copy of them changed.
    pub(crate) returned: BTreeSet<ObjectIndex>,
    /// Rows that nobody needs any more.
    pub(crate) obsolete: Vec<Key>,
    /// Workspaces whose Customizers or CustomTransforms changed.
    pub(crate) shaped: BTreeSet<Arc<str>>,
    /// Destinations of which a policy asks something else now.
    pub(crate) asked: Destinations,
    /// Workspaces all of whose objects have to be tested against one policy.
    pub(crate) rescan: BTreeSet<PolicyIndex>,
    /// What the rollout engine has not heard yet.
    pub(crate) heard: Heard,
}

/// What of a policy a decision has to look at.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    /// Everything.
    Whole,
    /// Only these destinations are different: what it selects is as it was.
    Destinations(Destinations),
}

impl Pending {
    /// Everything about a policy is to be decided.
    pub(crate) fn whole(&mut self, index: PolicyIndex) {
        self.policies.insert(index, Scope::Whole);
    }

    /// A policy is to be decided for one destination.
    pub(crate) fn part(&mut self, index: PolicyIndex, destination: Destination) {
        let none = Scope::Destinations(Destinations::new());
        if let Scope::Destinations(set) = self.policies.entry(index).or_insert(none) {
            set.insert(destination.0);
        }
    }

    /// What could not be decided is decided again.
    pub(crate) fn again(&mut self, index: PolicyIndex, scope: Scope) {
        match (scope, self.policies.get_mut(&index)) {
            (Scope::Destinations(new), Some(Scope::Destinations(set))) => *set |= new,
            (Scope::Destinations(_), Some(Scope::Whole)) => {}
            (scope, _) => drop(self.policies.insert(index, scope)),
        }
    }
}

/// Events and rows on their way into the picture.
pub(crate) struct Absorb<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) snapshot: &'a dyn Snapshot,
    pub(crate) world: &'a mut World,
    pub(crate) pending: &'a mut Pending,
}

impl Absorb<'_> {
    /// Takes in the present row of a key (`None`: it is gone).
    pub(crate) fn row(
        &mut self,
        key: &Key,
        row: Option<&[u8]>,
        revision: Revision,
    ) -> Result<(), SourceError> {
        let Some(parts) = ObjectKey::parse(key) else {
            return Ok(());
        };
        match (parts.group, parts.resource) {
            (OCM, "managedclusters") => {
                self.world.told = self.world.told.max(revision);
                self.destination(&parts, row)
            }
            (CONTROL, "bindingpolicies") => self.policy(&parts, row, revision),
            (CONTROL, "statuscollectors") => self.collector(&parts, row),
            (CONTROL, "customtransforms") | (EDGE, "customizers") => self.shape(&parts, row),
            ("edge.atoll.dev", "signals") => self.signal(&parts, row),
            (EDGE, "rolloutpolicies") => self.rollout_policy(&parts, row),
            (EDGE, "disruptionbudgets") => self.disruption_budget(&parts, row),
            (EDGE, "rollouts") => self.rollout(&parts, row),
            ("", "configmaps")
                if parts.namespace == properties::NAMESPACE
                    && self.world.inventories.contains_key(parts.cluster) =>
            {
                self.world.told = self.world.told.max(revision);
                self.properties(&parts)
            }
            ("core.kcp.io", "logicalclusters") => {
                let waiting = self
                    .world
                    .policies
                    .iter()
                    .filter(|(_, p)| p.inventory.is_none() || &*p.cluster == parts.cluster);
                waiting.for_each(|(index, _)| self.pending.whole(*index));
                Ok(())
            }
            ("rbac.authorization.k8s.io", _)
                if self.world.inventories.contains_key(parts.cluster) =>
            {
                let refused =
                    self.world.policies.iter().filter(|(_, p)| {
                        p.refused && p.inventory.as_deref() == Some(parts.cluster)
                    });
                refused.for_each(|(index, _)| self.pending.whole(*index));
                Ok(())
            }
            _ if self.world.what.knows(parts.cluster)
                && clean::travels(parts.group, parts.resource) =>
            {
                self.object(key, &parts, row, revision)
            }
            _ => Ok(()),
        }
    }

    fn destination(
        &mut self,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let new = match row {
            Some(row) => {
                let value = source::control_value(
                    row,
                    "cluster.open-cluster-management.io/v1",
                    "ManagedCluster",
                )?;
                let config = source::config_of(self.snapshot, parts.cluster, parts.name)?;
                Some(source::registration(parts.cluster, &value, config.as_ref()))
            }
            None => None,
        };
        let known = self.world.destination(parts.cluster, parts.name);
        let same = match (known.and_then(|d| self.world.destinations.get(&d)), &new) {
            (Some(old), Some(new)) => old.uid == new.state.uid,
            _ => false,
        };
        if let Some(index) = known.filter(|_| !same) {
            self.remove_destination(index);
        }
        // One that still waits for its index is replaced by what it is now, or gone.
        let (inventory, name) = (parts.cluster, parts.name);
        self.pending
            .new_destinations
            .retain(|d| &*d.state.inventory != inventory || &*d.state.name != name);
        match (known, new) {
            (Some(index), Some(new)) if same => self.change_destination(index, new),
            (_, Some(new)) => self.pending.new_destinations.push(new),
            _ => {}
        }
        Ok(())
    }

    fn change_destination(&mut self, index: Destination, new: Registration) {
        let Some(old) = self.world.destinations.get(&index).cloned() else {
            return;
        };
        let Registration {
            mut state,
            labels,
            resume,
            given,
            taints,
        } = new;
        state.last_seen = old.last_seen;
        let (inventory, world) = (state.inventory.clone(), &*self.world);
        let same = world.is_known_as(&inventory, index, &labels, &given);
        let looked = (!same).then(|| world.own_renders(index));
        self.set_labels(index, &state, &labels, old.accepted != state.accepted);
        if old.purge != state.purge {
            for policy in self.policies_of(&state.inventory) {
                self.pending.part(policy, index);
            }
        }
        let destinations = &mut self.world.destinations;
        if (old.accepted, old.purge, &old.hub) != (state.accepted, state.purge, &state.hub)
            || destinations.resume(&index) != resume.as_ref()
        {
            self.pending.changed_destinations.insert(index);
        }
        destinations.set_resume(index, resume);
        self.mark_purging(index, state.purge);
        if old.available != state.available {
            self.mark_available(index, state.available);
            self.choosers(&inventory, index);
        }
        self.world.destinations.replace(index, state);
        self.given(&inventory, index, given);
        self.taint(&inventory, index, taints);
        if let Some(looked) = looked {
            self.world.look_changed(index, looked);
        }
    }

    fn mark_purging(&mut self, index: Destination, purge: bool) {
        if purge {
            self.world.purging.insert(index.0);
        } else {
            self.world.purging.remove(index.0);
        }
    }

    fn mark_available(&mut self, index: Destination, available: bool) {
        if available {
            self.world.available.insert(index.0);
        } else {
            self.world.available.remove(index.0);
        }
        self.pending.heard.available(index.0, available);
    }

    /// Policies that ask for more than labels may choose otherwise because of a destination.
    pub(super) fn choosers(&mut self, inventory: &str, index: Destination) {
        for policy in self.policies_of(inventory) {
            match self.world.policies.get(&policy).map(|p| &p.spec) {
                Some(spec) if spec.asks_labels_only() => {}
                Some(spec) if spec.asked.takes_all() => self.pending.part(policy, index),
                Some(_) => self.pending.whole(policy),
                None => {}
            }
        }
    }

    /// What a destination is tainted with.
    fn taint(&mut self, inventory: &Arc<str>, index: Destination, taints: Vec<(Taint, Timestamp)>) {
        let state = self.world.inventories.entry(inventory.clone()).or_default();
        let held = state.taints.of(index);
        if held.len() == taints.len() && held.iter().zip(&taints).all(|(a, (b, _))| a == b) {
            return;
        }
        state.taints.set(index, taints);
        for policy in self.policies_of(inventory) {
            match self.world.policies.get(&policy) {
                Some(p) if !p.spec.asked.takes_all() => self.pending.whole(policy),
                _ => self.pending.part(policy, index),
            }
        }
    }

    fn policies_of(&self, inventory: &str) -> Vec<PolicyIndex> {
        let inventory = self.world.inventories.get(inventory);
        let policies = inventory.into_iter().flat_map(|i| &i.policies);
        policies.copied().collect()
    }

    /// Policies that select a destination by its labels as they are in the index now.
    fn selecting(&self, inventory: &str, index: Destination) -> BTreeSet<PolicyIndex> {
        let Some(state) = self.world.inventories.get(inventory) else {
            return BTreeSet::new();
        };
        let selects = |policy: &&PolicyIndex| {
            let policy = self.world.policies.get(policy);
            policy.is_some_and(|p| state.index.selects_any(&p.spec.clusters, index))
        };
        state.policies.iter().filter(selects).copied().collect()
    }

    /// Enters a destination's labels, and has those policies decided for it that select it otherwise than before.
    fn set_labels(
        &mut self,
        index: Destination,
        state: &DestinationState,
        labels: &Labels,
        acceptance: bool,
    ) {
        let before = self.selecting(&state.inventory, index);
        let inventory = self.world.inventories.entry(state.inventory.clone());
        let same = inventory.or_default().index.has_labels(index, labels);
        let old = (!same).then(|| self.world.labels_of(index));
        let inventory = self.world.inventories.entry(state.inventory.clone());
        let inventory = inventory.or_default();
        inventory.index.set(index, labels, state.accepted);
        if let Some(old) = old {
            self.world.relabelled(index, &old);
        }
        if !same {
            self.pending.heard.relabeled.insert(index.0);
            self.rendered_anew(&state.inventory, index);
        }
        let after = self.selecting(&state.inventory, index);
        for policy in before.union(&after) {
            let (had, has) = (before.contains(policy), after.contains(policy));
            if had != has || (acceptance && has) {
                self.pending.part(*policy, index);
            }
        }
    }

    /// Enters a destination whose index is durable.
    pub(crate) fn add_destination(&mut self, index: Destination, new: Registration) {
        let Registration {
            state,
            labels,
            resume,
            given,
            taints,
        } = new;
        self.world.next_destination = self.world.next_destination.max(index.0 + 1);
        self.world.free.remove(index.0);
        self.world.existing.insert(index.0);
        self.set_labels(index, &state, &labels, true);
        self.pending.changed_destinations.insert(index);
        self.mark_purging(index, state.purge);
        self.mark_available(index, state.available);
        let inventory = state.inventory.clone();
        self.world.destinations.insert(index, state);
        self.world.destinations.set_resume(index, resume);
        self.given(&inventory, index, given);
        self.world.replace_at(&inventory, index);
        self.taint(&inventory, index, taints);
        self.choosers(&inventory, index);
        // Nothing was sent there yet.
        self.pending.rerender.remove(&index);
    }

    /// The ManagedCluster is gone: it is detached, its workloads stay.
    pub(crate) fn remove_destination(&mut self, index: Destination) {
        // While it is still known who it was.
        self.world.forget_reports(index);
        let Some(state) = self.world.destinations.remove(&index) else {
            return;
        };
        self.pending.heard.gone.insert(index.0);
        self.world.existing.remove(index.0);
        self.world.available.remove(index.0);
        self.world.connected.remove(index.0);
        self.world.purging.remove(index.0);
        if let Some(inventory) = self.world.inventories.get_mut(&state.inventory) {
            inventory.index.remove(index);
            inventory.properties.remove(index);
            inventory.taints.set(index, Vec::new());
            self.world.replace_at(&state.inventory, index);
            self.choosers(&state.inventory, index);
        }
        for (policy, _) in self
            .world
            .policies
            .iter()
            .filter(|(_, p)| p.assigned.contains(index.0))
        {
            self.pending.part(*policy, index);
        }
        self.world.tombstones.forget(index);
        self.pending.asked.insert(index.0);
        self.pending.gone_destinations.push((index, state));
    }

    fn policy(
        &mut self,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
        revision: Revision,
    ) -> Result<(), SourceError> {
        let id: (Arc<str>, Arc<str>) = (parts.cluster.into(), parts.name.into());
        let value = match row {
            Some(row) => Some(source::control_value(
                row,
                "control.kubestellar.io/v1alpha1",
                "BindingPolicy",
            )?),
            None => None,
        };
        let value = value.filter(|v| !meta::is_deleting(v));
        let known = self.world.by_policy.get(&id).copied();
        let uid = value.as_ref().map(|v| meta::uid(v).to_owned());
        if let Some(index) = known {
            let same = self
                .world
                .policies
                .get(&index)
                .is_some_and(|p| Some(&*p.uid) == uid.as_deref());
            if !same {
                self.drop_policy(index);
                self.world.by_policy.remove(&id);
            } else if let Some(value) = &value {
                self.change_policy(index, value);
                return Ok(());
            }
        }
        let Some(value) = value else { return Ok(()) };
        let index = self.enter_policy(id, meta::uid(&value), revision);
        self.change_policy(index, &value);
        Ok(())
    }

    /// A record for a policy, with nothing placed.
    pub(crate) fn enter_policy(
        &mut self,
        id: (Arc<str>, Arc<str>),
        uid: &str,
        revision: Revision,
    ) -> PolicyIndex {
        let index = PolicyIndex(self.world.next_policy);
        self.world.next_policy += 1;
        let policy = PolicyState::new(id.clone(), uid, revision);
        self.world.what.add(&id.0, index, &policy.spec);
        self.world.policies.insert(index, policy);
        self.world.by_policy.insert(id, index);
        index
    }

    fn change_policy(&mut self, index: PolicyIndex, value: &Value) {
        let Some(policy) = self.world.policies.get_mut(&index) else {
            return;
        };
        let generation = meta::generation(value);
        if generation == policy.generation {
            return;
        }
        policy.generation = generation;
        self.world.collected.policies.insert(index);
        policy.created = value
            .pointer("/metadata/creationTimestamp")
            .cloned()
            .unwrap_or(Value::Null);
        self.pending.whole(index);
        match Policy::parse(value.get("spec").unwrap_or(&Value::Null)) {
            Ok(spec) => {
                policy.problems.clear();
                policy.parsed = true;
                let again = policy.spec.downsync != spec.downsync;
                let old = std::mem::replace(&mut policy.spec, Arc::new(spec));
                if old.upsync != policy.spec.upsync {
                    self.pending.asked |= &policy.assigned;
                    self.world.note_upsync(index);
                }
                let Some(policy) = self.world.policies.get_mut(&index) else {
                    return;
                };
                if again {
                    self.pending.rescan.insert(index);
                    let (cluster, new) = (policy.cluster.clone(), policy.spec.clone());
                    self.world.what.remove(&cluster, index, &old);
                    self.world.what.add(&cluster, index, &new);
                }
            }
            // The last good spec stays in force.
            Err(errors) => policy.problems = errors.iter().map(ToString::to_string).collect(),
        }
    }

    fn drop_policy(&mut self, index: PolicyIndex) {
        let Some(policy) = self.world.policies.get_mut(&index) else {
            return;
        };
        policy.deleted = true;
        policy.selected.clear();
        if !policy.spec.upsync.is_empty() {
            self.pending.asked |= &policy.assigned;
        }
        let (cluster, spec) = (policy.cluster.clone(), policy.spec.clone());
        self.world.what.remove(&cluster, index, &spec);
        self.world.note_upsync(index);
        self.pending.whole(index);
    }

    /// Finds the inventory of a policy; the error is for its condition.
    pub(crate) fn resolve_inventory(&mut self, index: PolicyIndex) -> Result<(), String> {
        let Some(policy) = self.world.policies.get(&index) else {
            return Ok(());
        };
        let (_, found) = consent::resolve(
            self.registry.resolver().as_ref(),
            self.snapshot,
            &policy.cluster,
            &policy.spec,
        )
        .map_err(|no| no.why)?;
        let found: Arc<str> = Arc::from(found.as_str());
        self.world
            .inventories
            .entry(found.clone())
            .or_default()
            .policies
            .insert(index);
        if let Some(policy) = self.world.policies.get_mut(&index) {
            policy.inventory = Some(found);
        }
        Ok(())
    }
}
