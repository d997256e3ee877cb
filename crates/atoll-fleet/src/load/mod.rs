//! From the log to the picture of the fleet, at start.
//!
//! First what was durable (destinations, revisions, assignments, tombstones, columns, reports not yet folded), then what is there now
//! (ManagedClusters, policies, payload objects). The differences are decided like any change. A row that cannot be read stops the start: an incomplete picture must not decide.

mod reported;

use std::collections::HashMap;
use std::sync::Arc;

use atoll_placement::bundle::CopyFlags;
use atoll_placement::render::{Recipe, Renderer};
use atoll_placement::{Destination, Destinations};
use atoll_registry::{ObjectKey, ResourceId};
use atoll_store::{Key, Revision, Snapshot, Version};
use bytes::Bytes;
use prost::Message;

use crate::absorb::{Absorb, Pending};
use crate::model::{
    Content, Cut, Entry, PayloadObject, PolicyIndex, RevisionState, Tombstone, World,
};
use crate::rollout;
use crate::rows::{
    self, AssignmentRow, DestinationRow, ObjectRow, PlacementRow, RevisionRow, TombstoneRow,
};
use crate::shared::Shared;
use crate::source;

pub(crate) use reported::ReportPosition;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn rows_of(snapshot: &dyn Snapshot, family: &str) -> Result<Vec<(Key, Version)>, String> {
    snapshot
        .range(&rows::family(family), None)
        .map(|item| item.map_err(text))
        .collect()
}

fn part(key: &Key, n: usize) -> String {
    key.component(n)
        .map(|c| String::from_utf8_lossy(c).into_owned())
        .unwrap_or_default()
}

fn decode<T: Message + Default>(key: &Key, row: &Bytes) -> Result<T, String> {
    T::decode(row.clone()).map_err(|e| format!("row {key} is damaged: {e}"))
}

/// Fills an empty picture from a snapshot.
pub(crate) fn load(
    shared: &Shared,
    snapshot: &dyn Snapshot,
    world: &mut World,
    pending: &mut Pending,
) -> Result<ReportPosition, String> {
    let (rows, taken) = destination_rows(snapshot)?;
    let mut absorb = Absorb {
        registry: &shared.registry,
        snapshot,
        world,
        pending,
    };
    let written = load_destinations(&mut absorb, &rows)?;
    let mut named = Destinations::new();
    load_placements(&mut absorb)?;
    named = absorb
        .world
        .policies
        .values()
        .fold(named, |n, p| n | &p.assigned);
    named |= rollout::named(absorb.world);
    load_tombstones(&mut absorb, &mut named)?;
    let position = reported::load(&mut absorb, &mut named)?;
    // An index that anything names is not given to somebody else.
    let taken = taken | &named;
    absorb.world.next_destination = taken.max().map_or(0, |last| last + 1);
    absorb
        .world
        .free
        .insert_range(0..absorb.world.next_destination);
    absorb.world.free -= taken;
    load_present(&mut absorb)?;
    load_returned(&mut absorb)?;
    absorb.world.count_all();
    let policies = absorb.world.policies.keys().copied();
    absorb.world.collected.policies = policies.collect();
    reported::look_again(&mut absorb, shared.store.as_ref(), &position, &written)?;
    for destination in crate::upsync::load(absorb.world, snapshot)? {
        shared.upsync.add(destination);
    }
    absorb.world.applied = snapshot.revision();
    shared.feed.begin(snapshot.revision());
    Ok(position)
}

type DestinationRows = HashMap<(String, String), Destination>;

fn destination_rows(snapshot: &dyn Snapshot) -> Result<(DestinationRows, Destinations), String> {
    let (mut found, mut taken) = (DestinationRows::new(), Destinations::new());
    for (key, version) in rows_of(snapshot, "destinations")? {
        let row: DestinationRow = decode(&key, &version.row)?;
        taken.insert(row.index);
        found.insert((part(&key, 3), part(&key, 5)), Destination(row.index));
    }
    Ok((found, taken))
}

