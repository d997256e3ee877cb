//! WorkStatus: one copy's reported status, in the inventory, in a namespace named as the destination.

use atoll_kube::Status;
use atoll_placement::Destination;
use atoll_placement::place::ObjectIndex;
use atoll_placement::summary::Standing;
use atoll_registry::Object;
use atoll_store::Revision;
use serde_json::{Value, json};

use super::{Item, Place, Shelf, View};
use crate::feed::Change;
use crate::model::World;
use crate::shared::Shared;

pub(super) struct WorkStatuses;

impl View for WorkStatuses {
    fn items(&self, world: &World) -> Vec<Item> {
        let mut found = Vec::new();
        for object in world.objects.keys() {
            found.extend(
                world
                    .placed(*object)
                    .iter()
                    .map(|d| Item::Copy(*object, Destination(d))),
            );
        }
        found
    }

    fn concerned(&self, _: &World, change: &Change) -> Vec<Item> {
        match change {
            Change::Copies {
                object,
                destinations,
            } => destinations
                .iter()
                .map(|d| Item::Copy(*object, Destination(d)))
                .collect(),
            Change::Policy(_) | Change::Combined { .. } | Change::Born { .. } => Vec::new(),
        }
    }

    fn place(&self, world: &World, item: Item) -> Option<Place> {
        let Item::Copy(index, destination) = item else {
            return None;
        };
        let state = world.destinations.get(&destination)?;
        let r = &world.objects.get(&index)?.reference;
        let kind = r.kind.to_ascii_lowercase();
        let name = if r.namespaced {
            format!("{}{}-{kind}-{}-{}", r.group, r.version, r.namespace, r.name)
        } else {
            format!("{}{}-{kind}-{}", r.group, r.version, r.name)
        };
        Some(Place {
            cluster: state.inventory.to_string(),
            namespace: state.name.to_string(),
            name,
        })
    }

    fn show(&self, _: &Shared, world: &World, item: Item) -> Option<(Revision, Value)> {
        let Item::Copy(index, destination) = item else {
            return None;
        };
        let wanted = world.desired_copy(destination, index)?;
        let object = world.objects.get(&index)?;
        let reported = world.reported_at(index, destination);
        let standing = wanted.judge(reported.map(|reported| reported.as_ref()));
        let current = standing > Standing::Failed;
        let status: Value = reported
            .and_then(|v| serde_json::from_str(&v.status).ok())
            .unwrap_or_else(|| json!({}));
        let r = &object.reference;
        let mut source = json!({"group": r.group, "version": r.version, "resource": r.resource, "kind": r.kind, "name": r.name});
        if r.namespaced {
            source["namespace"] = json!(r.namespace);
        }
        let value = json!({
            "metadata": {"creationTimestamp": object.created},
            "spec": {"sourceRef": source},
            "status": if status.is_object() { status } else { json!({}) },
            "statusDetails": {"lastGenerationIsApplied": current},
        });
        let revision = object
            .revision
            .max(world.reported.get(&index).copied().unwrap_or_default());
        Some((revision, value))
    }
}

/// The status as it is at the edge now, times and addresses included, when the edge can be asked; else what it reported.
pub(super) async fn freshen(
    shelf: &Shelf,
    object: Object,
    index: ObjectIndex,
    destination: Destination,
) -> Result<Object, Status> {
    let copy = {
        let world = shelf.shared.world.read();
        let Some(record) = world
            .objects
            .get(&index)
            .filter(|_| world.connected.contains(destination.0))
        else {
            return Ok(object);
        };
        record.copy.clone()
    };
    let Some(answer) = shelf
        .shared
        .sessions
        .fetch(destination, copy)
        .await
        .filter(|a| a.found)
    else {
        return Ok(object);
    };
    let Ok(status) = serde_json::from_slice::<Value>(&answer.status) else {
        return Ok(object);
    };
    let mut value = object.value()?;
    value["status"] = status;
    Ok(Object::computed(
        object.key.clone(),
        object.revision,
        object.served.clone(),
        &value,
    ))
}
