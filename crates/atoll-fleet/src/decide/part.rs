//! Deciding a policy for the few destinations that an event concerns.
//!
//! Hot path: what it costs follows from how many they are, not from how many there are. What the policy places is as it was, so nothing is read but labels; sets are cut down to
//! these destinations before anything is done with them. What cannot be seen in part (a removal that is held, a policy that is deleted) is decided as a whole instead.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use atoll_kube::Timestamp;
use atoll_placement::Destinations;
use atoll_placement::assign::{self, Ordinal};
use atoll_placement::place::{self, Guard, Placed, Wanted};
use atoll_store::Snapshot;

use super::{Decision, Prepared, choose, finish, lookups};
use crate::farewell;
use crate::model::{PolicyIndex, World};
use crate::rollout::{self, Aim, Target};
use crate::shared::Shared;

/// `None`: look at the whole.
pub(super) fn prepare(
    shared: &Shared,
    snapshot: &dyn Snapshot,
    world: &mut World,
    index: PolicyIndex,
    these: &Destinations,
) -> Option<Prepared> {
    let now = shared.registry.now().0;
    let policy = world.policies.get_mut(&index)?;
    policy.forget_recent(now);
    let (world, policy) = (&*world, world.policies.get(&index)?);
    let settled = policy.parsed
        && !policy.deleted
        && !policy.spec.suspend
        && policy.held.is_none()
        && policy.problems.is_empty();
    let newest = policy.newest().filter(|_| settled)?;
    let state = world.inventories.get(policy.inventory.as_deref()?)?;
    if !policy.spec.asked.takes_all() {
        return None;
    }
    if policy.control.is_none() && rollout::under_control(world, index) != Ok(false) {
        return None;
    }
    let under_control = policy.control.is_some();
    let choice = choose::choose(world, policy, state, Some(these), Timestamp(now));
    let selected = choice.chosen;
    let assigned = world.holders(policy) & these;
    let accepted = state.index.accepted() & these;
    let existing = &world.existing & these;
    let consent = lookups::consent_of(shared, snapshot, policy);
    let orphan = policy.orphan_now() || farewell::keeps(snapshot, &policy.cluster);
    let waiting = !consent && !((&selected & &accepted) - &assigned).is_empty();
    let looked_at = newest.cut.objects.len() as u64 * assigned.len();
    let plan = place::plan(
        &Placed {
            objects: newest.cut.objects.clone(),
            assigned: assigned.clone(),
        },
        &Wanted {
            objects: newest.cut.objects.clone(),
            deleted: BTreeSet::new(),
            let_go: lookups::let_go(policy),
            selected,
            accepted: &accepted,
            existing: &existing,
            purging: &world.purging,
            consent,
            policy_deleted: false,
        },
        &Guard {
            limit: policy.spec.max_removals,
            confirmed: policy.spec.confirm_removal.clone(),
            recent_copies: policy.recent.iter().map(|r| r.1).sum(),
            recent_destinations: policy.recent.iter().map(|r| r.2).sum(),
            elsewhere: policy.copies().saturating_sub(looked_at),
        },
        &|object, within| world.covered(object, index, within),
        &|object| world.identity_of(object),
    );
    if plan.held.is_some() {
        return None;
    }
    shared
        .figures
        .looked_at
        .fetch_add(these.len(), Ordering::Relaxed);
    let target = plan.next.assigned;
    let decision = Decision {
        held: None,
        removed: plan.removed_by_change,
        orphan,
        // Others may be waiting too.
        refused: waiting.then_some(true),
        wake: choice.wake_at.map(Some),
        ..Decision::nothing(policy, now)
    };
    if under_control {
        let aim = Aim {
            suspended: false,
            deleted: None,
            target: Some(Target {
                content: None,
                joined: &target - &assigned,
                left: &assigned - &target,
            }),
        };
        let decision = rollout::without_moves(policy, decision, &aim);
        return Some(Prepared {
            decision: Some(decision),
            aim: Some(aim),
        });
    }
    let before: Vec<(Ordinal, Destinations)> = policy
        .in_use()
        .map(|(ordinal, r)| (ordinal, &r.assigned & &existing))
        .collect();
    // Who stays keeps the revision that it has; who comes gets the newest.
    let mut after: Vec<(Ordinal, Destinations)> = before
        .iter()
        .map(|(ordinal, set)| (*ordinal, set & &target))
        .collect();
    after.push((policy.ordinal(), &target - &assigned));
    let transitions = assign::transitions(
        before.iter().map(|(o, set)| (*o, set)),
        assign::merge(after).iter().map(|(o, set)| (*o, set)),
    );
    let decision = Decision {
        transitions,
        gone: assigned - &existing,
        ..decision
    };
    Some(Prepared {
        decision: Some(finish(world, index, policy, decision)),
        aim: None,
    })
}
