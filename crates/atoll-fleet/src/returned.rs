//! The status of payload objects: what their copies report, by `wantSingletonReportedState` and `wantMultiWECReportedState`.
//!
//! Writing it makes no revision (cleaning drops `.status`), and never claims more than every qualified destination has reported. Whose status is ours is in the log
//! before it is written, so that it is cleared however the wish for it ended; what was shown before a restart is shown after it.

use std::sync::Arc;
use std::time::Duration;

use atoll_kube::Status;
use atoll_placement::combine::{self, Show};
use atoll_placement::place::ObjectIndex;
use atoll_placement::summary::Standing;
use atoll_placement::{Destination, Destinations};
use atoll_registry::{ClusterName, ResourceRef};
use atoll_store::{At, Key, Write};
use atoll_wire::{CopyId, ObjectRef};
use serde_json::{Value, json};

use crate::model::World;
use crate::rows;
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
        {
            found |= policy.placed(index);
        }
    }
    found
}

/// Which of two ways to want a status back an object's policies ask for: of the only copy, of all together.
fn wishes(world: &World, index: ObjectIndex) -> (bool, bool) {
    let object = world.objects.get(&index);
    let policies = object.into_iter().flat_map(|o| &o.policies);
    policies
        .filter_map(|p| world.policies.get(p)?.selected.get(&index))
        .fold((false, false), |(s, m), x| {
            (s | x.want_singleton, m | x.want_multi)
        })
}

/// What the object's status should be, given what it is; `None`: leave it alone.
fn wanted(world: &World, index: ObjectIndex, stored: &Value) -> Option<Value> {
    let object = world.objects.get(&index)?;
    if !combine::returns_status(&object.reference.group, &object.reference.resource) {
        return None;
    }
    let (singleton, multi) = wishes(world, index);
    let qualified = qualified(world, index);
    let cleared = || Some(json!({}));
    let mut status = match combine::show(singleton, multi, qualified.len()) {
        Show::Untouched => return object.returned.then(|| json!({})),
        Show::Cleared => return cleared(),
        Show::Single => {
            let Some(one) = single(world, index, Destination(qualified.min()?), stored) else {
                return cleared();
            };
            one
        }
        Show::Combined => combined(world, index, &qualified),
    };
    in_our_terms(&mut status, generation(world, index, &qualified, stored));
    Some(status)
}

/// All copies' statuses as one.
fn combined(world: &World, index: ObjectIndex, qualified: &Destinations) -> Value {
    let mut statuses = Vec::new();
    let mut reported = Destinations::new();
    for (id, set) in world
        .columns
        .get(&index)
        .map(|c| c.sets())
        .unwrap_or_default()
    {
        let set = set & qualified;
        let status = world
            .values
            .get(id)
            .map(|v| serde_json::from_str(&v.status).unwrap_or(Value::Null));
        if let Some(status) = status.filter(|_| !set.is_empty()) {
            statuses.push((status, set.len()));
            reported |= set;
        }
    }
    combine::combine(&statuses, qualified.len() - reported.len())
}

/// The one copy's status: as it came when that is at hand, or was written into the object before; else its projection.
fn single(
    world: &World,
    index: ObjectIndex,
    destination: Destination,
    stored: &Value,
) -> Option<Value> {
    let value = world.reported_at(index, destination)?;
    if let Some((from, raw)) = world.raw.get(&index)
        && *from == destination
        && let Ok(status) = serde_json::from_slice(raw)
    {
        return Some(status);
    }
    // What came is kept nowhere else, and it says the same.
    let before = world.project(index, stored);
    let text = before.to_string();
    if !before.is_null() && *text == *value.status {
        return Some(stored.clone());
    }
    serde_json::from_str(&value.status).ok()
}

/// The `observedGeneration` to show: the object's own, once every qualified destination has applied its present content and its controller has seen that; until
/// then what was shown before. `None` when the kind has none.
fn generation(
    world: &World,
    index: ObjectIndex,
    qualified: &Destinations,
    stored: &Value,
) -> Option<i64> {
    let object = world.objects.get(&index)?;
    let mut missing = qualified.clone();
    let column = world.columns.get(&index)?;
    let observed = |id| world.values.get(id).and_then(|value| value.observed);
    let says = column.values().any(|id| observed(id).is_some());
    world.judged(index, qualified, &mut |standing, id, set| {
        if standing > Standing::Failed && id.and_then(observed) == Some(true) {
            missing -= set;
        }
    });
    if !says {
        return None;
    }
    let before = stored.get("observedGeneration").and_then(Value::as_i64);
    match missing.is_empty() {
        true => Some(object.generation),
        false => before.filter(|before| *before <= object.generation),
    }
}