/// Returns when each that has an index was written last, by itself or in its ConfigMap.
fn load_destinations(
    absorb: &mut Absorb<'_>,
    rows: &DestinationRows,
) -> Result<Vec<(Destination, Revision)>, String> {
    let mut written = Vec::new();
    // Few have one: most need not be looked up.
    let mut configured: HashMap<String, HashMap<String, Revision>> = HashMap::new();
    for item in absorb
        .snapshot
        .range(&source::managed_clusters().family(), None)
    {
        let (key, version) = item.map_err(text)?;
        let Some(parts) = ObjectKey::parse(&key) else {
            continue;
        };
        if !configured.contains_key(parts.cluster) {
            let found = reported::config_maps(absorb.snapshot, parts.cluster)?;
            let found = found.into_iter().map(|(key, at)| (part(&key, 5), at));
            configured.insert(parts.cluster.to_owned(), found.collect());
        }
        let config_at = configured
            .get(parts.cluster)
            .and_then(|c| c.get(parts.name));
        let value = source::control_value(
            &version.row,
            "cluster.open-cluster-management.io/v1",
            "ManagedCluster",
        )
        .map_err(text)?;
        let config = match config_at {
            Some(_) => source::config_of(absorb.snapshot, parts.cluster, parts.name),
            None => Ok(None),
        };
        let config = config.map_err(text)?;
        let state = source::registration(parts.cluster, &value, config.as_ref());
        match rows.get(&(parts.cluster.to_owned(), state.state.uid.to_string())) {
            Some(index) => {
                let at = config_at.copied().unwrap_or_default();
                written.push((*index, version.modified.max(at)));
                absorb.add_destination(*index, state);
            }
            None => absorb.pending.new_destinations.push(state),
        }
    }
    Ok(written)
}

type PolicyByUid = HashMap<(String, String), PolicyIndex>;

fn load_placements(absorb: &mut Absorb<'_>) -> Result<(), String> {
    let mut by_uid = PolicyByUid::new();
    for (key, version) in rows_of(absorb.snapshot, "placements")? {
        let row: PlacementRow = decode(&key, &version.row)?;
        let (cluster, uid) = (part(&key, 3), part(&key, 5));
        // Two rows of one name: an older policy whose removal was not finished. It is entered under a name no other can have.
        let mut id: (Arc<str>, Arc<str>) = (cluster.as_str().into(), row.policy.as_str().into());
        let stored = stored_uid(absorb.snapshot, &cluster, &row.policy)?;
        if stored.as_deref() != Some(&uid) {
            id.1 = format!("{}\u{1}{uid}", row.policy).into();
        }
        let index = absorb.enter_policy(id, &uid, version.modified);
        let inventory: Arc<str> = row.inventory.as_str().into();
        if let Some(policy) = absorb.world.policies.get_mut(&index) {
            policy.orphan = row.orphan;
            policy.deleted = stored.as_deref() != Some(&uid);
            policy.inventory = Some(inventory.clone());
            policy.stored_inventory = Some(inventory.clone());
        }
        let inventory = absorb.world.inventories.entry(inventory).or_default();
        inventory.policies.insert(index);
        absorb.pending.whole(index);
        by_uid.insert((cluster, uid), index);
    }
    load_revisions(absorb, &by_uid)?;
    load_assignments(absorb, &by_uid)?;
    load_rollouts(absorb, &by_uid)?;
    load_bodies(absorb)
}

/// The rollout engine's records.
fn load_rollouts(absorb: &mut Absorb<'_>, by_uid: &PolicyByUid) -> Result<(), String> {
    let mut records = rollout::Records::new();
    for (key, version) in rows_of(absorb.snapshot, "rollouts")? {
        let number = rows::rollout_number(&key).ok_or_else(|| format!("row {key} is damaged"))?;
        match by_uid.get(&(part(&key, 3), part(&key, 5))) {
            Some(index) => {
                let records = records.entry(*index).or_default();
                records.insert(number, (key, version.row));
            }
            None => absorb.pending.obsolete.push(key),
        }
    }
    rollout::load(absorb, records)
}

