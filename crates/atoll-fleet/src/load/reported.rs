//! Reported state at start: columns, batches that are not folded yet, and what has changed about destinations since.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use atoll_kube::meta;
use atoll_placement::columns::{Reported, Seen, UNKNOWN};
use atoll_placement::inventory::Labels;
use atoll_placement::render::{Given, properties};
use atoll_placement::{Destination, Destinations};
use atoll_registry::ResourceId;
use atoll_store::{At, Key, Prefix, Revision, Snapshot, Store};
use atoll_wire::CopyId;

use super::{decode, rows_of, text};
use crate::absorb::Absorb;
use crate::model::World;
use crate::reports::{StoredValues, Unfolded, ValueHash};
use crate::rows::{self, ColumnRow, FoldedRow, HeldRow, ReportRow, ValueRow};
use crate::source;

/// Where the reporter goes on.
#[derive(Debug, Default)]
pub(crate) struct ReportPosition {
    /// The last batch that was written.
    pub(crate) last: u64,
    /// The last one that is in the columns.
    pub(crate) folded: u64,
    /// What was known of destinations up to here is behind what the rows say.
    pub(crate) known: Revision,
    pub(crate) unfolded: Unfolded,
    pub(crate) stored: StoredValues,
}

pub(super) fn load(
    absorb: &mut Absorb<'_>,
    named: &mut Destinations,
) -> Result<ReportPosition, String> {
    let mut position = ReportPosition::default();
    let mut values = load_values(absorb.snapshot)?;
    load_columns(absorb, named, &mut position, &mut values)?;
    let snapshot = absorb.snapshot;
    if let Some(version) = snapshot.get(&rows::folded()).map_err(text)? {
        let row: FoldedRow = decode(&rows::folded(), &version.row)?;
        position.folded = row.sequence;
        position.known = Revision(row.known);
    }
    position.last = position.folded;
    let mut batches = Vec::new();
    for (key, version) in rows_of(snapshot, "reports")? {
        let row: ReportRow = decode(&key, &version.row)?;
        if row.sequence > position.folded {
            batches.push(row);
        }
    }
    batches.sort_by_key(|row| row.sequence);
    for batch in batches {
        position.last = position.last.max(batch.sequence);
        position.known = position.known.max(Revision(batch.known));
        let hashes = batch.objects.iter().flat_map(|o| names(&o.values));
        position.stored.batch(batch.sequence, hashes.collect());
        replay(
            absorb.world,
            batch,
            named,
            &mut position.unfolded,
            &mut values,
        )?;
    }
    for (hash, (_, used)) in values {
        match used {
            true => position.stored.wrote(hash),
            // Left from a batch or a fold that was not finished.
            false => absorb.pending.obsolete.push(rows::value(&hash)),
        }
    }
    Ok(position)
}

/// Values that have rows, and whether some other row names them.
type ValuesByHash = HashMap<ValueHash, (Arc<Reported>, bool)>;

fn load_values(snapshot: &dyn Snapshot) -> Result<ValuesByHash, String> {
    let mut found = ValuesByHash::new();
    for (key, version) in rows_of(snapshot, "values")? {
        let row: ValueRow = decode(&key, &version.row)?;
        let hash = rows::value_of(&key).ok_or_else(|| format!("row {key} is misnamed"))?;
        found.insert(hash, (Arc::new(row.value()), false));
    }
    Ok(found)
}

/// The values that rows name.
fn names(rows: &[HeldRow]) -> BTreeSet<ValueHash> {
    let hashes = rows.iter().map(|row| row.hash.as_ref().try_into().ok());
    hashes.flatten().collect()
}

fn value_of(row: &HeldRow, values: &mut ValuesByHash) -> Result<Arc<Reported>, String> {
    if let Some(value) = &row.value {
        return Ok(Arc::new(value.value()));
    }
    let hash: Result<ValueHash, _> = row.hash.as_ref().try_into();
    let found = hash.ok().and_then(|hash| values.get_mut(&hash));
    let (value, used) = found.ok_or("a value is missing that a row names")?;
    *used = true;
    Ok(value.clone())
}

fn load_columns(
    absorb: &mut Absorb<'_>,
    named: &mut Destinations,
    position: &mut ReportPosition,
    values: &mut ValuesByHash,
) -> Result<(), String> {
    let world = &mut *absorb.world;
    for item in absorb.snapshot.range(&rows::family("columns"), None) {
        let (key, version) = item.map_err(text)?;
        let known =
            rows::column_of(&key).and_then(|(c, chunk)| Some((*world.by_copy.get(&c)?, chunk)));
        let Some((object, chunk)) = known else {
            absorb.pending.obsolete.push(key);
            continue;
        };
        let row: ColumnRow = decode(&key, &version.row)?;
        let hashes = names(&row.values).into_iter().collect();
        position.stored.column(object, chunk, Some(hashes));
        let column = world.columns.entry(object).or_default();
        for value in &row.values {
            let set = rows::set_from_bytes(&value.destinations)?;
            *named |= &set;
            let set = set & &world.existing;
            column.fill(&mut world.values, &value_of(value, values)?, &set);
        }
    }
    Ok(())
}

