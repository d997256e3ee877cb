//! Defaults of built-in kinds.
//!
//! Those that stand alone are data (`data/defaults.yaml`) and become part of the compiled schemas. Those that depend on a
//! neighbour are functions here, to be called after the schema's own defaults: an image's tag decides how it is pulled,
//! a strategy's type which of its parts is filled in.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::ids::GroupResource;
use crate::yaml;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

type Fields = Map<String, Value>;

static STANDING_ALONE: LazyLock<BTreeMap<String, Fields>> = LazyLock::new(|| {
    // The file is part of the program; a test reads it.
    let file = yaml::to_json(include_bytes!("data/defaults.yaml")).unwrap_or_default();
    serde_json::from_value(file).unwrap_or_default()
});

/// The defaults of a component's fields that need nothing but their absence.
pub(super) fn of_component(component: &str) -> Option<&'static Fields> {
    STANDING_ALONE.get(component)
}

/// Fills in what depends on neighbours. The schema's own defaults must be there already.
pub fn fill(resource: &GroupResource, object: &mut Value) {
    let mut at = |pointer: &str, fill: &dyn Fn(&mut Value)| {
        // Never made here: what is absent has nothing to complete.
        if let Some(found) = object.pointer_mut(pointer).filter(|v| v.is_object()) {
            fill(found);
        }
    };
    match (resource.group.as_str(), resource.resource.as_str()) {
        ("", "pods") => at("/spec", &|spec| {
            pod_spec(spec);
            pod_only(spec);
        }),
        ("", "podtemplates") => at("/template/spec", &pod_spec),
        ("", "replicationcontrollers") => {
            at("", &replication_controller);
            at("/spec/template/spec", &pod_spec);
        }
        ("apps", "replicasets") => at("/spec/template/spec", &pod_spec),
        ("apps", "deployments") => {
            let parameters = json!({ "maxSurge": "25%", "maxUnavailable": "25%" });
            at("/spec/strategy", &|s| rolling(s, &parameters));
            at("/spec/template/spec", &pod_spec);
        }
        ("apps", "daemonsets") => {
            let parameters = json!({ "maxSurge": 0, "maxUnavailable": 1 });
            at("/spec/updateStrategy", &|s| rolling(s, &parameters));
            at("/spec/template/spec", &pod_spec);
        }
        ("apps", "statefulsets") => {
            at("/spec/updateStrategy", &|s| {
                rolling(s, &json!({ "partition": 0 }))
            });
            at("/spec", &|spec| {
                each(spec, "volumeClaimTemplates", claim_template)
            });
            at("/spec/template/spec", &pod_spec);
        }
        ("batch", "jobs") => {
            at("/spec", &job);
            at("/spec/template/spec", &pod_spec);
        }
        ("batch", "cronjobs") => at("/spec/jobTemplate/spec/template/spec", &pod_spec),
        ("", "services") => at("/spec", &service),
        ("", "limitranges") => at("/spec", &|spec| each(spec, "limits", limit_range_item)),
        ("networking.k8s.io", "networkpolicies") => at("/spec", &network_policy),
        ("autoscaling", "horizontalpodautoscalers") => at("", &autoscaler),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            at("", &|binding| each(binding, "subjects", subject));
        }
        _ => {}
    }
}

/// Sets a field that is absent, null, empty text or an empty list; only inside an object.
fn set(parent: &mut Value, field: &str, default: impl FnOnce() -> Value) {
    let Some(fields) = parent.as_object_mut() else {
        return;
    };
    let absent = match fields.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(Value::Array(a)) => a.is_empty(),
        Some(_) => false,
    };
    if absent {
        fields.insert(field.to_owned(), default());
    }
}

/// Calls `fill` for every object in a list field.
fn each(parent: &mut Value, field: &str, fill: impl Fn(&mut Value)) {
    let list = parent.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter()
        .flatten()
        .filter(|v| v.is_object())
        .for_each(fill);
}

fn rolling(strategy: &mut Value, parameters: &Value) {
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", || parameters.clone());
    }
}