/// An edge counts its own generations. What says which one was seen says it in the center's, or is left out.
fn in_our_terms(status: &mut Value, generation: Option<i64>) {
    const FIELD: &str = "observedGeneration";
    let theirs = status.get(FIELD).cloned();
    fn walk(value: &mut Value, theirs: Option<&Value>, generation: Option<i64>) {
        match value {
            Value::Object(map) => {
                if let Some(seen) = map.remove(FIELD)
                    && let Some(generation) = generation.filter(|_| theirs == Some(&seen))
                {
                    map.insert(FIELD.to_owned(), generation.into());
                }
                map.values_mut().for_each(|v| walk(v, theirs, generation));
            }
            Value::Array(items) => items.iter_mut().for_each(|v| walk(v, theirs, generation)),
            _ => {}
        }
    }
    walk(status, theirs.as_ref(), generation);
    if let (Some(map), Some(generation)) = (status.as_object_mut(), generation) {
        map.insert(FIELD.to_owned(), generation.into());
    }
}

/// The object whose status may have to be written.
struct Target {
    reference: ObjectRef,
    copy: CopyId,
    key: Key,
    returned: bool,
}

/// `None` when nobody wants its status and we never wrote it.
fn target(world: &World, index: ObjectIndex) -> Option<Target> {
    let object = world.objects.get(&index)?;
    let wished = wishes(world, index) != (false, false);
    (object.returned || wished && object.live).then(|| Target {
        reference: object.reference.clone(),
        copy: object.copy.clone(),
        key: object.key.clone(),
        returned: object.returned,
    })
}

async fn write(shared: &Shared, index: ObjectIndex) -> Result<(), Status> {
    let Some(target) = target(&shared.world.read(), index) else {
        return Ok(());
    };
    let reference = &target.reference;
    let cluster = ClusterName::new(target.copy.cluster.clone());
    let surface = shared.registry.surface(&cluster)?;
    let Some(entry) = surface.resource(&reference.group, &reference.resource) else {
        // Its kind is not served: gone with its kind, or it shows again with it.
        let snapshot = shared.store.snapshot(At::Latest);
        return match snapshot.map(|s| s.get(&target.key)) {
            Ok(Ok(None)) => remember(shared, index, &target, false).await,
            _ => Ok(()),
        };
    };
    let version = entry.definition.version(&reference.version);
    let has_subresource = version.is_some_and(|v| v.subresources.status);
    let client = shared.registry.as_system(cluster).managed_by("atoll-fleet");
    let resource = ResourceRef::new(&reference.group, &reference.version, &reference.resource);
    let namespace = reference.namespaced.then_some(reference.namespace.as_str());
    let stored = client.find(&resource, namespace, &reference.name).await?;
    let Some(mut stored) = stored.filter(|s| atoll_kube::meta::uid(s) == target.copy.uid) else {
        // It is gone, and its status with it.
        return remember(shared, index, &target, false).await;
    };
    let empty = json!({});
    let old = stored.get("status").unwrap_or(&empty);
    let Some(status) = wanted(&shared.world.read(), index, old) else {
        return Ok(());
    };
    let ours = status != empty;
    if ours {
        remember(shared, index, &target, true).await?;
    }
    if *old != status && (ours || !old.is_null()) {
        stored["status"] = status;
        let resource = if has_subresource {
            resource.sub("status")
        } else {
            resource
        };
        client.update(&resource, stored).await?;
    }
    if !ours {
        remember(shared, index, &target, false).await?;
    }
    Ok(())
}

/// Notes durably whether the object's status is ours: before it is written, and after it was cleared.
async fn remember(
    shared: &Shared,
    index: ObjectIndex,
    target: &Target,
    ours: bool,
) -> Result<(), Status> {
    if target.returned == ours {
        return Ok(());
    }
    let key = rows::returned(&target.copy.cluster, &target.copy.uid);
    let write = match shared.world.read().objects.get(&index) {
        Some(object) if ours => Write::Put(key, rows::encode(&object.to_row())),
        _ => Write::Delete(key, None),
    };
    shared
        .append(Vec::new(), vec![write])
        .await
        .map_err(|e| Status::internal(e.to_string()))?;
    let mut world = shared.world.write();
    if let Some(object) = world.objects.get_mut(&index) {
        object.returned = ours;
    }
    world.forget_if_unused(index);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_of_the_edge_are_never_shown() {
        let status = |top: Value, nested: Value| json!({"observedGeneration": top, "conditions": [{"type": "A", "observedGeneration": nested}]});
        for (theirs, generation, expected) in [
            (
                status(json!(7), json!(7)),
                Some(2),
                status(json!(2), json!(2)),
            ),
            (
                status(json!(7), json!(6)),
                Some(2),
                json!({"observedGeneration": 2, "conditions": [{"type": "A"}]}),
            ),
            (
                status(json!(7), json!(7)),
                None,
                json!({"conditions": [{"type": "A"}]}),
            ),
            (
                json!({"replicas": 1}),
                Some(2),
                json!({"replicas": 1, "observedGeneration": 2}),
            ),
            (json!({"replicas": 1}), None, json!({"replicas": 1})),
        ] {
            let mut shown = theirs;
            in_our_terms(&mut shown, generation);
            assert_eq!(shown, expected);
        }
    }
}
