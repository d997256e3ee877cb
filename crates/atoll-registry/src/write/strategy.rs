//! How the kind of logical cluster and the kind of object shape what is stored: what is pruned, completed, kept out of
//! reach, and named how. Pure: values in, values out.

use atoll_kube::{
    Definition, FieldError, GroupResource, Status, Timestamp, UserInfo, builtin,
    definition::Source, meta, names::NameRule, status::unknown_field,
};
use serde_json::{Map, Value, json};

use crate::{ClusterKind, Served, admission};

/// Shown on every object, stored on none.
const CLUSTER_ANNOTATION: &str = "kcp.io/cluster";

/// Groups whose kinds act in every sort of cluster, payload too.
const ALWAYS_ACTING: &[&str] = &[
    "apiextensions.k8s.io",
    "tenancy.kcp.io",
    "core.kcp.io",
    "control.kubestellar.io",
    "edge.atoll.dev",
    "cluster.open-cluster-management.io",
];

/// Whether objects of this kind are completed with defaults in such a cluster.
fn defaults(kind: ClusterKind, definition: &Definition) -> bool {
    // A CustomResourceDefinition acts everywhere, so its defaults do; a built-in kind's are the edge's business.
    kind.acts()
        || definition.source == Source::Crd
        || ALWAYS_ACTING.contains(&definition.group.as_str())
}

/// Prunes, normalizes and completes an object; gives the texts of unknown fields.
///
/// Refuses what could not be decoded into a built-in kind, and what nests too deep (a patch may have made it so).
pub(crate) fn complete(
    kind: ClusterKind,
    served: &Served,
    object: &mut Value,
) -> Result<Vec<String>, Status> {
    atoll_kube::schema::decode::check_depth(object)?;
    let definition = &served.definition;
    let schema = &served.version().schema;
    if definition.source == Source::Builtin
        && let Some(why) = schema.mismatch(object, &definition.names.kind)
    {
        return Err(Status::cannot_be_handled(
            &definition.names.kind,
            &served.version().name,
            why,
        ));
    }
    let resource = definition.group_resource();
    if resource.resource == "customresourcedefinitions" {
        atoll_kube::definition::default_crd(object);
    }
    let unknown = schema.prune(object);
    if definition.source == Source::Builtin {
        builtin::normalize::normalize(schema, object);
        builtin::hooks::on_write(&resource, object);
    }
    if defaults(kind, definition) {
        schema.default_into(object);
        if definition.source == Source::Builtin {
            builtin::defaults::fill(&resource, object);
        }
    }
    if definition.source == Source::Crd {
        schema.drop_nulls(object);
    }
    Ok(unknown.iter().map(|path| unknown_field(path)).collect())
}

/// What the system decides about a new object: everything in metadata that a client may not choose.
pub(crate) fn stamp_new(served: &Served, object: &mut Value, uid: String, now: Timestamp) {
    let definition = &served.definition;
    let metadata = meta::metadata_mut(object);
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
        "resourceVersion",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), now.rfc3339().into());
    if generations(definition) {
        metadata.insert("generation".into(), 1.into());
    }
    drop_cluster(metadata);
    if served.version().subresources.status
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    if definition.source == Source::Builtin {
        builtin::hooks::on_create(&definition.group_resource(), object);
    }
}

/// What the system says about who made a new object, where its kind acts.
pub(crate) fn stamp_user(kind: ClusterKind, served: &Served, object: &mut Value, user: &UserInfo) {
    if kind.acts() && served.definition.source == Source::Builtin {
        builtin::hooks::on_request(&served.definition.group_resource(), object, user);
    }
}

/// Puts back what an update may not touch, where the kind acts.
pub(crate) fn hold(kind: ClusterKind, served: &Served, old: &Value, new: &mut Value) {
    if kind.acts() && served.definition.source == Source::Builtin {
        builtin::hooks::on_update(&served.definition.group_resource(), old, new);
    }
}

/// What the system keeps of the old object's metadata, whatever the client sent.
pub(crate) fn carry_over(old: &Value, new: &mut Value) {
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
    ] {
        match meta::metadata(old).get(field).cloned() {
            Some(value) => meta::set(new, field, value),
            None => {
                meta::remove(new, field);
            }
        }
    }
    drop_cluster(meta::metadata_mut(new));
}

/// Makes a field of an object this, or takes it away.
pub(crate) fn set_or_drop(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    match value {
        Some(value) => drop(fields.insert(field.to_owned(), value)),
        None => drop(fields.remove(field)),
    }
}

