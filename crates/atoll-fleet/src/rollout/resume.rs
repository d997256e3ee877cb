//! A start: records are read back, and the engine goes on where they end.
//!
//! The order matters. First what the records say; then what is there now (destinations, budgets, policies, who shares objects with whom); only then the engine looks around. What was reported
//! and confirmed but not heard before the end is heard then, and so is what people wrote into Rollouts.

use std::collections::{BTreeMap, HashMap};

use atoll_placement::Destinations;
use atoll_placement::rollout::delta::{Delta, SetId};
use atoll_placement::rollout::{Event, Ordinal, PolicyId};
use atoll_store::Key;

use super::{Controlled, carry, sight};
use crate::absorb::{Absorb, Pending};
use crate::decide::DecideError;
use crate::model::{PolicyIndex, World};
use crate::rows;
use crate::shared::Shared;

/// Records by policy, in their order.
pub(crate) type Records = HashMap<PolicyIndex, BTreeMap<u64, (Key, bytes::Bytes)>>;

/// Takes in the records of all policies: they say who has what.
pub(crate) fn load(absorb: &mut Absorb<'_>, records: Records) -> Result<(), String> {
    for (index, records) in records {
        let id = PolicyId(index.0);
        let (mut oldest, mut next) = (0, 0);
        for (number, (key, row)) in records {
            let damaged = |e: &dyn std::fmt::Display| format!("row {key} is damaged: {e}");
            let delta = Delta::decode(&row).map_err(|e| damaged(&e))?;
            if delta.whole {
                oldest = number;
            }
            next = number + 1;
            let loaded = absorb.world.control.engine.load(id, &delta);
            loaded.map_err(|e| damaged(&e))?;
        }
        let mut control = Controlled::new(id, oldest, next);
        control.introduced = true;
        follow(absorb, index, control)?;
    }
    Ok(())
}

/// What the engine says of a policy is what the picture has.
fn follow(absorb: &mut Absorb<'_>, index: PolicyIndex, control: Controlled) -> Result<(), String> {
    let world = &mut *absorb.world;
    let (Some(policy), Some(state)) = (
        world.policies.get_mut(&index),
        world.control.engine.state(control.id),
    ) else {
        return Ok(());
    };
    // A revision whose record did not become durable was never cut.
    let unknown = policy
        .revisions
        .keys()
        .filter(|o| state.revision(Ordinal(**o)).is_none());
    let unknown: Vec<u64> = unknown.copied().collect();
    let mut free = Vec::new();
    for ordinal in unknown {
        free.extend(policy.revisions.remove(&ordinal));
        absorb
            .pending
            .obsolete
            .push(rows::revision(&policy.cluster, &policy.uid, ordinal));
    }
    policy.assigned = Destinations::new();
    for revision in policy.revisions.values_mut() {
        revision.assigned = Destinations::new();
    }
    for (ordinal, set) in state.assigned() {
        policy.assigned |= set;
        let revision = policy.revisions.get_mut(&ordinal.0);
        let revision = revision.ok_or_else(|| {
            format!(
                "rollouts of policy {} name revision {}, which is not there",
                policy.name, ordinal.0
            )
        })?;
        revision.assigned = set.clone();
    }
    policy.control = Some(Box::new(control));
    for revision in free {
        world.release_bodies(&revision.cut);
    }
    Ok(())
}

/// Every destination that records name: none of their numbers is given to another.
pub(crate) fn named(world: &World) -> Destinations {
    let mut named = Destinations::new();
    for id in world.control.engine.policies() {
        let state = world.control.engine.state(id);
        let sets = state.into_iter().flat_map(|s| s.sets.range(..));
        sets.for_each(|(_, set)| named |= set);
    }
    named
}

/// Goes on where the records end. The picture is complete.
pub(crate) async fn resume(shared: &Shared, pending: &mut Pending) -> Result<(), DecideError> {
    let (step, gone) = {
        let mut world = shared.world.write();
        let now = shared.registry.now();
        let ids: Vec<PolicyId> = world.control.engine.policies().collect();
        for id in &ids {
            let sharing = world.sharing(PolicyIndex(id.0));
            world.control.engine.introduce(*id, sharing);
        }
        let budgets = world.control.budgets.iter();
        let budgets: Vec<_> = budgets.map(|(id, b)| (*id, b.spec.clone())).collect();
        let (existing, available) = (world.existing.clone(), world.available.clone());
        let mut engine = std::mem::take(&mut world.control.engine);
        let facts = sight::Inventories { world: &world, now };
        let step = engine.resume(&existing, &available, &budgets, &facts, now);
        world.control.engine = engine;
        world.control.wake = step.wake;
        for id in &ids {
            let held = world.control.engine.slots(*id);
            let state = world.control.engine.state(*id);
            let failed = state.map(|s| s.sets.get(SetId::Failed).clone());
            *pending.heard.assigned.entry(PolicyIndex(id.0)).or_default() |=
                held | failed.unwrap_or_default();
        }
        let gone = named(&world) - &world.existing;
        (step, gone)
    };
    // All of that is in the engine now.
    pending.heard.up.clear();
    pending.heard.down.clear();
    pending.heard.relabeled.clear();
    pending.heard.budgets.clear();
    carry::carry(shared, step, pending).await?;
    if !gone.is_empty() {
        super::step(shared, Event::Gone(gone), pending).await?;
    }
    Ok(())
}
