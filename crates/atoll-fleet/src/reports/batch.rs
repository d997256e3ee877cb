//! What a batch of reports comes to: the last word on each copy, where it is news, grouped by object and value.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atoll_placement::bundle::RenderHash;
use atoll_placement::columns::Reported;
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};
use bytes::Bytes;

use super::values::{self, Named};
use crate::model::World;
use crate::rows::{self, ObjectReportsRow};

/// One copy's news.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) destination: Destination,
    pub(crate) object: ObjectIndex,
    /// `None`: the copy is gone.
    pub(crate) value: Option<Arc<Reported>>,
    /// The render as it was reported.
    pub(crate) render: RenderHash,
    /// [`World::looks`] when it was compared with what the destination should have.
    pub(crate) looks: u64,
    /// The status as it came, for an object that shows it. It is shown when what is kept of it is durable, never before.
    pub(crate) raw: Option<Bytes>,
}

/// One object's news: values (`None`: the copies are gone) and where. No set is empty, and none meets another.
pub(super) type News = Vec<(Option<Arc<Reported>>, Destinations)>;

/// What changes come to. Those of which nothing is known any more are left out.
pub(super) fn news<'a>(
    world: &World,
    changes: impl Iterator<Item = &'a Change>,
) -> BTreeMap<ObjectIndex, News> {
    let mut last: Vec<&Change> = changes.collect();
    // Stable: of several words on one copy the last one stays last.
    last.sort_by_key(|change| (change.object, change.destination));
    let mut found: BTreeMap<ObjectIndex, News> = BTreeMap::new();
    let mut places: HashMap<(ObjectIndex, Option<Arc<Reported>>), usize> = HashMap::new();
    for (at, change) in last.iter().enumerate() {
        let copy = (change.object, change.destination);
        if last
            .get(at + 1)
            .is_some_and(|next| (next.object, next.destination) == copy)
        {
            continue;
        }
        let value = current(world, change);
        if !is_news(world, change, value.as_deref()) {
            continue;
        }
        let news = found.entry(change.object).or_default();
        let place = places.entry((change.object, value));
        let place = *place.or_insert_with_key(|(_, value)| {
            news.push((value.clone(), Destinations::new()));
            news.len() - 1
        });
        news[place].1.insert(change.destination.0);
    }
    found
}

/// What a change says, given what is known of its destination now.
fn current(world: &World, change: &Change) -> Option<Arc<Reported>> {
    let value = change.value.clone()?;
    if change.looks == world.looks || !world.varying.contains(&change.object) {
        return Some(value);
    }
    let wanted = world.desired_copy(change.destination, change.object);
    let seen = world.see(
        change.destination,
        change.object,
        wanted.as_ref(),
        change.render,
    );
    match value.seen == seen {
        true => Some(value),
        false => Some(Arc::new(Reported {
            seen,
            ..value.as_ref().clone()
        })),
    }
}

fn is_news(world: &World, change: &Change, value: Option<&Reported>) -> bool {
    if !world.objects.contains_key(&change.object)
        || !world.destinations.contains_key(&change.destination)
    {
        return false;
    }
    let held = world.reported_at(change.object, change.destination);
    match value {
        Some(value) => held.map(Arc::as_ref) != Some(value),
        None => {
            let tombstone = world.tombstones.get(&change.object);
            let waiting = tombstone.is_some_and(|t| t.concerns(change.destination));
            held.is_some() || waiting
        }
    }
}

/// One object's part of a row; the values that it names are added to `named`.
pub(super) fn row(
    world: &World,
    object: ObjectIndex,
    news: &News,
    named: &mut Named,
) -> Option<ObjectReportsRow> {
    let copy = &world.objects.get(&object)?.copy;
    let mut row = ObjectReportsRow {
        cluster: copy.cluster.clone(),
        uid: copy.uid.clone(),
        ..ObjectReportsRow::default()
    };
    for (value, set) in news {
        match value {
            Some(value) => row.values.push(values::held(value, set, named)),
            None => row.gone = rows::set_to_bytes(set),
        }
    }
    Some(row)
}

/// What is held of some copies, as news.
pub(super) fn held(world: &World, object: ObjectIndex, destinations: &Destinations) -> News {
    let column = world.columns.get(&object).into_iter();
    let sets = column.flat_map(|column| column.sets_within(destinations));
    sets.map(|(id, set)| (world.values.get(id).cloned(), set))
        .filter(|(value, _)| value.is_some())
        .collect()
}