/// Takes away the annotation that is only ever shown, so that writing back what was read changes nothing.
fn drop_cluster(metadata: &mut Map<String, Value>) {
    let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations.remove(CLUSTER_ANNOTATION);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

fn generations(definition: &Definition) -> bool {
    definition.source == Source::Crd
        || builtin::hooks::counts_generation(&definition.group_resource())
}

/// Raises the generation when anything but metadata and status changed.
pub(crate) fn count_generation(served: &Served, old: &Value, new: &mut Value) {
    if generations(&served.definition) && wanted_changed(served, old, new) {
        let next = meta::generation(old).saturating_add(1);
        meta::set(new, "generation", next);
    }
}

fn wanted_changed(served: &Served, old: &Value, new: &Value) -> bool {
    let status_apart =
        served.version().subresources.status || served.definition.source == Source::Builtin;
    let wanted = |v: &Value| -> Vec<(String, Value)> {
        v.as_object()
            .into_iter()
            .flatten()
            .filter(|(k, _)| !matches!(k.as_str(), "metadata" | "apiVersion" | "kind"))
            .filter(|(k, _)| !(status_apart && *k == "status"))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    wanted(old) != wanted(new)
}

/// Which names a kind allows.
pub(crate) fn name_rule(definition: &Definition) -> NameRule {
    match (definition.group.as_str(), definition.names.plural.as_str()) {
        ("", "namespaces" | "services") => NameRule::Label,
        ("rbac.authorization.k8s.io", _) => NameRule::PathSegment,
        ("apiregistration.k8s.io", _) => NameRule::PathSegment,
        ("certificates.k8s.io", "clustertrustbundles") => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    }
}

/// What is wrong with a new object.
pub(crate) fn validate_new(kind: ClusterKind, served: &Served, object: &Value) -> Vec<FieldError> {
    let definition = &served.definition;
    let mut errors = meta::validate(object, definition.namespaced(), name_rule(definition));
    errors.extend(faults(served, object));
    if kind.acts() {
        errors.extend(admission::check(&definition.group_resource(), object));
    }
    if definition.names.plural == "customresourcedefinitions" {
        errors.extend(atoll_kube::definition::validate_crd(object));
    }
    errors
}

/// What is wrong with an object by its schema and by its kind's rules.
fn faults(served: &Served, object: &Value) -> Vec<FieldError> {
    let mut errors = served.version().schema.validate(object, "");
    if served.definition.names.plural == "customresourcedefinitions" {
        // What the schemas in it must be like is said by its own checks.
        errors.retain(|e| !e.field.contains(".openAPIV3Schema."));
    }
    if served.definition.source == Source::Builtin {
        let resource = served.definition.group_resource();
        for error in builtin::rules::check(&resource, object) {
            // A field that the schema wants too is missing once.
            if !errors
                .iter()
                .any(|e| e.field == error.field && e.kind == error.kind)
            {
                errors.push(error);
            }
        }
    }
    errors
}

/// What is wrong with a change. Faults that the old object had already are forgiven: of a custom resource those of parts that did not change.
pub(crate) fn validate_change(
    kind: ClusterKind,
    served: &Served,
    old: &Value,
    new: &Value,
) -> Vec<FieldError> {
    let definition = &served.definition;
    let mut errors = meta::validate_update(new, old);
    if definition.source == Source::Crd {
        errors.extend(served.version().schema.validate_change(new, old));
    } else {
        let mut found = faults(served, new);
        if !found.is_empty() {
            let before = faults(served, old);
            found.retain(|error| !before.contains(error));
        }
        errors.extend(found);
    }
    if kind.acts() && definition.source == Source::Builtin {
        let resource = definition.group_resource();
        errors.extend(builtin::rules::check_change(&resource, old, new));
        let before = admission::check(&resource, old);
        let mut found = admission::check(&resource, new);
        found.retain(|error| !before.contains(error));
        errors.extend(found);
    }
    if definition.names.plural == "customresourcedefinitions" {
        errors.extend(atoll_kube::definition::validate_crd_update(old, new));
    }
    errors
}

/// The Status for errors; `Ok` when there are none.
pub(crate) fn refuse(served: &Served, name: &str, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(
            &served.definition.group_kind(),
            name,
            errors,
        ))
    }
}

/// Whether something still holds an object that is being deleted: a finalizer of either sort, or its grace period.
pub(crate) fn held(definition: &Definition, object: &Value) -> bool {
    let waits = meta::metadata(object)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0)
        > 0;
    let own = is(definition, "", "namespaces")
        && object
            .pointer("/spec/finalizers")
            .and_then(Value::as_array)
            .is_some_and(|f| !f.is_empty());
    meta::finalizers(object).next().is_some() || own || waits
}

/// Marks an object as being deleted.
pub(crate) fn mark_deleting(
    definition: &Definition,
    object: &mut Value,
    now: Timestamp,
    grace: i64,
) {
    let at = Timestamp(now.0.saturating_add(grace.saturating_mul(1000)));
    meta::set(object, "deletionTimestamp", at.rfc3339());
    meta::set(object, "deletionGracePeriodSeconds", grace);
    let generation = meta::generation(object);
    if generation > 0 {
        meta::set(object, "generation", generation.saturating_add(1));
    }
    if is(definition, "", "namespaces") {
        if !object["status"].is_object() {
            object["status"] = json!({});
        }
        object["status"]["phase"] = "Terminating".into();
    }
}

/// Kubernetes lets a PUT create objects of these kinds.
pub(crate) fn creates_on_update(definition: &Definition) -> bool {
    definition.source == Source::Builtin
        && matches!(
            (definition.group.as_str(), definition.names.plural.as_str()),
            (
                "",
                "events"
                    | "endpoints"
                    | "limitranges"
                    | "services"
                    | "podtemplates"
                    | "replicationcontrollers"
            ) | ("events.k8s.io", "events")
                | ("coordination.k8s.io", "leases")
                | ("rbac.authorization.k8s.io", _)
        )
}

/// Seconds a pod gets to end; zero for everything else.
pub(crate) fn grace(
    kind: ClusterKind,
    definition: &Definition,
    object: &Value,
    asked: Option<i64>,
) -> i64 {
    if kind != ClusterKind::Kubernetes || !is(definition, "", "pods") {
        return 0;
    }
    let scheduled = object
        .pointer("/spec/nodeName")
        .and_then(Value::as_str)
        .is_some_and(|n| !n.is_empty());
    let ended = matches!(
        object.pointer("/status/phase").and_then(Value::as_str),
        Some("Failed" | "Succeeded")
    );
    if !scheduled || ended {
        return 0;
    }
    let own = object
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    asked.or(own).unwrap_or(30).max(0)
}

pub(crate) fn is(definition: &Definition, group: &str, resource: &str) -> bool {
    definition.group == group && definition.names.plural == resource
}

/// The family of namespaces.
pub(crate) fn namespaces() -> GroupResource {
    GroupResource::new("", "namespaces")
}
