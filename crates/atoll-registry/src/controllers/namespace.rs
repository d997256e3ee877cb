//! Empties a namespace that is being deleted, then lets it go.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, meta};
use atoll_store::{At, Event, FAMILIES, families_of};
use serde_json::{Value, json};

use super::{Remaining, empty, join, pending_deletions};
use crate::{
    ClusterName, INTERNAL_GROUP, ObjectKey, Registry, ResourceId, ResourceRef,
    controller::{Controller, Next},
    read::{read_error, row},
};

/// The finalizer in a namespace's spec that this controller answers for.
const KUBERNETES: &str = "kubernetes";

pub(super) struct Namespaces;

fn id() -> ResourceId {
    ResourceId::builtin("", "namespaces")
}

fn resource() -> ResourceRef {
    ResourceRef::new("", "v1", "namespaces")
}

#[async_trait]
impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace"
    }

    fn resources(&self) -> Vec<GroupResource> {
        Vec::new()
    }

    fn wake(&self, event: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String)) {
        let deleting = |row: &[u8]| row_is_deleting(row);
        if key.group.is_empty() && key.resource == "namespaces" {
            if event.current.as_ref().is_some_and(|row| deleting(row)) {
                enqueue(join(&[key.cluster, key.name]));
            }
        } else if event.is_delete()
            && !key.namespace.is_empty()
            && event.previous.as_ref().is_some_and(|v| deleting(&v.row))
        {
            // Something that finalizers held is gone: perhaps it was the last.
            enqueue(join(&[key.cluster, key.namespace]));
        }
    }

    fn pending(&self, registry: &Registry, enqueue: &mut dyn FnMut(String)) -> Result<(), Status> {
        pending_deletions(registry, "", "namespaces", enqueue)
    }

    async fn reconcile(&self, registry: &Registry, key: &str) -> Result<Next, Status> {
        let Some((cluster, name)) = key.split_once('\0') else {
            return Ok(Next::Done);
        };
        let cluster = ClusterName::new(cluster);
        let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
        let Some(version) = id().read(snapshot.as_ref(), cluster.as_str(), None, name)? else {
            return Ok(Next::Done);
        };
        if !row(&version.row)?.is_deleting() {
            return Ok(Next::Done);
        }
        drop(snapshot);
        let mut remaining = Vec::new();
        for family in families(registry, &cluster)? {
            let left = empty(registry, &cluster, &family, Some(name)).await?;
            if left.objects > 0 {
                remaining.push((family, left));
            }
        }
        let client = registry.as_system(cluster);
        let Some(mut namespace) = client.find(&resource(), None, name).await? else {
            return Ok(Next::Done);
        };
        if remaining.is_empty() {
            if let Some(finalizers) = namespace
                .pointer_mut("/spec/finalizers")
                .and_then(Value::as_array_mut)
            {
                finalizers.retain(|f| f != KUBERNETES);
            }
            client
                .update(&resource().sub("finalize"), namespace)
                .await?;
            return Ok(Next::Done);
        }
        set_conditions(&mut namespace, &remaining, &registry.now().rfc3339());
        client.update_status(&resource(), namespace).await?;
        Ok(Next::After(std::time::Duration::from_secs(30)))
    }
}

fn row_is_deleting(bytes: &[u8]) -> bool {
    row(bytes).is_ok_and(|r| r.is_deleting())
}

/// The resources of which the cluster holds anything.
fn families(registry: &Registry, cluster: &ClusterName) -> Result<Vec<ResourceId>, Status> {
    let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
    let from = families_of(cluster.as_str().as_bytes());
    let mut found = Vec::new();
    for item in snapshot.index_values(FAMILIES, &from) {
        let (value, _) = item.map_err(read_error)?;
        let Some(rest) = value.strip_prefix(from.as_slice()) else {
            break;
        };
        let text = String::from_utf8_lossy(rest);
        let mut parts = text.split('\0');
        let (Some(group), Some(resource), Some(identity)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if group != INTERNAL_GROUP {
            found.push(ResourceId {
                group: group.into(),
                resource: resource.into(),
                identity: identity.into(),
            });
        }
    }
    Ok(found)
}

fn set_conditions(namespace: &mut Value, remaining: &[(ResourceId, Remaining)], now: &str) {
    let names = remaining.iter().map(|(id, left)| {
        let name = GroupResource::new(id.group.clone(), id.resource.clone());
        format!("{name} has {} resource instances", left.objects)
    });
    let mut total = Remaining::default();
    for (_, left) in remaining {
        total.add(left);
    }
    let finalizers = total
        .finalizers
        .iter()
        .map(|(name, n)| format!("{name} in {n} resource instances"));
    let content = format!(
        "Some resources are remaining: {}",
        names.collect::<Vec<_>>().join(", ")
    );
    let held = finalizers.collect::<Vec<_>>().join(", ");
    let mut wanted = vec![("NamespaceContentRemaining", "SomeResourcesRemain", content)];
    if !held.is_empty() {
        let text = format!("Some content in the namespace has finalizers remaining: {held}");
        wanted.push(("NamespaceFinalizersRemaining", "SomeFinalizersRemain", text));
    }
    if !meta::is_deleting(namespace) {
        return;
    }
    let status = &mut namespace["status"];
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else {
        return;
    };
    for (ty, reason, message) in wanted {
        // The time of a condition is when it became true, not when its message last changed.
        let since = conditions
            .iter()
            .find(|c| c["type"] == ty)
            .map(|c| c["lastTransitionTime"].clone());
        conditions.retain(|c| c["type"] != ty);
        conditions.push(json!({
            "type": ty, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| now.into()),
        }));
    }
}
