//! The status of payload objects: what their copies report, by `wantSingletonReportedState` and `wantMultiWECReportedState`.
//!
//! Writing it makes no revision (cleaning drops `.status`), and never claims more than every qualified destination has reported.

use std::sync::Arc;
use std::time::Duration;

use atoll_kube::Status;
use atoll_placement::combine::{self, Show};
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};
use atoll_registry::{ClusterName, ResourceRef};
use serde_json::{Value, json};

use crate::model::World;
use crate::shared::Shared;

/// Changes are gathered for so long.
const SETTLE: Duration = Duration::from_millis(200);

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        for index in shared.returned.take(SETTLE).await {
            if let Err(error) = write(&shared, index).await {
                tracing::debug!(%error, object = ?index, "a returned status could not be written; it is tried again");
                let shared = shared.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    shared.returned.add(index);
                });
            }
        }
    }
}

/// The destinations that count: those of policies that want the object's status back.
pub(crate) fn qualified(world: &World, index: ObjectIndex) -> Destinations {
    let mut found = Destinations::new();
    let Some(object) = world.objects.get(&index) else {
        return found;
    };
    for policy in object.policies.iter().filter_map(|p| world.policies.get(p)) {
        if policy
            .selected
            .get(&index)
            .is_some_and(|m| m.want_singleton || m.want_multi)
            && policy.placed.objects.contains(&index)
        {
            found |= &policy.placed.assigned;
        }
    }
    found
}

/// What the object's status should be; `None`: leave it alone.
fn wanted(world: &World, index: ObjectIndex) -> Option<Value> {
    let object = world.objects.get(&index)?;
    if !combine::returns_status(&object.reference.group, &object.reference.resource) {
        return None;
    }
    let modulations = object
        .policies
        .iter()
        .filter_map(|p| world.policies.get(p)?.selected.get(&index));
    let (singleton, multi) = modulations.fold((false, false), |(s, m), x| {
        (s | x.want_singleton, m | x.want_multi)
    });
    let qualified = qualified(world, index);
    match combine::show(singleton, multi, qualified.len()) {
        Show::Untouched => object.returned.then(|| json!({})),
        Show::Cleared => Some(json!({})),
        Show::Single => {
            Some(single(world, index, Destination(qualified.min()?)).unwrap_or_else(|| json!({})))
        }
        Show::Combined => {
            let mut statuses = Vec::new();
            let mut reported = Destinations::new();
            for (id, set) in world
                .columns
                .get(&index)
                .map(|c| c.sets())
                .unwrap_or_default()
            {
                let set = set & &qualified;
                let status = world
                    .values
                    .get(id)
                    .map(|v| serde_json::from_str(&v.status).unwrap_or(Value::Null));
                if let Some(status) = status.filter(|_| !set.is_empty()) {
                    statuses.push((status, set.len()));
                    reported |= set;
                }
            }
            Some(combine::combine(
                &statuses,
                qualified.len() - reported.len(),
            ))
        }
    }
}

/// The one copy's status: as it came if that is at hand, else its projection.
fn single(world: &World, index: ObjectIndex, destination: Destination) -> Option<Value> {
    let value = world
        .columns
        .get(&index)?
        .get(destination)
        .and_then(|id| world.values.get(id))?;
    if let Some((from, raw)) = world.raw.get(&index)
        && *from == destination
        && let Ok(status) = serde_json::from_slice(raw)
    {
        return Some(status);
    }
    serde_json::from_str(&value.status).ok()
}

async fn write(shared: &Shared, index: ObjectIndex) -> Result<(), Status> {
    let (reference, cluster, uid, status) = {
        let world = shared.world.read();
        let Some(object) = world.objects.get(&index).filter(|o| o.live) else {
            return Ok(());
        };
        let Some(status) = wanted(&world, index) else {
            return Ok(());
        };
        (
            object.reference.clone(),
            object.copy.cluster.clone(),
            object.copy.uid.clone(),
            status,
        )
    };
    let cluster = ClusterName::new(cluster);
    let has_subresource = shared
        .registry
        .surface(&cluster)?
        .resource(&reference.group, &reference.resource)
        .and_then(|e| {
            e.definition
                .version(&reference.version)
                .map(|v| v.subresources.status)
        })
        .unwrap_or(false);
    let client = shared.registry.as_system(cluster).managed_by("atoll-fleet");
    let resource = ResourceRef::new(&reference.group, &reference.version, &reference.resource);
    let namespace = reference.namespaced.then_some(reference.namespace.as_str());
    let Some(mut stored) = client.find(&resource, namespace, &reference.name).await? else {
        return Ok(());
    };
    if atoll_kube::meta::uid(&stored) != uid {
        return Ok(());
    }
    let empty = json!({});
    let old = stored.get("status").unwrap_or(&empty);
    if *old != status && !(status == empty && old.is_null()) {
        stored["status"] = status.clone();
        let resource = if has_subresource {
            resource.sub("status")
        } else {
            resource
        };
        client.update(&resource, stored).await?;
    }
    if let Some(object) = shared.world.write().objects.get_mut(&index) {
        object.returned = status != empty;
    }
    Ok(())
}