/// The renderer of a recipe in the body store.
fn renderer(
    absorb: &mut Absorb<'_>,
    known: &mut HashMap<Bytes, Arc<Renderer>>,
    hash: &Bytes,
) -> Result<Arc<Renderer>, String> {
    if let Some(renderer) = known.get(hash) {
        return Ok(renderer.clone());
    }
    let body = hash.as_ref().try_into().map_err(text)?;
    let key = rows::body(&body);
    let found = absorb.snapshot.get(&key).map_err(text)?;
    let row = found.ok_or_else(|| format!("row {key} is missing"))?.row;
    let recipe = Recipe::from_bytes(&row, &mut absorb.world.layers)
        .map_err(|e| format!("row {key} is damaged: {e}"))?;
    let renderer = Arc::new(Renderer::new(recipe));
    known.insert(hash.clone(), renderer.clone());
    Ok(renderer)
}

fn load_revisions(absorb: &mut Absorb<'_>, by_uid: &PolicyByUid) -> Result<(), String> {
    let mut renderers = HashMap::new();
    for (key, version) in rows_of(absorb.snapshot, "revisions")? {
        let row: RevisionRow = decode(&key, &version.row)?;
        let cluster = part(&key, 3);
        let Some(index) = by_uid.get(&(cluster.clone(), part(&key, 5))) else {
            absorb.pending.obsolete.push(key);
            continue;
        };
        let mut entries = std::collections::BTreeMap::new();
        for entry in &row.entries {
            let object = entry.object.clone().unwrap_or_default();
            let record = PayloadObject::remembered(&cluster, &object);
            let object = absorb.world.intern(&record.copy.clone(), || record);
            let vary = match entry.varies {
                true => Some(renderer(absorb, &mut renderers, &entry.body)?),
                false => None,
            };
            let content = Arc::new(Content::from_row(entry, vary));
            let flags = CopyFlags::from_bits(u8::try_from(entry.flags).unwrap_or_default());
            entries.insert(object, Entry::new(flags, content));
            if let Some(record) = absorb.world.objects.get_mut(&object) {
                record.policies.insert(*index);
            }
        }
        let cut = Cut::new(entries, row.content, row.at);
        absorb.world.ensure_places(&cut.layers());
        absorb.world.hold_bodies(&cut);
        if let Some(policy) = absorb.world.policies.get_mut(index) {
            policy.changed = policy.changed.max(version.modified);
            let state = RevisionState {
                cut: Arc::new(cut),
                assigned: Destinations::new(),
            };
            policy.revisions.insert(row.ordinal, state);
        }
    }
    Ok(())
}

fn load_assignments(absorb: &mut Absorb<'_>, by_uid: &PolicyByUid) -> Result<(), String> {
    for (key, version) in rows_of(absorb.snapshot, "assignments")? {
        let row: AssignmentRow = decode(&key, &version.row)?;
        let policy = by_uid
            .get(&(part(&key, 3), part(&key, 5)))
            .and_then(|index| absorb.world.policies.get_mut(index));
        let Some(policy) = policy else {
            absorb.pending.obsolete.push(key);
            continue;
        };
        policy.changed = policy.changed.max(version.modified);
        for assigned in row.revisions {
            let set = rows::set_from_bytes(&assigned.destinations)?;
            policy.assigned |= &set;
            let revision = policy.revisions.get_mut(&assigned.ordinal);
            revision
                .ok_or_else(|| format!("row {key} names a revision that is not there"))?
                .assigned |= set;
        }
    }
    Ok(())
}

/// Bodies that no revision names are left from a decision that was not finished.
fn load_bodies(absorb: &mut Absorb<'_>) -> Result<(), String> {
    let mut missing: std::collections::HashSet<_> = absorb.world.bodies.keys().copied().collect();
    for item in absorb.snapshot.range(&rows::family("bodies"), None) {
        let (key, _) = item.map_err(text)?;
        match rows::body_of(&key) {
            Some(hash) if missing.remove(&hash) => {}
            _ => absorb.pending.obsolete.push(key),
        }
    }
    if let Some(hash) = missing.iter().next() {
        return Err(format!(
            "{} bodies are missing, for example {}",
            missing.len(),
            rows::body(hash)
        ));
    }
    Ok(())
}

