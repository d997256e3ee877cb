//! Deciding one policy: plan, append, then let the picture change and wake the sessions concerned. In this order, always.
//!
//! Tombstones are durable before the placement that no longer has the copies; the placement is durable before a session can read it. A crash in between leaves tombstones for copies that are
//! still placed: the placement wins, and the same decision is made again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use atoll_placement::bundle::{self, CopyFlags};
use atoll_placement::place::{self, Guard, ObjectIndex, Plan, Wanted};
use atoll_placement::policy::DeletionPolicy;
use atoll_placement::{Destination, Destinations, RoaringBitmap};
use atoll_registry::ClusterName;
use atoll_store::{AppendError, At, Revision, Snapshot, Write};

use crate::absorb::{Absorb, Pending};
use crate::consent;
use crate::farewell;
use crate::model::{Entry, PolicyIndex, PolicyState, Tombstone, World};
use crate::rows::{self, AssignmentRow, BundleRow, TombstoneRow};
use crate::shared::Shared;

/// Removals by change within this time add up for the guard.
const RECENT_MS: i64 = 60_000;
/// How many tombstones go into one append.
const TOMBSTONES_PER_APPEND: usize = 60;

/// Why a decision was not carried out. It is made again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecideError {
    #[error("reading: {0}")]
    Read(String),
    #[error("writing: {0}")]
    Append(#[from] AppendError),
}

/// A decision, ready to be made durable.
struct Decision {
    plan: Plan,
    entries: BTreeMap<ObjectIndex, Entry>,
    content: String,
    ordinal: u64,
    orphan: bool,
    refused: bool,
    tombstones: Vec<Tombstone>,
    /// Copies that are wanted again: their tombstones end.
    revived: Vec<(ObjectIndex, Destinations)>,
    now: i64,
}

/// Decides a policy and carries the decision out.
pub(crate) async fn decide(
    shared: &Shared,
    index: PolicyIndex,
    pending: &mut Pending,
) -> Result<(), DecideError> {
    shared.figures.decisions.fetch_add(1, Ordering::Relaxed);
    let snapshot = shared
        .store
        .snapshot(At::Latest)
        .map_err(|e| DecideError::Read(e.to_string()))?;
    let decision = {
        let mut world = shared.world.write();
        prepare(shared, snapshot.as_ref(), &mut world, index, pending)?
    };
    drop(snapshot);
    shared.policy_status.add(index);
    let Some(decision) = decision else {
        return Ok(());
    };
    let mut revision = Revision(0);
    for batch in decision.tombstones.chunks(TOMBSTONES_PER_APPEND) {
        let writes = {
            let world = shared.world.read();
            batch
                .iter()
                .filter_map(|t| tombstone_write(&world, t))
                .collect::<Vec<_>>()
        };
        if !writes.is_empty() {
            revision = shared.append(Vec::new(), writes).await?;
        }
    }
    let writes = placement_writes(&shared.world.read(), index, &decision);
    if !writes.is_empty() {
        revision = shared.append(Vec::new(), writes).await?;
    }
    let woken = apply(shared, index, decision, revision);
    shared.sessions.wake(&woken);
    Ok(())
}

