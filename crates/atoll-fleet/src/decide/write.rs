//! A decision as rows, in the order in which they have to be durable.

use atoll_placement::assign::{self, Assignment, Ordinal};
use atoll_store::{MAX_WRITES, Write};
use bytes::Bytes;

use super::Decision;
use crate::model::{Cut, PolicyIndex, PolicyState, Tombstone, World};
use crate::rows::{
    self, AssignedRow, AssignmentRow, EntryRow, PlacementRow, RevisionRow, TombstoneRow,
};

/// How many bytes of bodies go into one append at least before another is begun.
const APPEND_BYTES: usize = 4 << 20;

/// Appends, one after the other.
pub(super) fn batches(world: &World, index: PolicyIndex, decision: &Decision) -> Vec<Vec<Write>> {
    let Some(policy) = world.policies.get(&index) else {
        return Vec::new();
    };
    let mut batches = Vec::new();
    let bodies = decision.bodies.iter();
    batches.extend(fit(bodies
        .map(|(hash, body)| Write::Put(rows::body(hash), body.clone()))
        .collect()));
    let tombstones = decision.tombstones.iter();
    batches.extend(fit(tombstones
        .filter_map(|t| tombstone_write(world, t))
        .collect()));
    batches.extend(fit(placement(world, policy, decision)));
    batches
}

/// Parts writes so that each part fits one append.
pub(crate) fn fit(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for write in writes {
        bytes += match &write {
            Write::Put(_, row) => row.len(),
            Write::Delete(..) => 0,
        };
        part.push(write);
        if part.len() == MAX_WRITES || bytes >= APPEND_BYTES {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn placement(world: &World, policy: &PolicyState, decision: &Decision) -> Vec<Write> {
    let (cluster, uid) = (&*policy.cluster, &*policy.uid);
    let concerned = decision.concerned();
    let mut writes = Vec::new();
    let row = Write::Put(
        rows::placement(cluster, uid),
        rows::encode(&PlacementRow {
            policy: policy.name.to_string(),
            inventory: policy.inventory.as_deref().unwrap_or_default().to_owned(),
            orphan: decision.orphan,
        }),
    );
    if !decision.last
        && (!decision.cuts.is_empty()
            || policy.stored_inventory != policy.inventory
            || decision.orphan != policy.orphan)
    {
        writes.push(row);
    }
    for (ordinal, cut) in &decision.cuts {
        let row = revision_row(world, *ordinal, cut);
        writes.push(Write::Put(
            rows::revision(cluster, uid, *ordinal),
            rows::encode(&row),
        ));
    }
    if let Some(record) = &decision.control {
        // Behind the revisions that it names.
        let row = record.row.iter();
        writes.extend(
            row.map(|(n, bytes)| Write::Put(rows::rollout(cluster, uid, *n), bytes.clone())),
        );
        let obsolete = record.obsolete.clone();
        writes.extend(obsolete.map(|n| Write::Delete(rows::rollout(cluster, uid, n), None)));
        if record.entered {
            let chunks = assign::chunks(&policy.assigned).into_iter();
            writes.extend(chunks.map(|c| Write::Delete(rows::assignment(cluster, uid, c), None)));
        }
    }
    let chunks = match decision.control {
        Some(_) => Vec::new(),
        None => assign::chunks(&concerned),
    };
    for chunk in chunks {
        let revisions: Vec<AssignedRow> = assigned_in(policy, decision, chunk)
            .into_iter()
            .map(|(ordinal, set)| AssignedRow {
                ordinal,
                destinations: rows::set_to_bytes(&set),
            })
            .collect();
        let key = rows::assignment(cluster, uid, chunk);
        writes.push(if revisions.is_empty() {
            Write::Delete(key, None)
        } else {
            Write::Put(key, rows::encode(&AssignmentRow { revisions }))
        });
    }
    let forget = decision.forget.iter();
    writes.extend(forget.map(|o| Write::Delete(rows::revision(cluster, uid, *o), None)));
    if decision.last {
        // Last: while it is there, a start finds the rest.
        writes.push(Write::Delete(rows::placement(cluster, uid), None));
    }
    writes
}

/// Who has what in one chunk when the decision is carried out. None is empty.
fn assigned_in(policy: &PolicyState, decision: &Decision, chunk: u16) -> Assignment {
    let mut sets: Assignment = policy
        .in_use()
        .map(|(ordinal, r)| (ordinal, assign::in_chunk(&r.assigned, chunk)))
        .collect();
    for transition in &decision.transitions {
        let moved = assign::in_chunk(&transition.destinations, chunk);
        if let Some(set) = transition.from.and_then(|from| sets.get_mut(&from)) {
            *set -= &moved;
        }
        if let Some(to) = transition.to {
            *sets.entry(to).or_default() |= moved;
        }
    }
    for set in sets.values_mut() {
        *set -= &decision.gone;
    }
    sets.retain(|_, set| !set.is_empty());
    sets
}

fn revision_row(world: &World, ordinal: Ordinal, cut: &Cut) -> RevisionRow {
    let entries = cut.entries.iter().filter_map(|(object, entry)| {
        let content = &entry.content;
        Some(EntryRow {
            object: Some(world.objects.get(object)?.to_row()),
            flags: u32::from(entry.flags.bits()),
            body: Bytes::copy_from_slice(&content.body),
            size: content.size,
            replace: content.replace,
            edge_owned: content.edge_owned.clone(),
            initial_only: content.initial_only.clone(),
            health_input: content.health_input.to_string(),
            written: content.written.0,
            varies: content.vary.is_some(),
        })
    });
    RevisionRow {
        ordinal,
        content: cut.content.clone(),
        at: cut.at,
        entries: entries.collect(),
    }
}

/// The row of a tombstone; its key is deleted when it is empty.
pub(crate) fn tombstone_write(world: &World, tombstone: &Tombstone) -> Option<Write> {
    let object = world.objects.get(&tombstone.object)?;
    let key = rows::tombstone(&tombstone.inventory, &object.copy.cluster, &object.copy.uid);
    if tombstone.remove.is_empty() && tombstone.orphan.is_empty() {
        return Some(Write::Delete(key, None));
    }
    let row = TombstoneRow {
        object: Some(object.to_row()),
        remove: rows::set_to_bytes(&tombstone.remove),
        orphan: rows::set_to_bytes(&tombstone.orphan),
    };
    Some(Write::Put(key, rows::encode(&row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_an_append() {
        let delete = |i: u32| Write::Delete(rows::body(&[i as u8; 32]), None);
        let parts = fit((0..150).map(delete).collect());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
        let big = |i: u8| Write::Put(rows::body(&[i; 32]), vec![0; 3 << 20].into());
        let parts = fit((0..4).map(big).collect());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    }
}
