//! Reading the registry's rows as the fleet needs them: objects with their kinds, ManagedClusters, policies.
//!
//! Reads snapshots only. A row that cannot be read is an error, never an absent object.

use std::sync::Arc;

use atoll_kube::{RowRef, meta};
use atoll_placement::choose::taint;
use atoll_placement::inventory::Labels;
use atoll_placement::order;
use atoll_placement::render::{Given, Recipe, properties};
use atoll_registry::{ClusterName, ObjectKey, Registry, ResourceId};
use atoll_store::{FAMILIES, Key, Prefix, Revision, Snapshot, families_of};
use atoll_wire::{CopyId, ObjectRef};
use serde_json::{Value, json};

use crate::model::{DestinationState, Form, PayloadObject, Registration};

pub(crate) const CONTROL: &str = "control.kubestellar.io";
pub(crate) const OCM: &str = "cluster.open-cluster-management.io";
pub(crate) const CRDS: &str = "apiextensions.k8s.io";
/// Lets a session that is held go on; the value is the token shown in the condition.
pub(crate) const RESUME: &str = "edge.atoll.dev/resume";
/// On a ManagedCluster, "true": everything of ours is removed from the edge.
pub(crate) const PURGE: &str = "edge.atoll.dev/purge";

/// Why something could not be read. The caller tries again; nothing is concluded from it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceError(pub(crate) String);

pub(crate) fn policies() -> ResourceId {
    ResourceId::builtin(CONTROL, "bindingpolicies")
}

pub(crate) fn managed_clusters() -> ResourceId {
    ResourceId::builtin(OCM, "managedclusters")
}

/// The kind of a stored object: version and kind it is stored at, and whether it lives in namespaces.
pub(crate) struct KindOf {
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
}

/// What the workspace's surface says about a resource; `None` when it does not serve it (any more).
pub(crate) fn kind_of(registry: &Registry, key: &ObjectKey<'_>) -> Option<KindOf> {
    let surface = registry.surface(&ClusterName::new(key.cluster)).ok()?;
    let entry = surface.resource(key.group, key.resource)?;
    let definition = &entry.definition;
    Some(KindOf {
        version: definition.storage_version().name.clone(),
        kind: definition.names.kind.clone(),
        namespaced: definition.namespaced(),
    })
}

/// An object's JSON from its row.
pub(crate) fn value_of(row: &[u8], group: &str, kind: &KindOf) -> Result<Value, SourceError> {
    let parsed =
        RowRef::parse(row).map_err(|e| SourceError(format!("a stored row is damaged: {e}")))?;
    let api_version = if group.is_empty() {
        kind.version.clone()
    } else {
        format!("{group}/{}", kind.version)
    };
    Ok(parsed.value(&api_version, &kind.kind, 0, None))
}

/// The record of a payload object.
pub(crate) fn payload_object(
    key: &Key,
    parts: &ObjectKey<'_>,
    kind: &KindOf,
    value: &Value,
    revision: Revision,
    recipe: Recipe,
) -> PayloadObject {
    let is_namespace = parts.group.is_empty() && parts.resource == "namespaces";
    let pick = |path: &str| value.pointer(path).cloned().unwrap_or(Value::Null);
    let health_input =
        json!({"spec": {"replicas": pick("/spec/replicas"), "type": pick("/spec/type")}});
    let bare = is_namespace.then(|| {
        let recipe = Recipe::implicit_namespace(parts.name);
        Form::of(recipe, health_input.clone(), revision)
    });
    let full = Some(Form::of(recipe, health_input, revision));
    PayloadObject {
        copy: CopyId {
            cluster: parts.cluster.to_owned(),
            uid: meta::uid(value).to_owned(),
        },
        reference: ObjectRef {
            group: parts.group.to_owned(),
            version: kind.version.clone(),
            kind: kind.kind.clone(),
            resource: parts.resource.to_owned(),
            namespace: parts.namespace.to_owned(),
            name: parts.name.to_owned(),
            namespaced: kind.namespaced,
        },
        key: key.clone(),
        order: order::of(parts.group, parts.resource),
        revision,
        live: true,
        full,
        bare,
        scales: scale_target(parts, value),
        policies: std::collections::BTreeSet::new(),
        created: pick("/metadata/creationTimestamp"),
        generation: meta::generation(value),
        returned: false,
    }
}

