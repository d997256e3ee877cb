//! CombinedStatus: what StatusCollectors make of all copies of one object that one policy placed. Kept by [`crate::collect`]; here it is only shown.

use atoll_placement::algebra::About;
use atoll_store::Revision;
use serde_json::Value;

use super::{Item, Place, View};
use crate::feed::Change;
use crate::model::World;
use crate::shared::Shared;

pub(super) struct CombinedStatuses;

impl View for CombinedStatuses {
    fn items(&self, world: &World) -> Vec<Item> {
        let shown = world.collected.shown.keys();
        shown.map(|(o, p)| Item::Combined(*o, *p)).collect()
    }

    fn concerned(&self, _: &World, change: &Change) -> Vec<Item> {
        match change {
            Change::Combined { object, policy } => vec![Item::Combined(*object, *policy)],
            Change::Copies { .. } | Change::Policy(_) | Change::Born { .. } => Vec::new(),
        }
    }

    fn place(&self, world: &World, item: Item) -> Option<Place> {
        let Item::Combined(object, policy) = item else {
            return None;
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
        Some(Place {
            cluster: policy.cluster.to_string(),
            namespace: about.status_namespace().to_owned(),
            name: about.status_name(),
        })
    }

    fn show(&self, _: &Shared, world: &World, item: Item) -> Option<(Revision, Value)> {
        let Item::Combined(object, policy) = item else {
            return None;
        };
        let shown = world.collected.shown.get(&(object, policy))?;
        Some((shown.revision, shown.value.clone()))
    }
}