/// The uid of a policy as it is stored now; `None` when it is gone or going.
fn stored_uid(
    snapshot: &dyn Snapshot,
    cluster: &str,
    name: &str,
) -> Result<Option<String>, String> {
    let Some(version) = snapshot
        .get(&source::policies().key(cluster, None, name))
        .map_err(text)?
    else {
        return Ok(None);
    };
    let row = atoll_kube::RowRef::parse(&version.row).map_err(text)?;
    Ok((!row.is_deleting()).then(|| row.uid().to_owned()))
}

fn load_tombstones(absorb: &mut Absorb<'_>, named: &mut Destinations) -> Result<(), String> {
    for (key, version) in rows_of(absorb.snapshot, "tombstones")? {
        let row: TombstoneRow = decode(&key, &version.row)?;
        let Some(object) = row.object else { continue };
        let object = PayloadObject::remembered(&part(&key, 5), &object);
        let index = absorb.world.intern(&object.copy.clone(), || object);
        // What is placed is placed: a crash came between the tombstone and the placement without the copy.
        let placed = absorb.world.placed(index);
        let (remove, orphan) = (
            rows::set_from_bytes(&row.remove)?,
            rows::set_from_bytes(&row.orphan)?,
        );
        *named |= &remove;
        *named |= &orphan;
        let tombstone = Tombstone {
            object: index,
            inventory: part(&key, 3).into(),
            remove: (remove & &absorb.world.existing) - &placed,
            orphan: (orphan & &absorb.world.existing) - &placed,
        };
        absorb.world.tombstones.insert(tombstone);
    }
    Ok(())
}

/// What is there now.
fn load_present(absorb: &mut Absorb<'_>) -> Result<(), String> {
    for family in [
        crate::signals::resource(),
        ResourceId::builtin(source::CONTROL, "customtransforms"),
        ResourceId::builtin(source::CONTROL, "statuscollectors"),
        ResourceId::builtin("edge.atoll.dev", "customizers"),
        rollout::specs::policies(),
        rollout::specs::budgets(),
        rollout::objects::resource(),
    ] {
        for item in absorb.snapshot.range(&family.family(), None) {
            let (key, version) = item.map_err(text)?;
            absorb
                .row(&key, Some(&version.row), version.modified)
                .map_err(text)?;
        }
    }
    let mut clusters = std::collections::BTreeSet::new();
    let family = ResourceId::builtin(source::CONTROL, "bindingpolicies").family();
    for item in absorb.snapshot.range(&family, None) {
        let (key, version) = item.map_err(text)?;
        if let Some(parts) = ObjectKey::parse(&key) {
            clusters.insert(parts.cluster.to_owned());
        }
        absorb
            .row(&key, Some(&version.row), version.modified)
            .map_err(text)?;
    }
    // All policies are known: one pass over each workspace serves them all.
    absorb.pending.rescan.clear();
    for cluster in clusters {
        absorb.scan(&cluster, None).map_err(text)?;
    }
    Ok(())
}

/// Statuses of ours. Each is looked at again: what was reported last may not have been shown, and nobody may want it any more.
fn load_returned(absorb: &mut Absorb<'_>) -> Result<(), String> {
    for (key, version) in rows_of(absorb.snapshot, "returned")? {
        let row: ObjectRow = decode(&key, &version.row)?;
        if !absorb.returned(&part(&key, 5), &row).map_err(text)? {
            absorb.pending.obsolete.push(key);
        }
    }
    let ours = absorb.world.objects.iter().filter(|(_, o)| o.returned);
    absorb
        .pending
        .returned
        .extend(ours.map(|(index, _)| *index));
    Ok(())
}