fn scale_target(parts: &ObjectKey<'_>, value: &Value) -> Option<(String, String)> {
    if (parts.group, parts.resource) != ("autoscaling", "horizontalpodautoscalers") {
        return None;
    }
    let target = value.pointer("/spec/scaleTargetRef")?;
    let text = |field: &str| target.get(field).and_then(Value::as_str).map(str::to_owned);
    Some((text("kind")?, text("name")?))
}

/// The labels of a Namespace object; empty when there is none.
pub(crate) fn namespace_labels(
    snapshot: &dyn Snapshot,
    cluster: &str,
    namespace: &str,
) -> Result<Labels, SourceError> {
    let key = ResourceId::builtin("", "namespaces").key(cluster, None, namespace);
    let Some(version) = snapshot.get(&key).map_err(|e| SourceError(e.to_string()))? else {
        return Ok(Labels::new());
    };
    let row = RowRef::parse(&version.row).map_err(|e| SourceError(e.to_string()))?;
    Ok(row
        .labels()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect())
}

/// The ranges of one workspace's objects: one per resource it holds, ours and control kinds left out.
pub(crate) fn ranges(snapshot: &dyn Snapshot, cluster: &str) -> Result<Vec<Prefix>, SourceError> {
    let from = families_of(cluster.as_bytes());
    let mut found = Vec::new();
    for item in snapshot.index_values(FAMILIES, &from) {
        let (value, _) = item.map_err(|e| SourceError(e.to_string()))?;
        if !value.starts_with(&from) {
            break;
        }
        let parts: Vec<&str> = value
            .split(|b| *b == 0)
            .filter_map(|p| std::str::from_utf8(p).ok())
            .collect();
        let [_, group, resource, identity, ..] = parts.as_slice() else {
            continue;
        };
        if atoll_placement::clean::travels(group, resource) {
            found.push(Prefix::new([group, resource, identity, cluster]));
        }
    }
    Ok(found)
}

/// A ManagedCluster from its value.
pub(crate) fn registration(inventory: &str, value: &Value, config: Option<&Value>) -> Registration {
    let available = value
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|c| {
            c.get("type").and_then(Value::as_str) == Some(crate::lifecycle::AVAILABLE)
                && c.get("status").and_then(Value::as_str) == Some("True")
        });
    let accepts = value
        .pointer("/spec/hubAcceptsClient")
        .and_then(Value::as_bool);
    Registration {
        state: DestinationState {
            inventory: Arc::from(inventory),
            name: meta::name(value).into(),
            uid: meta::uid(value).into(),
            accepted: accepts == Some(true) && !meta::is_deleting(value),
            available,
            purge: meta::annotation(value, PURGE) == Some("true"),
            hub: meta::annotation(value, atoll_wire::HUB_ANNOTATION).map(Arc::from),
            last_seen: 0,
        },
        labels: meta::labels(value)
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        resume: meta::annotation(value, RESUME).map(str::to_owned),
        given: Given::of(value, config),
        taints: taint::of_managed_cluster(value.get("spec").unwrap_or(&Value::Null)),
    }
}

/// The ConfigMap that gives a destination properties.
pub(crate) fn config_of(
    snapshot: &dyn Snapshot,
    inventory: &str,
    name: &str,
) -> Result<Option<Value>, SourceError> {
    let key =
        ResourceId::builtin("", "configmaps").key(inventory, Some(properties::NAMESPACE), name);
    let found = snapshot.get(&key).map_err(|e| SourceError(e.to_string()))?;
    let value = |row: &[u8]| control_value(row, "v1", "ConfigMap");
    found.map(|version| value(&version.row)).transpose()
}

/// The value of a built-in control object from its row.
pub(crate) fn control_value(
    row: &[u8],
    api_version: &str,
    kind: &str,
) -> Result<Value, SourceError> {
    let parsed =
        RowRef::parse(row).map_err(|e| SourceError(format!("a stored row is damaged: {e}")))?;
    Ok(parsed.value(api_version, kind, 0, None))
}
