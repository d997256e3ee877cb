//! Writing columns as a whole, chunk by chunk, so that the ring's slots are free again. Only chunks that changed are written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destinations, assign};
use atoll_store::Write;
use atoll_wire::CopyId;

use super::values::{self, Named, StoredValues, ValueHash};
use crate::decide;
use crate::model::World;
use crate::rows::{self, ColumnRow};

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

/// The rows of some chunks of columns, ready to be written.
#[derive(Default)]
pub(super) struct Chunks {
    pub(super) writes: Vec<Write>,
    /// The values that they name: these come first.
    pub(super) named: Named,
    /// What each names; `None`: it is deleted.
    pub(super) names: Vec<(ObjectIndex, u16, Option<Vec<ValueHash>>)>,
}

/// The rows of some chunks of columns.
pub(super) fn columns(world: &World, chunks: &[(ObjectIndex, u16)]) -> Chunks {
    let mut found = Chunks::default();
    for (object, chunk) in chunks {
        // One that is forgotten meanwhile is among the dropped.
        let Some(record) = world.objects.get(object) else {
            continue;
        };
        let key = rows::column(&record.copy.cluster, &record.copy.uid, *chunk);
        let column = world.columns.get(object);
        let sets = column.map(|c| c.sets_within(&assign::whole_chunk(*chunk)));
        let mut named = Named::new();
        let values = sets
            .into_iter()
            .flatten()
            .filter_map(|(id, set)| Some(values::held(world.values.get(id)?, &set, &mut named)));
        let row = ColumnRow {
            values: values.collect(),
        };
        let names = (!row.values.is_empty()).then(|| named.keys().copied().collect());
        found.writes.push(match row.values.is_empty() {
            true => Write::Delete(key, None),
            false => Write::Put(key, rows::encode(&row)),
        });
        found.names.push((*object, *chunk, names));
        found.named.extend(named);
    }
    found
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

/// Rows of columns whose objects are forgotten, and which they are.
pub(super) fn dropped(stored: &StoredValues, objects: &[(ObjectIndex, CopyId)]) -> Chunks {
    let mut found = Chunks::default();
    for (object, copy) in objects {
        for chunk in stored.chunks(*object) {
            let key = rows::column(&copy.cluster, &copy.uid, chunk);
            found.writes.push(Write::Delete(key, None));
            found.names.push((*object, chunk, None));
        }
    }
    found
}
