//! Writing columns as a whole, chunk by chunk, so that the ring's slots are free again. Only chunks that changed are written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destinations, assign};
use atoll_store::Write;
use atoll_wire::CopyId;

use crate::decide;
use crate::model::World;
use crate::rows::{self, ColumnRow, ValueRow};

/// What is newer than its rows.
#[derive(Debug, Default)]
pub(crate) struct Unfolded {
    /// Chunks of columns.
    pub(crate) columns: BTreeSet<(ObjectIndex, u16)>,
    /// Tombstones that somebody confirmed: their inventory, and whom they are about, should they be gone when it is time.
    pub(crate) confirmed: BTreeMap<ObjectIndex, (CopyId, Arc<str>)>,
}

impl Unfolded {
    /// Copies of an object changed.
    pub(crate) fn note(&mut self, object: ObjectIndex, destinations: &Destinations) {
        let chunks = assign::chunks(destinations).into_iter();
        self.columns.extend(chunks.map(|chunk| (object, chunk)));
    }

    /// What could not be written is written another time.
    pub(super) fn again(&mut self, other: Unfolded) {
        self.columns.extend(other.columns);
        self.confirmed.extend(other.confirmed);
    }
}

/// Which chunks of which columns have rows.
pub(crate) type Stored = HashMap<ObjectIndex, BTreeSet<u16>>;

/// The rows of some chunks of columns.
pub(super) fn columns(
    world: &World,
    stored: &mut Stored,
    chunks: &[(ObjectIndex, u16)],
) -> Vec<Write> {
    let write = |(object, chunk): &(ObjectIndex, u16)| {
        // One that is forgotten meanwhile is among the dropped.
        let copy = &world.objects.get(object)?.copy;
        let key = rows::column(&copy.cluster, &copy.uid, *chunk);
        let column = world.columns.get(object);
        let sets = column.map(|c| c.sets_within(&assign::whole_chunk(*chunk)));
        let values = sets.into_iter().flatten().filter_map(|(id, set)| {
            let value = world.values.get(id)?;
            Some(ValueRow::of(value, &set))
        });
        let values: Vec<ValueRow> = values.collect();
        let rows = stored.entry(*object).or_default();
        if values.is_empty() {
            rows.remove(chunk);
            return Some(Write::Delete(key, None));
        }
        rows.insert(*chunk);
        Some(Write::Put(key, rows::encode(&ColumnRow { values })))
    };
    chunks.iter().filter_map(write).collect()
}

/// The rows of tombstones.
pub(super) fn tombstones(
    world: &World,
    confirmed: &BTreeMap<ObjectIndex, (CopyId, Arc<str>)>,
) -> Vec<Write> {
    let write = |(object, (copy, inventory)): (&ObjectIndex, &(CopyId, Arc<str>))| match world
        .tombstones
        .get(object)
    {
        Some(tombstone) => decide::tombstone_write(world, tombstone),
        None => {
            let key = rows::tombstone(inventory, &copy.cluster, &copy.uid);
            Some(Write::Delete(key, None))
        }
    };
    confirmed.iter().filter_map(write).collect()
}

/// Rows of columns whose objects are forgotten.
pub(super) fn dropped(stored: &mut Stored, objects: &[(ObjectIndex, CopyId)]) -> Vec<Write> {
    let mut writes = Vec::new();
    for (object, copy) in objects {
        for chunk in stored.remove(object).unwrap_or_default() {
            let key = rows::column(&copy.cluster, &copy.uid, chunk);
            writes.push(Write::Delete(key, None));
        }
    }
    writes
}