fn replay(
    world: &mut World,
    batch: ReportRow,
    named: &mut Destinations,
    unfolded: &mut Unfolded,
    values: &mut ValuesByHash,
) -> Result<(), String> {
    for row in &batch.objects {
        let copy = CopyId {
            cluster: row.cluster.clone(),
            uid: row.uid.clone(),
        };
        let object = world.by_copy.get(&copy).copied();
        let gone = (None, rows::set_from_bytes(&row.gone)?);
        let mut news = vec![gone];
        for value in &row.values {
            let set = rows::set_from_bytes(&value.destinations)?;
            news.push((Some(value_of(value, values)?), set));
        }
        for (value, set) in news {
            *named |= &set;
            let Some(object) = object else { continue };
            unfolded.note(object, &set);
            if value.is_none()
                && let Some(tombstone) = world.tombstones.get(&object).filter(|_| !set.is_empty())
            {
                let inventory = tombstone.inventory.clone();
                unfolded.confirmed.insert(object, (copy.clone(), inventory));
            }
            world.enter_reports(object, value.as_ref(), &set);
        }
    }
    Ok(())
}

/// Destinations that changed after what is behind the columns: what they reported of copies that are their own is compared with what they look like now.
pub(super) fn look_again(
    absorb: &mut Absorb<'_>,
    store: &dyn Store,
    position: &ReportPosition,
    written: &[(Destination, Revision)],
) -> Result<(), String> {
    let world = &mut *absorb.world;
    let (mut own, mut exceptions) = (Destinations::new(), BTreeSet::new());
    for object in &world.varying {
        let column = world.columns.get(object).into_iter();
        for (id, set) in column.flat_map(|column| column.sets()) {
            match world.values.get(id).map(|value| value.seen) {
                Some(Seen::Version(_)) => own |= set,
                Some(Seen::Other(UNKNOWN)) => world.doubted |= set,
                Some(Seen::Other(_)) => drop(exceptions.insert(*object)),
                _ => {}
            }
        }
    }
    let late = written.iter().filter(|(_, at)| *at > position.known);
    let mut late: BTreeSet<Destination> = late.map(|(d, _)| *d).collect();
    let before = store.snapshot(At::Exact(position.known)).ok();
    if let Some(before) = &before {
        late.extend(without_config(absorb, before.as_ref())?);
    }
    late.retain(|destination| own.contains(destination.0));
    for destination in late {
        if !looks_as_before(absorb, before.as_deref(), destination)? {
            absorb.world.doubt(destination);
        }
    }
    for object in exceptions {
        absorb.world.see_exceptions(object);
    }
    let varying = absorb.world.varying.clone();
    absorb.world.unchecked = varying;
    Ok(())
}

/// Destinations whose ConfigMaps were there, and are not any more.
fn without_config(absorb: &Absorb<'_>, before: &dyn Snapshot) -> Result<Vec<Destination>, String> {
    let mut found = Vec::new();
    for inventory in absorb.world.inventories.keys() {
        for (key, _) in config_maps(before, inventory)? {
            if absorb.snapshot.get(&key).map_err(text)?.is_none() {
                let name = super::part(&key, 5);
                found.extend(absorb.world.destination(inventory, &name));
            }
        }
    }
    Ok(found)
}

/// The ConfigMaps that give an inventory's destinations properties, with when they were written.
pub(super) fn config_maps(
    snapshot: &dyn Snapshot,
    inventory: &str,
) -> Result<Vec<(Key, Revision)>, String> {
    let id = ResourceId::builtin("", "configmaps");
    let key = id.key(inventory, Some(properties::NAMESPACE), "");
    let part = |n: usize| key.component(n).unwrap_or_default();
    let prefix = Prefix::new([part(0), part(1), part(2), part(3), part(4)]);
    let rows = snapshot.range(&prefix, None);
    rows.map(|item| {
        item.map(|(key, version)| (key, version.modified))
            .map_err(text)
    })
    .collect()
}

fn looks_as_before(
    absorb: &Absorb<'_>,
    before: Option<&dyn Snapshot>,
    destination: Destination,
) -> Result<bool, String> {
    let Some((before, state)) = before.zip(absorb.world.destinations.get(&destination)) else {
        return Ok(false);
    };
    let key = source::managed_clusters().key(&state.inventory, None, &state.name);
    let Some(version) = before.get(&key).map_err(text)? else {
        return Ok(false);
    };
    let value = source::control_value(
        &version.row,
        "cluster.open-cluster-management.io/v1",
        "ManagedCluster",
    )
    .map_err(text)?;
    let config = source::config_of(before, &state.inventory, &state.name).map_err(text)?;
    let labels: Labels = meta::labels(&value)
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let given = Given::of(&value, config.as_ref());
    let world = &absorb.world;
    Ok(world.is_known_as(&state.inventory, destination, &labels, &given))
}

impl World {
    /// Enters what is durable already, counting nothing.
    fn enter_reports(
        &mut self,
        object: atoll_placement::place::ObjectIndex,
        value: Option<&Arc<Reported>>,
        destinations: &Destinations,
    ) {
        let column = self.columns.entry(object).or_default();
        for destination in destinations {
            if value.is_none() {
                self.tombstones.confirm(object, Destination(destination));
            }
            if value.is_none() || self.existing.contains(destination) {
                column.set(&mut self.values, Destination(destination), value);
            }
        }
    }
}
