//! What a decision has to look up: consent, objects that cannot be read just now, objects that are gone.
//!
//! Nothing here concludes anything from a missing event or an unknown kind.

use std::collections::{BTreeMap, BTreeSet};

use atoll_placement::bundle::CopyFlags;
use atoll_placement::place::ObjectIndex;
use atoll_registry::ClusterName;
use atoll_store::Snapshot;

use super::DecideError;
use crate::consent;
use crate::model::{PolicyIndex, PolicyState, World};
use crate::shared::Shared;

pub(super) fn consent_of(shared: &Shared, snapshot: &dyn Snapshot, policy: &PolicyState) -> bool {
    let Some(inventory) = &policy.inventory else {
        return false;
    };
    match consent::writer(snapshot, &policy.cluster, &policy.name) {
        Some(user) => consent::may_place(
            shared.authorizer.as_ref(),
            &user,
            &ClusterName::new(inventory.clone()),
        )
        .is_ok(),
        None => true,
    }
}

/// A placed object that exists but could not be read (its kind is not served just now) stays as it is.
pub(super) fn keep_unreadable(
    world: &World,
    snapshot: &dyn Snapshot,
    index: PolicyIndex,
    wanted: &mut BTreeMap<ObjectIndex, CopyFlags>,
) -> Result<(), DecideError> {
    let Some(policy) = world.policies.get(&index) else {
        return Ok(());
    };
    for (object, entry) in policy.entries().filter(|_| !policy.deleted) {
        let Some(record) = world
            .objects
            .get(object)
            .filter(|o| !o.live && !wanted.contains_key(object) && !o.copy.uid.is_empty())
        else {
            continue;
        };
        let row = snapshot
            .get(&record.key)
            .map_err(|e| DecideError::Read(e.to_string()))?;
        let there = row.is_some_and(|v| {
            atoll_kube::RowRef::parse(&v.row)
                .is_ok_and(|r| r.uid() == record.copy.uid && !r.is_deleting())
        });
        if there {
            wanted.insert(*object, entry.flags);
        }
    }
    Ok(())
}

/// Objects whose copies are let go when they leave.
pub(super) fn let_go(policy: &PolicyState) -> BTreeSet<ObjectIndex> {
    policy
        .entries()
        .filter(|(_, entry)| entry.flags.implicit)
        .map(|(object, _)| *object)
        .collect()
}

/// Objects that leave because they no longer exist. Looked up, never concluded from a missing event or an unknown kind.
pub(super) fn deleted_objects(
    world: &World,
    snapshot: &dyn Snapshot,
    policy: &PolicyState,
    wanted: &BTreeMap<ObjectIndex, CopyFlags>,
) -> Result<BTreeSet<ObjectIndex>, DecideError> {
    let mut deleted = BTreeSet::new();
    for (object, _) in policy.entries().filter(|(o, _)| !wanted.contains_key(o)) {
        let Some(record) = world.objects.get(object) else {
            continue;
        };
        let row = snapshot
            .get(&record.key)
            .map_err(|e| DecideError::Read(e.to_string()))?;
        let gone = match &row {
            None => true,
            Some(version) => atoll_kube::RowRef::parse(&version.row)
                .is_ok_and(|r| r.uid() != record.copy.uid || r.is_deleting()),
        };
        if gone {
            deleted.insert(*object);
        }
    }
    Ok(deleted)
}
