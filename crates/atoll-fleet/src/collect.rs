//! StatusCollectors at work: the board learns what policies place, and CombinedStatus objects follow what copies report.
//!
//! Coalesced: what changes is shown a quarter of a second later, once. The board works in slices, so that no expression holds the picture for long. After a start nothing is shown before all
//! of it was counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use atoll_placement::Destinations;
use atoll_placement::algebra::collector::Collector;
use atoll_placement::algebra::{About, Coverage, Entry, Subject, combined_status};
use atoll_placement::assign::Ordinal;
use atoll_placement::place::ObjectIndex;
use atoll_registry::{ObjectKey, Registry};
use atoll_store::{At, Snapshot};
use serde_json::Value;

use crate::model::{CollectorId, PayloadObject, PolicyIndex, PolicyState, Shown, World};
use crate::shared::Shared;
use crate::source;

/// Changes are gathered for so long.
const SETTLE: Duration = Duration::from_millis(250);
/// How much the board does while it holds the picture.
const STEPS: u64 = 2_000;
/// CombinedStatus objects that are made while the picture is held.
const AT_ONCE: usize = 20;

/// A StatusCollector is new, edited, or (`None`) gone.
pub(crate) fn set_collector(world: &mut World, id: CollectorId, spec: Option<&Value>) {
    let parsed = match spec.map(Collector::parse) {
        Some(Ok(collector)) => Some(Arc::new(collector)),
        Some(Err(errors)) => {
            tracing::warn!(cluster = %id.0, name = %id.1, ?errors, "a StatusCollector is not understood; the last good one stays");
            return;
        }
        None => None,
    };
    world.collected.board.set_collector(id, parsed);
    world.collected.keep_anew();
}

/// Tells the board what policies place by now, and of what.
pub(crate) fn sync(shared: &Shared) {
    {
        let world = &mut *shared.world.write();
        let (collected, policies) = (&mut world.collected, &world.policies);
        if collected.is_idle() {
            return;
        }
        let named = |index: &PolicyIndex| policies.get(index).is_some_and(names_collectors);
        let looked_at: BTreeSet<u32> = collected.board.entries().map(|(_, p)| p).collect();
        let concerned = |index: &PolicyIndex| looked_at.contains(&index.0) || named(index);
        collected.policies.retain(concerned);
        // A collector, or labels, may have changed.
        shared.collecting.notify_one();
        if collected.policies.is_empty() {
            return;
        }
    }
    let Ok(snapshot) = shared.store.snapshot(At::Latest) else {
        return;
    };
    let world = &mut *shared.world.write();
    for index in std::mem::take(&mut world.collected.policies) {
        sync_policy(&shared.registry, snapshot.as_ref(), world, index);
    }
    world.collected.keep_anew();
    shared.collecting.notify_one();
}

fn names_collectors(policy: &PolicyState) -> bool {
    policy.selected.values().any(|m| !m.collectors.is_empty())
}

fn sync_policy(
    registry: &Registry,
    snapshot: &dyn Snapshot,
    world: &mut World,
    index: PolicyIndex,
) {
    let before: BTreeSet<ObjectIndex> = world
        .collected
        .board
        .entries()
        .filter(|(_, policy)| *policy == index.0)
        .map(|(object, _)| object)
        .collect();
    let mut found: BTreeMap<ObjectIndex, Entry<CollectorId>> = BTreeMap::new();
    let mut subjects = Vec::new();
    if let Some(policy) = world.policies.get(&index).filter(|p| !p.deleted) {
        let mut members: BTreeMap<Vec<Ordinal>, Arc<Destinations>> = BTreeMap::new();
        for (object, modulation) in &policy.selected {
            let record = world.objects.get(object);
            let Some(record) = record.filter(|_| !modulation.collectors.is_empty()) else {
                continue;
            };
            let held = world.collected.subjects.get(object);
            let held = held.filter(|(at, _)| *at == record.revision);
            let read = || subject(registry, snapshot, record);
            let Some(subject) = held.map(|(_, s)| s.clone()).or_else(read) else {
                continue;
            };
            subjects.push((*object, (record.revision, subject.clone())));
            let names = modulation.collectors.iter();
            let entry = Entry {
                subject,
                members: placed(policy, *object, &mut members),
                collectors: names
                    .map(|name| (policy.cluster.clone(), Arc::from(name.as_str())))
                    .collect(),
            };
            found.insert(*object, entry);
        }
    }
    world.collected.subjects.extend(subjects);
    world.with_board(|board, view, _| {
        for object in &before {
            if !found.contains_key(object) {
                board.set_entry(view, *object, index.0, None);
            }
        }
        for (object, entry) in found {
            board.set_entry(view, object, index.0, Some(entry));
        }
    });
}