fn prepare(
    shared: &Shared,
    snapshot: &dyn Snapshot,
    world: &mut World,
    index: PolicyIndex,
    pending: &mut Pending,
) -> Result<Option<Decision>, DecideError> {
    let now = shared.registry.now().0;
    let mut absorb = Absorb {
        registry: &shared.registry,
        snapshot,
        world,
        pending,
    };
    let deleted = absorb.world.policies.get(&index).is_none_or(|p| p.deleted);
    let mut trouble = Vec::new();
    if !deleted && let Err(why) = absorb.resolve_inventory(index) {
        trouble.push(format!("InventoryNotFound: {why}"));
    }
    let wanted = if deleted {
        BTreeMap::new()
    } else {
        absorb
            .closure(index)
            .map_err(|e| DecideError::Read(e.to_string()))?
    };
    let mut wanted = wanted;
    keep_unreadable(world, snapshot, index, &mut wanted)?;
    let Some(policy) = world.policies.get_mut(&index) else {
        return Ok(None);
    };
    policy
        .problems
        .retain(|p| !p.starts_with("InventoryNotFound"));
    let stays = !trouble.is_empty();
    policy.problems.extend(trouble);
    while policy
        .recent
        .front()
        .is_some_and(|(at, _, _)| *at < now - RECENT_MS)
    {
        policy.recent.pop_front();
    }
    let policy = policy.clone();
    if !deleted && (!policy.parsed || policy.spec.suspend || stays || policy.inventory.is_none()) {
        // The last good state stays as it is.
        return Ok(None);
    }
    let consent = consent_of(shared, snapshot, &policy);
    let none = RoaringBitmap::new();
    let state = policy
        .inventory
        .as_deref()
        .and_then(|i| world.inventories.get(i));
    let existing = world.all_destinations();
    let orphan = policy.orphan_now() || farewell::keeps(snapshot, &policy.cluster);
    let plan = place::plan(
        &policy.placed,
        &Wanted {
            objects: wanted.keys().copied().collect(),
            deleted: deleted_objects(world, snapshot, &policy, &wanted)?,
            let_go: let_go(&policy),
            selected: state
                .map(|s| s.index.select_any(&policy.spec.clusters))
                .unwrap_or_default(),
            accepted: state.map_or(&none, |s| s.index.accepted()),
            existing: &existing,
            purging: &world.purging,
            consent,
            policy_deleted: deleted,
        },
        &Guard {
            limit: policy.spec.max_removals,
            confirmed: policy.spec.confirm_removal.clone(),
            recent_copies: policy.recent.iter().map(|r| r.1).sum(),
            recent_destinations: policy.recent.iter().map(|r| r.2).sum(),
        },
        &|object| world.covered(object, index),
        &|object| {
            world
                .objects
                .get(&object)
                .map(|o| o.identity())
                .unwrap_or_default()
        },
    );
    let entries: BTreeMap<ObjectIndex, Entry> = plan
        .next
        .objects
        .iter()
        .filter_map(|object| {
            let old = policy.entries.get(object);
            let flags = wanted.get(object).copied().or(old.map(|e| e.flags))?;
            let render = world
                .objects
                .get(object)
                .filter(|o| o.live)
                .and_then(|o| o.render(flags))
                .or(old.map(|e| e.render))?;
            Some((*object, Entry { flags, render }))
        })
        .collect();
    let identities: Vec<(String, [u8; 16])> = entries
        .iter()
        .filter_map(|(o, e)| Some((world.objects.get(o)?.identity(), e.render)))
        .collect();
    let content = bundle::content_hash(
        identities
            .iter()
            .map(|(identity, render)| (identity.as_str(), *render)),
    );
    let ordinal = if content == policy.content {
        policy.ordinal
    } else {
        policy.ordinal + 1
    };
    let refused = !consent
        && state.is_some_and(|s| {
            !((s.index.select_any(&policy.spec.clusters) & s.index.accepted())
                - &policy.placed.assigned)
                .is_empty()
        });
    let tombstones = tombstones(world, &policy, &plan, orphan);
    let revived = plan
        .next
        .objects
        .iter()
        .filter(|o| world.tombstones.contains_key(o))
        .map(|o| (*o, plan.next.assigned.clone()))
        .collect();
    Ok(Some(Decision {
        plan,
        entries,
        content,
        ordinal,
        orphan,
        refused,
        tombstones,
        revived,
        now,
    }))
}

impl PolicyState {
    /// Whether its copies stay when it or its objects go: as its spec says, or said last.
    fn orphan_now(&self) -> bool {
        if self.deleted {
            self.orphan
        } else {
            self.spec.deletion == DeletionPolicy::Orphan
        }
    }
}

