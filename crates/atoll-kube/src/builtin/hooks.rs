//! What built-in kinds do that no schema can say: a short, closed list.
//!
//! | hook | kinds |
//! |---|---|
//! | [`storage_resource`] | events of both groups are kept once |
//! | [`on_write`] | a Secret's `stringData` |
//! | [`on_create`] | what a Namespace is born with |
//! | [`on_request`], [`on_update`] | who asks for a certificate, and that it stays that one request |
//! | [`counts_generation`] | kinds whose `metadata.generation` follows their spec |
//! | [`selectable_fields`] | field selectors beyond name and namespace |
//!
//! Conversion between versions and groups is in [`super::convert`]. Nothing here knows a workspace; the registry decides
//! which hooks a logical cluster's strategy calls.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::ids::{GroupResource, UserInfo};

const EVENTS: &str = "events";
const EVENTS_GROUP: &str = "events.k8s.io";

/// The resource under which objects of `resource` are kept, where that is another one: events of `events.k8s.io` are the
/// core group's events seen through another group.
pub fn storage_resource(resource: &GroupResource) -> Option<GroupResource> {
    (resource.group == EVENTS_GROUP && resource.resource == EVENTS)
        .then(|| GroupResource::new("", EVENTS))
}

/// The other resource whose objects are the same ones: a write to either is an event of both.
pub fn cohabitant(resource: &GroupResource) -> Option<GroupResource> {
    match (resource.group.as_str(), resource.resource.as_str()) {
        ("", EVENTS) => Some(GroupResource::new(EVENTS_GROUP, EVENTS)),
        (EVENTS_GROUP, EVENTS) => Some(GroupResource::new("", EVENTS)),
        _ => None,
    }
}

/// Rewrites what a client may write but nobody reads: called on every create, update and patch result, in every kind of
/// logical cluster.
pub fn on_write(resource: &GroupResource, object: &mut Value) {
    if is(resource, "", "secrets") {
        string_data(object);
    }
}

/// `stringData` is `data` before base64; where both name a key, `stringData` wins.
fn string_data(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(plain)) = fields.remove("stringData") else {
        return;
    };
    if plain.is_empty() {
        return;
    }
    let data = fields.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    if let Some(data) = data.as_object_mut() {
        for (key, value) in plain {
            let text = value.as_str().unwrap_or_default();
            data.insert(key, Value::String(STANDARD.encode(text)));
        }
    }
}

/// What an object of this kind is born with, whoever creates it.
pub fn on_create(resource: &GroupResource, object: &mut Value) {
    if !is(resource, "", "namespaces") {
        return;
    }
    let name = object
        .pointer("/metadata/name")
        .cloned()
        .unwrap_or_default();
    child(child(object, "metadata"), "labels")["kubernetes.io/metadata.name"] = name;
    child(object, "spec")["finalizers"] = json!(["kubernetes"]);
    object["status"] = json!({ "phase": "Active" });
}

/// What a new object says about who made it, whatever the client wrote: whoever signs a certificate goes by it. Only where
/// kinds act.
pub fn on_request(resource: &GroupResource, object: &mut Value, user: &UserInfo) {
    if !is_signing_request(resource) {
        return;
    }
    let spec = child(object, "spec");
    for (field, value) in [
        ("username", json!(user.username)),
        ("uid", json!(user.uid)),
        ("groups", json!(user.groups)),
        ("extra", json!(user.extra)),
    ] {
        if let Some(fields) = spec.as_object_mut() {
            fields.remove(field);
        }
        if value != json!("") && value != json!([]) && value != json!({}) {
            spec[field] = value;
        }
    }
}

/// What an update does not touch, whatever the client wrote. Only where kinds act.
pub fn on_update(resource: &GroupResource, old: &Value, new: &mut Value) {
    if is_signing_request(resource)
        && let Some(spec) = old.get("spec")
    {
        new["spec"] = spec.clone();
    }
}

fn is_signing_request(resource: &GroupResource) -> bool {
    is(
        resource,
        "certificates.k8s.io",
        "certificatesigningrequests",
    )
}

/// The object at `key`, made if it is missing or null.
fn child<'a>(parent: &'a mut Value, key: &str) -> &'a mut Value {
    if !parent.is_object() {
        *parent = Value::Object(Map::new());
    }
    let child = &mut parent[key];
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    child
}

/// Kinds of Kubernetes whose `metadata.generation` counts changes of what is asked for.
pub fn counts_generation(resource: &GroupResource) -> bool {
    match (resource.group.as_str(), resource.resource.as_str()) {
        ("", "replicationcontrollers" | "pods")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("discovery.k8s.io", "endpointslices")
        | ("networking.k8s.io", "ingresses" | "ingressclasses" | "networkpolicies")
        | (
            "admissionregistration.k8s.io" | "batch" | "policy" | "flowcontrol.apiserver.k8s.io",
            _,
        )
        | ("apiextensions.k8s.io", "customresourcedefinitions") => true,
        (group, _) => super::group_rank(group).is_none(),
    }
}

/// Fields that field selectors may use besides `metadata.name` and `metadata.namespace`.
pub fn selectable_fields(group: &str, plural: &str) -> &'static [&'static str] {
    match (group, plural) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", EVENTS) => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "type",
        ],
        (EVENTS_GROUP, EVENTS) => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["status.phase"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
        _ => &[],
    }
}

fn is(resource: &GroupResource, group: &str, plural: &str) -> bool {
    resource.group == group && resource.resource == plural
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_data_becomes_data_and_wins() {
        let rows = [
            (
                json!({"stringData": {"a": "x"}}),
                json!({"data": {"a": "eA=="}}),
            ),
            (
                json!({"data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new"}}),
                json!({"data": {"a": "bmV3", "b": "Yg=="}}),
            ),
            (
                json!({"data": null, "stringData": {"a": ""}}),
                json!({"data": {"a": ""}}),
            ),
            (json!({"stringData": {}}), json!({})),
        ];
        for (mut object, expected) in rows {
            on_write(&GroupResource::new("", "secrets"), &mut object);
            assert_eq!(object, expected);
        }
    }

    #[test]
    fn a_namespace_is_born_active() {
        let mut object = json!({"metadata": {"name": "a", "labels": {"x": "y"}}});
        on_create(&GroupResource::new("", "namespaces"), &mut object);
        assert_eq!(
            object,
            json!({"metadata": {"name": "a", "labels": {"x": "y", "kubernetes.io/metadata.name": "a"}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
        );
    }

    #[test]
    fn generations_are_counted_where_kubernetes_counts_them() {
        for (group, plural, counted) in [
            ("apps", "deployments", true),
            ("", "configmaps", false),
            ("rbac.authorization.k8s.io", "roles", false),
            ("tenancy.kcp.io", "workspaces", true),
            ("example.dev", "widgets", true),
        ] {
            assert_eq!(
                counts_generation(&GroupResource::new(group, plural)),
                counted,
                "{plural}"
            );
        }
    }
}