/// Who has an object of a policy. Objects that are in the same revisions share the set.
fn placed(
    policy: &PolicyState,
    object: ObjectIndex,
    known: &mut BTreeMap<Vec<Ordinal>, Arc<Destinations>>,
) -> Arc<Destinations> {
    let has = policy.in_use();
    let has = has.filter(|(_, revision)| revision.cut.objects.contains(&object));
    let ordinals = has.map(|(ordinal, _)| ordinal).collect();
    let members = known.entry(ordinals);
    let members = members.or_insert_with(|| Arc::new(policy.placed(object)));
    members.clone()
}

/// An object as expressions see it; `None` when it cannot be read just now.
fn subject(
    registry: &Registry,
    snapshot: &dyn Snapshot,
    record: &PayloadObject,
) -> Option<Subject> {
    let parts = ObjectKey::parse(&record.key)?;
    let version = snapshot.get(&record.key).ok()??;
    let kind = source::kind_of(registry, &parts)?;
    let value = source::value_of(&version.row, parts.group, &kind).ok()?;
    (atoll_kube::meta::uid(&value) == record.copy.uid).then(|| Subject::new(value))
}

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        show(&shared).await;
        shared.counted.send_replace(true);
        shared.collecting.notified().await;
        tokio::time::sleep(SETTLE).await;
    }
}

/// Brings what is shown up to date.
async fn show(shared: &Shared) {
    if shared.world.read().collected.is_idle() {
        return;
    }
    while work(shared) {
        tokio::task::yield_now().await;
    }
    let away = shared.world.read().away();
    let dirty = dirty(shared);
    for part in dirty.chunks(AT_ONCE) {
        publish_all(shared, part, &away);
        tokio::task::yield_now().await;
    }
}

/// Counts some of what is pending. True: there is more.
fn work(shared: &Shared) -> bool {
    let mut world = shared.world.write();
    world.with_board(|board, view, _| board.work(view, STEPS))
}

/// What may be shown differently now.
fn dirty(shared: &Shared) -> Vec<(ObjectIndex, u32)> {
    let stale = shared.stale.now();
    let mut world = shared.world.write();
    world.with_board(|board, view, world| {
        let entries: Vec<_> = board.entries().collect();
        for (object, policy) in entries {
            if stale.contains(&PolicyIndex(policy)) {
                board.mark(object, policy);
            }
        }
        let shown = world.collected.shown.keys().map(|(o, p)| (*o, p.0));
        let gone = shown.filter(|(object, policy)| board.members(*object, *policy).is_none());
        let gone: Vec<_> = gone.collect();
        let mut dirty = board.take_dirty(view);
        dirty.extend(gone);
        dirty.into_iter().collect()
    })
}

fn publish_all(shared: &Shared, keys: &[(ObjectIndex, u32)], away: &Destinations) {
    let mut world = shared.world.write();
    for (object, policy) in keys {
        publish(shared, &mut world, *object, PolicyIndex(*policy), away);
    }
}

/// Shows an object under a policy as the board has it now.
fn publish(
    shared: &Shared,
    world: &mut World,
    object: ObjectIndex,
    policy: PolicyIndex,
    away: &Destinations,
) {
    let made = world.with_board(|board, view, world| {
        let tables = board.tables(view, object, policy.0)?;
        let missing = board.missing(object, policy.0).into_iter();
        let missing: Vec<Arc<str>> = missing.map(|(_, name)| name.clone()).collect();
        let members = board.members(object, policy.0)?;
        let column = world.columns.get(&object);
        let coverage = Coverage {
            expected: members.len(),
            reported: column.map_or(0, |column| column.count_within(members)),
            stale: members.intersection_len(away),
        };
        let (record, policy) = (world.objects.get(&object)?, world.policies.get(&policy)?);
        let reference = &record.reference;
        let about = About {
            uid: &record.copy.uid,
            group: &reference.group,
            resource: &reference.resource,
            namespace: reference.namespaced.then_some(&*reference.namespace),
            name: &reference.name,
            policy: &policy.name,
            policy_uid: &policy.uid,
        };
        let tables = tables.iter().map(|((_, name), table)| (&**name, table));
        let mut value = combined_status(&about, coverage, tables);
        value["metadata"]["creationTimestamp"] = policy.created.clone();
        Some((value, missing))
    });
    let key = (object, policy);
    let revision = world.applied;
    let shown = &mut world.collected.shown;
    let Some((value, missing)) = made else {
        if shown.remove(&key).is_some() {
            shared.feed.combined(object, policy, revision);
        }
        return;
    };
    let held = shown.get(&key);
    if held.map_or(&[][..], |held| &held.missing) != missing.as_slice() {
        shared.policy_status.add(policy);
    }
    if held.is_some_and(|held| held.value == value && held.missing == missing) {
        return;
    }
    let new = Shown {
        value,
        revision,
        missing,
    };
    shown.insert(key, new);
    shared.feed.combined(object, policy, revision);
}