fn claim_template(claim: &mut Value) {
    set(claim, "apiVersion", || json!("v1"));
    set(claim, "kind", || json!("PersistentVolumeClaim"));
    if let Some(status) = claim.get_mut("status") {
        set(status, "phase", || json!("Pending"));
    }
}

fn network_policy(spec: &mut Value) {
    let egress = spec.get("egress").and_then(Value::as_array);
    let both = egress.is_some_and(|rules| !rules.is_empty());
    set(spec, "policyTypes", || {
        if both {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        }
    });
}

fn autoscaler(object: &mut Value) {
    if object["apiVersion"] == "autoscaling/v1" {
        return;
    }
    if let Some(spec) = object.get_mut("spec") {
        let target = json!({ "type": "Utilization", "averageUtilization": 80 });
        set(
            spec,
            "metrics",
            || json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]),
        );
    }
}

fn subject(subject: &mut Value) {
    if ["User", "Group"].contains(&subject["kind"].as_str().unwrap_or_default()) {
        set(subject, "apiGroup", || json!("rbac.authorization.k8s.io"));
    }
}

/// Selector and labels follow the template's, as they do for no newer kind.
fn replication_controller(object: &mut Value) {
    let Some(labels) = object.pointer("/spec/template/metadata/labels").cloned() else {
        return;
    };
    if let Some(spec) = object.get_mut("spec") {
        set(spec, "selector", || labels.clone());
    }
    if let Some(metadata) = object.get_mut("metadata") {
        set(metadata, "labels", || labels);
    }
}

fn job(spec: &mut Value) {
    let has = |spec: &Value, field: &str| spec.get(field).is_some_and(|v| !v.is_null());
    let indexed = spec["completionMode"] == "Indexed";
    if !has(spec, "completions") && !has(spec, "parallelism") && !indexed {
        set(spec, "completions", || json!(1));
    }
    set(spec, "parallelism", || json!(1));
    let backoff = if has(spec, "backoffLimitPerIndex") {
        i32::MAX
    } else {
        6
    };
    set(spec, "backoffLimit", || json!(backoff));
    set(spec, "completionMode", || json!("NonIndexed"));
    set(spec, "suspend", || json!(false));
    set(spec, "manualSelector", || json!(false));
    let replace = if has(spec, "podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    set(spec, "podReplacementPolicy", || json!(replace));
}

fn service(spec: &mut Value) {
    each(spec, "ports", |port| {
        let number = port["port"].clone();
        if port.get("targetPort") == Some(&json!(0)) {
            port["targetPort"] = Value::Null;
        }
        set(port, "targetPort", || number);
    });
    let ty = spec["type"].as_str().unwrap_or_default().to_owned();
    if ty != "ExternalName" {
        set(spec, "internalTrafficPolicy", || json!("Cluster"));
    }
    let addressed = spec.get("externalIPs").is_some_and(|ips| !ips.is_null());
    if ty == "NodePort" || ty == "LoadBalancer" || (ty == "ClusterIP" && addressed) {
        set(spec, "externalTrafficPolicy", || json!("Cluster"));
    }
    if ty == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", || json!(true));
    }
    if spec["sessionAffinity"] == "ClientIP" {
        set(
            spec,
            "sessionAffinityConfig",
            || json!({ "clientIP": { "timeoutSeconds": 10_800 } }),
        );
    }
}

fn pod_spec(spec: &mut Value) {
    for list in CONTAINERS {
        each(spec, list, |container| {
            let policy = pull_policy(container["image"].as_str().unwrap_or_default());
            set(container, "imagePullPolicy", || json!(policy));
        });
    }
    each(spec, "volumes", |volume| {
        if volume
            .as_object()
            .is_some_and(|v| v.keys().all(|k| k == "name"))
        {
            volume["emptyDir"] = json!({});
        }
    });
    // The old name of the field is written along with the new one.
    for (from, to) in [
        ("serviceAccountName", "serviceAccount"),
        ("serviceAccount", "serviceAccountName"),
    ] {
        let name = spec.get(from).cloned().unwrap_or_default();
        if name.as_str().is_some_and(|n| !n.is_empty()) {
            set(spec, to, || name);
        }
    }
}