fn consent_of(shared: &Shared, snapshot: &dyn Snapshot, policy: &PolicyState) -> bool {
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
fn keep_unreadable(
    world: &World,
    snapshot: &dyn Snapshot,
    index: PolicyIndex,
    wanted: &mut BTreeMap<ObjectIndex, CopyFlags>,
) -> Result<(), DecideError> {
    let Some(policy) = world.policies.get(&index) else {
        return Ok(());
    };
    for (object, entry) in policy.entries.iter().filter(|_| !policy.deleted) {
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
fn let_go(policy: &PolicyState) -> BTreeSet<ObjectIndex> {
    policy
        .entries
        .iter()
        .filter(|(_, entry)| entry.flags.implicit)
        .map(|(object, _)| *object)
        .collect()
}

/// Objects that leave because they no longer exist. Looked up, never concluded from a missing event or an unknown kind.
fn deleted_objects(
    world: &World,
    snapshot: &dyn Snapshot,
    policy: &PolicyState,
    wanted: &BTreeMap<ObjectIndex, CopyFlags>,
) -> Result<BTreeSet<ObjectIndex>, DecideError> {
    let mut deleted = BTreeSet::new();
    for object in policy
        .placed
        .objects
        .iter()
        .filter(|o| !wanted.contains_key(o))
    {
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

/// The tombstones that a plan adds to.
fn tombstones(world: &World, policy: &PolicyState, plan: &Plan, orphan: bool) -> Vec<Tombstone> {
    plan.removals
        .iter()
        .filter_map(|removal| {
            let inventory = policy
                .inventory
                .clone()
                .unwrap_or_else(|| policy.cluster.clone());
            let mut tombstone =
                world
                    .tombstones
                    .get(&removal.object)
                    .cloned()
                    .unwrap_or(Tombstone {
                        object: removal.object,
                        inventory,
                        remove: Destinations::new(),
                        orphan: Destinations::new(),
                    });
            // What came along implicitly is let go, never removed.
            let keep = orphan || policy.entries.get(&removal.object)?.flags.implicit;
            if keep {
                tombstone.orphan |= &removal.destinations;
                tombstone.remove -= &removal.destinations;
            } else {
                tombstone.remove |= &removal.destinations;
                tombstone.orphan -= &removal.destinations;
            }
            Some(tombstone)
        })
        .collect()
}

/// The row of a tombstone; its key is deleted when it is empty.
pub(crate) fn tombstone_write(world: &World, tombstone: &Tombstone) -> Option<Write> {
    let object = world.objects.get(&tombstone.object)?;
    let key = rows::tombstone(&tombstone.inventory, &object.copy.cluster, &object.copy.uid);
    if tombstone.remove.is_empty() && tombstone.orphan.is_empty() {
        return Some(Write::Delete(key, None));
    }
    let row = TombstoneRow {
        entry: Some(World::remembrance(object)),
        remove: rows::set_to_bytes(&tombstone.remove),
        orphan: rows::set_to_bytes(&tombstone.orphan),
    };
    Some(Write::Put(key, rows::encode(&row)))
}

fn placement_writes(world: &World, index: PolicyIndex, decision: &Decision) -> Vec<Write> {
    let Some(policy) = world.policies.get(&index) else {
        return Vec::new();
    };
    let (bundle, assignment) = (
        rows::bundle(&policy.cluster, &policy.uid),
        rows::assignment(&policy.cluster, &policy.uid),
    );
    if policy.deleted {
        return vec![Write::Delete(bundle, None), Write::Delete(assignment, None)];
    }
    let mut writes = Vec::new();
    if policy.entries != decision.entries
        || policy.content != decision.content
        || policy.orphan != decision.orphan
    {
        let row = BundleRow {
            policy: policy.name.to_string(),
            ordinal: decision.ordinal,
            content: decision.content.clone(),
            entries: decision
                .entries
                .iter()
                .filter_map(|(o, e)| Some(World::entry_row(world.objects.get(o)?, e)))
                .collect(),
            orphan: decision.orphan,
        };
        writes.push(Write::Put(bundle, rows::encode(&row)));
    }
    if policy.placed.assigned != decision.plan.next.assigned {
        let row = AssignmentRow {
            inventory: policy.inventory.as_deref().unwrap_or_default().to_owned(),
            assigned: rows::set_to_bytes(&decision.plan.next.assigned),
        };
        writes.push(Write::Put(assignment, rows::encode(&row)));
    }
    writes
}

/// Lets the picture be what is durable. Returns whom to wake.
fn apply(
    shared: &Shared,
    index: PolicyIndex,
    decision: Decision,
    revision: Revision,
) -> Destinations {
    let mut world = shared.world.write();
    let world = &mut *world;
    let Decision {
        plan,
        entries,
        content,
        ordinal,
        orphan,
        refused,
        tombstones,
        revived,
        now,
    } = decision;
    let mut woken = plan.added.clone();
    for tombstone in tombstones {
        woken |= &tombstone.remove;
        woken |= &tombstone.orphan;
        world.tombstones.insert(tombstone.object, tombstone);
    }
    for (object, destinations) in revived {
        if let Some(tombstone) = world.tombstones.get_mut(&object) {
            tombstone.remove -= &destinations;
            tombstone.orphan -= &destinations;
        }
    }
    let Some(policy) = world.policies.get_mut(&index) else {
        return woken;
    };
    let before = std::mem::replace(&mut policy.placed, plan.next);
    let old_entries = std::mem::replace(&mut policy.entries, entries);
    let changed: BTreeSet<ObjectIndex> = policy
        .entries
        .iter()
        .filter(|(o, e)| old_entries.get(o) != Some(e))
        .map(|(o, _)| *o)
        .chain(
            old_entries
                .keys()
                .filter(|o| !policy.entries.contains_key(o))
                .copied(),
        )
        .collect();
    if !changed.is_empty() {
        woken |= &policy.placed.assigned;
    }
    policy.content = content;
    policy.ordinal = ordinal;
    policy.orphan = orphan;
    policy.refused = refused;
    policy.held = plan.held;
    if plan.removed_by_change != (0, 0) {
        policy
            .recent
            .push_back((now, plan.removed_by_change.0, plan.removed_by_change.1));
    }
    let moved = &before.assigned ^ &policy.placed.assigned;
    for destination in &moved & &world.purging {
        shared.lifecycle.add(Destination(destination));
    }
    let everywhere = &before.assigned | &policy.placed.assigned;
    if revision > Revision(0) {
        policy.changed = policy.changed.max(revision);
        world.applied = world.applied.max(revision);
    }
    let (deleted, placed, all) = (
        policy.deleted,
        policy.placed.clone(),
        old_entries
            .keys()
            .chain(policy.entries.keys())
            .copied()
            .collect::<BTreeSet<_>>(),
    );
    let still: BTreeSet<ObjectIndex> = placed
        .objects
        .iter()
        .chain(policy.selected.keys())
        .copied()
        .collect();
    if revision > Revision(0) {
        shared.feed.policy(index, revision.max(world.applied));
    }
    for object in all {
        let touched = if changed.contains(&object) {
            &everywhere
        } else {
            &moved
        };
        if !touched.is_empty() {
            shared.touched(object, touched, revision.max(world.applied));
        }
        if let Some(record) = world.objects.get_mut(&object) {
            if still.contains(&object) && !deleted {
                record.policies.insert(index);
            } else {
                record.policies.remove(&index);
            }
            for other in record.policies.clone() {
                shared.policy_status.add(other);
            }
        }
        forget_settled(world, object);
    }
    if deleted {
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
    woken
}

/// Drops an empty tombstone (its row goes with the next fold) and an object that nothing refers to.
pub(crate) fn forget_settled(world: &mut World, object: ObjectIndex) {
    if world
        .tombstones
        .get(&object)
        .is_some_and(|t| t.remove.is_empty() && t.orphan.is_empty())
    {
        world.tombstones.remove(&object);
    }
    world.forget_if_unused(object);
}
