//! What is durable enters the picture, and whoever shows or sends it is told.

use std::collections::{BTreeMap, BTreeSet};

use atoll_placement::bundle::BodyHash;
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};
use atoll_store::Revision;

use super::Decision;
use crate::model::{Copies, PolicyIndex, PolicyState, RevisionState, Tombstone, World};
use crate::shared::Shared;

/// Lets the picture be what is durable. Returns whom to wake, and the bodies that nothing names any more.
pub(super) fn apply(
    shared: &Shared,
    index: PolicyIndex,
    decision: Decision,
    revision: Revision,
) -> (Destinations, Vec<BodyHash>) {
    let mut world = shared.world.write();
    let world = &mut *world;
    let recount = world.policies.get(&index).map(|p| moving(p, &decision));
    let recount = recount.unwrap_or_default();
    world.count(&recount, false);
    let mut woken = Destinations::new();
    for tombstone in decision.tombstones {
        woken |= &tombstone.remove;
        woken |= &tombstone.orphan;
        world.tombstones.insert(tombstone);
    }
    for (object, destinations) in decision.revived {
        world.tombstones.revive(object, &destinations);
    }
    for (_, cut) in &decision.cuts {
        world.hold_bodies(cut);
        for object in &cut.objects {
            world.let_bodies_go(*object);
        }
    }
    if revision > Revision(0) {
        world.applied = world.applied.max(revision);
    }
    let newest = world.policies.get(&index).and_then(PolicyState::newest);
    let cut = decision.cuts.last().map(|(_, cut)| cut.clone());
    let cut = cut.or_else(|| newest.map(|r| r.cut.clone()));
    if let Some(cut) = cut.filter(|cut| cut.varies) {
        world.ensure_places(&cut.layers());
    }
    let cuts = decision.cuts.iter();
    let versions: Vec<ObjectIndex> = cuts.flat_map(|(_, cut)| cut.varying()).collect();
    let Some(policy) = world.policies.get_mut(&index) else {
        return (woken, Vec::new());
    };
    let mut concerned: BTreeSet<ObjectIndex> = policy.objects();
    for (ordinal, cut) in decision.cuts {
        let fresh = RevisionState {
            cut,
            assigned: Destinations::new(),
        };
        policy.revisions.insert(ordinal, fresh);
    }
    let mut touched: BTreeMap<ObjectIndex, Destinations> = BTreeMap::new();
    let mut moved = Destinations::new();
    for transition in &decision.transitions {
        moved |= &transition.destinations;
        let cut = |ordinal: Option<u64>| ordinal.and_then(|o| Some(&policy.revisions.get(&o)?.cut));
        let (from, to) = (cut(transition.from), cut(transition.to));
        let objects = from.into_iter().chain(to).flat_map(|c| &c.objects);
        for object in objects {
            let (old, new) = (
                from.and_then(|c| c.entries.get(object)),
                to.and_then(|c| c.entries.get(object)),
            );
            if old != new {
                *touched.entry(*object).or_default() |= &transition.destinations;
            }
        }
    }
    for set in touched.values() {
        woken |= set;
    }
    for transition in &decision.transitions {
        policy.move_to(transition);
    }
    if !policy.spec.upsync.is_empty() {
        woken |= &moved;
        for destination in &moved {
            shared.upsync.add(Destination(destination));
        }
    }
    policy.detach(&decision.gone);
    let forgotten: Vec<RevisionState> = decision
        .forget
        .iter()
        .filter_map(|ordinal| policy.revisions.remove(ordinal))
        .collect();
    policy.orphan = decision.orphan;
    policy.refused = decision.refused.unwrap_or(policy.refused);
    policy.stored_inventory = policy.inventory.clone();
    if let Some(unsatisfied) = decision.unsatisfied {
        policy.unsatisfied = unsatisfied;
    }
    if let Some(wake) = decision.wake {
        policy.wake = wake;
    }
    policy.held = decision.held;
    if decision.removed != (0, 0) {
        let (copies, destinations) = decision.removed;
        let step = (decision.now, copies, destinations);
        policy.recent.push_back(step);
    }
    if revision > Revision(0) {
        policy.changed = policy.changed.max(revision);
        shared.feed.policy(index, revision.max(world.applied));
    }
    for destination in &moved & &world.purging {
        shared.lifecycle.add(Destination(destination));
    }
    concerned.extend(policy.objects());
    concerned.extend(forgotten.iter().flat_map(|r| &r.cut.objects));
    let last = decision.last;
    let named: BTreeSet<ObjectIndex> = concerned
        .iter()
        .filter(|o| !last && refers(policy, **o))
        .copied()
        .collect();
    let free = forgotten
        .iter()
        .flat_map(|r| world.release_bodies(&r.cut))
        .collect();
    for object in &concerned {
        if let Some(set) = touched.get(object) {
            shared.touched(*object, set, revision.max(world.applied));
        }
        if let Some(record) = world.objects.get_mut(object) {
            if named.contains(object) {
                record.policies.insert(index);
            } else {
                record.policies.remove(&index);
            }
            if touched.contains_key(object) {
                for other in &record.policies {
                    shared.policy_status.add(*other);
                }
            }
        }
    }
    world.count(&recount, true);
    for object in versions {
        world.see_exceptions(object);
    }
    let varying = touched.keys().filter(|o| world.varying.contains(o));
    world.unchecked.extend(varying);
    for object in concerned {
        world.forget_checks(object);
        forget_settled(world, object);
    }
    world.collected.policies.insert(index);
    if last {
        forget_policy(world, index);
    }
    (woken, free)
}

/// The copies that may stand otherwise afterwards.
fn moving(policy: &PolicyState, decision: &Decision) -> Copies {
    let mut found = Copies::new();
    let moves = decision.transitions.iter().map(|t| &t.destinations);
    let all = moves.fold(decision.gone.clone(), |all, set| all | set);
    let mut add = |objects: &BTreeSet<ObjectIndex>, set: &Destinations| {
        for object in objects.iter().filter(|_| !set.is_empty()) {
            *found.entry(*object).or_default() |= set;
        }
    };
    for (_, revision) in policy.in_use() {
        add(&revision.cut.objects, &(&revision.assigned & &all));
    }
    for transition in &decision.transitions {
        let mut new = decision.cuts.iter();
        let new = new.find(|(o, _)| Some(*o) == transition.to);
        let held = transition.to.and_then(|o| policy.revisions.get(&o));
        let to = new.map(|(_, cut)| cut).or(held.map(|r| &r.cut));
        add(
            &to.map(|cut| cut.objects.clone()).unwrap_or_default(),
            &transition.destinations,
        );
    }
    found
}

/// Whether a policy selects an object or has it in a revision.
fn refers(policy: &PolicyState, object: ObjectIndex) -> bool {
    policy.selected.contains_key(&object) || policy.names(object)
}

fn forget_policy(world: &mut World, index: PolicyIndex) {
    if let Some(policy) = world.policies.remove(&index) {
        world.what.remove(&policy.cluster, index, &policy.spec);
        let id = (policy.cluster, policy.name);
        if world.by_policy.get(&id) == Some(&index) {
            world.by_policy.remove(&id);
        }
    }
    for inventory in world.inventories.values_mut() {
        inventory.policies.remove(&index);
    }
}

/// Drops an empty tombstone (its row goes with the next fold) and an object that nothing refers to.
pub(crate) fn forget_settled(world: &mut World, object: ObjectIndex) {
    if world
        .tombstones
        .get(&object)
        .is_some_and(Tombstone::is_settled)
    {
        world.tombstones.remove(&object);
    }
    world.forget_if_unused(object);
}
