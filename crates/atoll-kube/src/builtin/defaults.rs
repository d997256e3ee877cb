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
    match (resource.group.as_str(), resource.resource.as_str()) {
        ("", "pods") => {
            pod_spec(&mut object["spec"]);
            pod_only(&mut object["spec"]);
        }
        ("", "podtemplates") => template(&mut object["template"]),
        ("", "replicationcontrollers") => replication_controller(object),
        ("apps", "replicasets") => template(&mut object["spec"]["template"]),
        ("apps", "deployments") => {
            rolling(
                &mut object["spec"]["strategy"],
                || json!({ "maxSurge": "25%", "maxUnavailable": "25%" }),
            );
            template(&mut object["spec"]["template"]);
        }
        ("apps", "daemonsets") => {
            rolling(
                &mut object["spec"]["updateStrategy"],
                || json!({ "maxSurge": 0, "maxUnavailable": 1 }),
            );
            template(&mut object["spec"]["template"]);
        }
        ("apps", "statefulsets") => {
            rolling(
                &mut object["spec"]["updateStrategy"],
                || json!({ "partition": 0 }),
            );
            template(&mut object["spec"]["template"]);
            for claim in entries(&mut object["spec"]["volumeClaimTemplates"]) {
                claim["apiVersion"] = "v1".into();
                claim["kind"] = "PersistentVolumeClaim".into();
                set(&mut claim["status"], "phase", || json!("Pending"));
            }
        }
        ("", "limitranges") => entries(&mut object["spec"]["limits"]).for_each(limit_range_item),
        ("batch", "jobs") => job(&mut object["spec"]),
        ("batch", "cronjobs") => template(&mut object["spec"]["jobTemplate"]["spec"]["template"]),
        ("", "services") => service(&mut object["spec"]),
        ("networking.k8s.io", "networkpolicies") => {
            let spec = &mut object["spec"];
            let both = spec["egress"]
                .as_array()
                .is_some_and(|rules| !rules.is_empty());
            set(spec, "policyTypes", || {
                if both {
                    json!(["Ingress", "Egress"])
                } else {
                    json!(["Ingress"])
                }
            });
        }
        ("autoscaling", "horizontalpodautoscalers") if object["apiVersion"] != "autoscaling/v1" => {
            let target = json!({ "type": "Utilization", "averageUtilization": 80 });
            set(
                &mut object["spec"],
                "metrics",
                || json!([{ "type": "Resource", "resource": { "name": "cpu", "target": target } }]),
            );
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            for subject in entries(&mut object["subjects"]) {
                if ["User", "Group"].contains(&subject["kind"].as_str().unwrap_or_default()) {
                    set(subject, "apiGroup", || json!("rbac.authorization.k8s.io"));
                }
            }
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

fn entries(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}

fn rolling(strategy: &mut Value, parameters: impl FnOnce() -> Value) {
    if strategy["type"] == "RollingUpdate" {
        set(strategy, "rollingUpdate", parameters);
    }
}

/// Selector and labels follow the template's, as they do for no newer kind.
fn replication_controller(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if labels.is_object() {
        set(&mut object["spec"], "selector", || labels.clone());
        set(&mut object["metadata"], "labels", || labels);
    }
    template(&mut object["spec"]["template"]);
}

fn job(spec: &mut Value) {
    let indexed = spec["completionMode"] == "Indexed";
    if spec["completions"].is_null() && spec["parallelism"].is_null() && !indexed {
        set(spec, "completions", || json!(1));
    }
    set(spec, "parallelism", || json!(1));
    let per_index = !spec["backoffLimitPerIndex"].is_null();
    set(spec, "backoffLimit", || {
        if per_index { json!(i32::MAX) } else { json!(6) }
    });
    set(spec, "completionMode", || json!("NonIndexed"));
    set(spec, "suspend", || json!(false));
    set(spec, "manualSelector", || json!(false));
    let policy = !spec["podFailurePolicy"].is_null();
    set(spec, "podReplacementPolicy", || {
        if policy {
            json!("Failed")
        } else {
            json!("TerminatingOrFailed")
        }
    });
    template(&mut spec["template"]);
}

fn service(spec: &mut Value) {
    for port in entries(&mut spec["ports"]) {
        let number = port["port"].clone();
        if port["targetPort"] == 0 {
            port["targetPort"] = Value::Null;
        }
        set(port, "targetPort", || number);
    }
    let ty = spec["type"].as_str().unwrap_or_default().to_owned();
    if ty != "ExternalName" {
        set(spec, "internalTrafficPolicy", || json!("Cluster"));
    }
    let addressed = !spec["externalIPs"].is_null();
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

fn template(template: &mut Value) {
    if template.is_object() {
        pod_spec(&mut template["spec"]);
    }
}

fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    for list in CONTAINERS {
        for container in spec.get_mut(list).into_iter().flat_map(entries) {
            let policy = pull_policy(container["image"].as_str().unwrap_or_default());
            set(container, "imagePullPolicy", || json!(policy));
        }
    }
    for volume in spec.get_mut("volumes").into_iter().flat_map(entries) {
        let named_only = volume
            .as_object()
            .is_some_and(|v| v.keys().all(|k| k == "name"));
        if named_only {
            volume["emptyDir"] = json!({});
        }
    }
    // The old name of the field is written along with the new one.
    for (from, to) in [
        ("serviceAccountName", "serviceAccount"),
        ("serviceAccount", "serviceAccountName"),
    ] {
        if let Some(name) = spec
            .get(from)
            .filter(|n| n.as_str().is_some_and(|n| !n.is_empty()))
        {
            let name = name.clone();
            set(spec, to, || name);
        }
    }
}

/// What a pod is given, but not yet a template of pods.
fn pod_only(spec: &mut Value) {
    set(spec, "enableServiceLinks", || json!(true));
    let host_network = spec["hostNetwork"] == true;
    for list in CONTAINERS {
        for container in spec.get_mut(list).into_iter().flat_map(entries) {
            if host_network {
                for port in container.get_mut("ports").into_iter().flat_map(entries) {
                    let number = port["containerPort"].clone();
                    set(port, "hostPort", || number);
                }
            }
            // What is limited is requested, unless the request says otherwise.
            if let Some(limits) = container.pointer("/resources/limits").cloned() {
                complete(&mut container["resources"]["requests"], &limits);
            }
        }
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
