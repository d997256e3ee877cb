//! The plain form: APIVersions, APIGroupList, APIGroup, APIResourceList.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Group, groups, subresources};
use crate::definition::Definition;
use crate::ids::api_version;

/// `/api`: the versions of the core group. `address` is what clients can reach the server at.
pub fn api_versions(definitions: &[Arc<Definition>], address: &str) -> Value {
    let core = groups(definitions).into_iter().find(|g| g.name.is_empty());
    let versions: Vec<&str> = core
        .iter()
        .flat_map(|g| g.versions.iter().map(|v| v.name))
        .collect();
    json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

/// `/apis`: every group but the core group.
pub fn api_group_list(definitions: &[Arc<Definition>]) -> Value {
    let groups = groups(definitions);
    let named = groups.iter().filter(|g| !g.name.is_empty());
    json!({
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": named.map(group_value).collect::<Vec<_>>(),
    })
}

/// `/apis/<group>`.
pub fn api_group(group: &str, definitions: &[Arc<Definition>]) -> Option<Value> {
    let groups = groups(definitions);
    let found = groups.iter().find(|g| g.name == group)?;
    let mut value = group_value(found);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

fn group_value(group: &Group<'_>) -> Value {
    let version =
        |name: &str| json!({ "groupVersion": api_version(group.name, name), "version": name });
    let versions: Vec<Value> = group.versions.iter().map(|v| version(v.name)).collect();
    json!({
        "name": group.name,
        "preferredVersion": versions.first(),
        "versions": versions,
    })
}

/// `/api/<version>` and `/apis/<group>/<version>`.
pub fn api_resource_list(
    group: &str,
    version: &str,
    definitions: &[Arc<Definition>],
) -> Option<Value> {
    let groups = groups(definitions);
    let group = groups.iter().find(|g| g.name == group)?;
    let version = group.versions.iter().find(|v| v.name == version)?;
    let mut resources = Vec::new();
    for (definition, v) in &version.resources {
        let names = &definition.names;
        let verbs: Vec<_> = definition.verbs.iter().map(|v| v.as_str()).collect();
        let mut main = entry(
            definition,
            &names.plural,
            &names.singular,
            &names.kind,
            &verbs,
        );
        for (key, list) in [
            ("shortNames", &names.short_names),
            ("categories", &names.categories),
        ] {
            if !list.is_empty() {
                main.insert(key.to_owned(), json!(list));
            }
        }
        resources.push(Value::Object(main));
        for sub in subresources(definition, v) {
            let name = format!("{}/{}", names.plural, sub.name);
            let mut e = entry(definition, &name, "", sub.kind, &sub.verbs);
            if (sub.group, sub.version) != (group.name, version.name) {
                e.insert("group".to_owned(), sub.group.into());
                e.insert("version".to_owned(), sub.version.into());
            }
            resources.push(Value::Object(e));
        }
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version(group.name, version.name),
        "resources": resources,
    }))
}

fn entry(
    definition: &Definition,
    name: &str,
    singular: &str,
    kind: &str,
    verbs: &[&str],
) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), name.into());
    entry.insert("singularName".to_owned(), singular.into());
    entry.insert("namespaced".to_owned(), definition.namespaced().into());
    entry.insert("kind".to_owned(), kind.into());
    entry.insert("verbs".to_owned(), json!(verbs));
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::{SurfaceSet, set};

    #[test]
    fn groups_are_listed_in_kubernetes_order_then_by_name() {
        let list = api_group_list(set(SurfaceSet::Universal));
        let names: Vec<&str> = list["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|g| g["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "events.k8s.io",
                "authentication.k8s.io",
                "authorization.k8s.io",
                "certificates.k8s.io",
                "rbac.authorization.k8s.io",
                "admissionregistration.k8s.io",
                "apiextensions.k8s.io",
                "coordination.k8s.io",
                "apis.kcp.io",
                "core.kcp.io",
                "tenancy.kcp.io",
                "topology.kcp.io",
            ]
        );
        let group = api_group("apis.kcp.io", set(SurfaceSet::Universal)).unwrap();
        assert_eq!(group["preferredVersion"]["version"], "v1alpha2");
        assert_eq!(group["versions"][1]["groupVersion"], "apis.kcp.io/v1alpha1");
        assert!(api_group("nothing.dev", set(SurfaceSet::Universal)).is_none());
    }

    #[test]
    fn resources_carry_their_names_and_subresources() {
        let list = api_resource_list("apps", "v1", set(SurfaceSet::Kubernetes)).unwrap();
        let names: Vec<&str> = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names[2..6],
            [
                "daemonsets/status",
                "deployments",
                "deployments/scale",
                "deployments/status"
            ]
        );
        assert_eq!(list["resources"][3]["shortNames"], json!(["deploy"]));
        assert_eq!(list["resources"][4]["group"], "autoscaling");
        assert!(api_resource_list("apps", "v2", set(SurfaceSet::Kubernetes)).is_none());
    }
}