/// What a pod is given, but not yet a template of pods.
fn pod_only(spec: &mut Value) {
    set(spec, "enableServiceLinks", || json!(true));
    let host_network = spec["hostNetwork"] == true;
    for list in CONTAINERS {
        each(spec, list, |container| {
            if host_network {
                each(container, "ports", |port| {
                    let number = port["containerPort"].clone();
                    set(port, "hostPort", || number);
                });
            }
            // What is limited is requested, unless the request says otherwise.
            if let Some(limits) = container.pointer("/resources/limits").cloned() {
                complete(&mut container["resources"]["requests"], &limits);
            }
        });
    }
}

/// A container's default limit is its maximum, its default request the default limit, else its minimum.
fn limit_range_item(item: &mut Value) {
    if item["type"] != "Container" {
        return;
    }
    for (from, to) in [
        ("max", "default"),
        ("default", "defaultRequest"),
        ("min", "defaultRequest"),
    ] {
        if let Some(known) = item.get(from).cloned() {
            complete(&mut item[to], &known);
        }
    }
}

/// Adds the entries that a map lacks.
fn complete(map: &mut Value, from: &Value) {
    for (name, value) in from.as_object().into_iter().flatten() {
        if map.is_null() {
            *map = json!({});
        }
        set(map, name, || value.clone());
    }
}

/// `Always` for a moving tag, `IfNotPresent` for a fixed one.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(n, d)| (n, Some(d)));
    let last = name.rsplit('/').next().unwrap_or_default();
    let tag = last.split_once(':').map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::{component_of, component_schema, lookup, normalize::normalize};

    #[test]
    fn every_default_has_its_field() {
        assert!(!STANDING_ALONE.is_empty());
        for (component, fields) in STANDING_ALONE.iter() {
            let schema = component_schema(component).unwrap_or_else(|| panic!("no {component}"));
            for field in fields.keys() {
                assert!(
                    schema["properties"].get(field).is_some(),
                    "{component} has no {field}"
                );
            }
        }
    }

    #[test]
    fn images_without_a_fixed_tag_are_always_pulled() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    /// What a genuine server 1.36 answered to these objects on a dry run, without metadata and status.
    #[test]
    fn defaults_are_those_of_a_genuine_server() {
        let golden: Value = serde_json::from_str(include_str!("testdata/defaults.json")).unwrap();
        let mut wrong = Vec::new();
        for row in golden.as_array().unwrap() {
            let mut object = row["sent"].clone();
            let (group, version) = {
                let api_version = object["apiVersion"].as_str().unwrap();
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                (group.to_owned(), version.to_owned())
            };
            let kind = object["kind"].as_str().unwrap().to_owned();
            let plural = row["resource"].as_str().unwrap();
            let resource = GroupResource::new(group.clone(), plural);
            assert!(component_of(&group, &version, &kind).is_some(), "{kind}");
            let definition = lookup(&resource).unwrap();
            let schema = &definition.version(&version).unwrap().schema;
            normalize(schema, &mut object);
            crate::builtin::hooks::on_write(&resource, &mut object);
            schema.default_into(&mut object);
            fill(&resource, &mut object);
            for part in ["metadata", "status"] {
                object.as_object_mut().unwrap().remove(part);
            }
            assert!(
                !object.to_string().contains("null"),
                "nothing is left half made: {object}"
            );
            differences(&kind, &object, &row["kept"], &mut wrong);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn differences(path: &str, ours: &Value, theirs: &Value, wrong: &mut Vec<String>) {
        match (ours, theirs) {
            (Value::Object(a), Value::Object(b)) => {
                let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
                for name in names {
                    let path = format!("{path}.{name}");
                    differences(&path, &ours[name], &theirs[name], wrong);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (i, (a, b)) in a.iter().zip(b).enumerate() {
                    differences(&format!("{path}[{i}]"), a, b, wrong);
                }
            }
            _ if ours == theirs => {}
            // Go writes neither empty lists nor false where JSON may leave them out.
            (Value::Array(a), Value::Null) if a.is_empty() => {}
            (Value::Bool(false), Value::Null) => {}
            _ => wrong.push(format!("{path}: {ours} instead of {theirs}")),
        }
    }
}
