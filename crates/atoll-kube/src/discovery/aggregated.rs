//! The aggregated form: APIGroupDiscoveryList of `apidiscovery.k8s.io`, everything below `/api` or `/apis` in one answer.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Group, GroupVersion, groups, subresources};
use crate::definition::{Definition, VersionDef};

/// Which of the two roots of the API is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `/api`: the core group.
    Api,
    /// `/apis`: all other groups.
    Apis,
}

/// The answer in version `v2`.
pub fn aggregated_v2(root: Root, definitions: &[Arc<Definition>]) -> Value {
    list("v2", root, definitions)
}

/// The answer in version `v2beta1`, which has the same fields.
pub fn aggregated_v2beta1(root: Root, definitions: &[Arc<Definition>]) -> Value {
    list("v2beta1", root, definitions)
}

fn list(version: &str, root: Root, definitions: &[Arc<Definition>]) -> Value {
    let groups = groups(definitions);
    let asked = groups
        .iter()
        .filter(|g| g.name.is_empty() == (root == Root::Api));
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": asked.map(group_value).collect::<Vec<_>>(),
    })
}

fn group_value(group: &Group<'_>) -> Value {
    let mut metadata = Map::new();
    if !group.name.is_empty() {
        metadata.insert("name".to_owned(), group.name.into());
    }
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|v| version_value(group, v))
        .collect();
    json!({ "metadata": metadata, "versions": versions })
}

fn version_value(group: &Group<'_>, version: &GroupVersion<'_>) -> Value {
    let resources = version.resources.iter();
    let resources: Vec<Value> = resources
        .map(|(definition, v)| resource_value(group, version, definition, v))
        .collect();
    json!({ "version": version.name, "freshness": "Current", "resources": resources })
}

fn resource_value(
    group: &Group<'_>,
    version: &GroupVersion<'_>,
    definition: &Definition,
    v: &VersionDef,
) -> Value {
    let names = &definition.names;
    let kind = |g: &str, v: &str, k: &str| json!({ "group": g, "version": v, "kind": k });
    let mut resource = json!({
        "resource": names.plural,
        "responseKind": kind(group.name, version.name, &names.kind),
        "scope": if definition.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": names.singular,
        "verbs": definition.verbs.iter().map(|v| v.as_str()).collect::<Vec<_>>(),
    });
    for (key, list) in [
        ("shortNames", &names.short_names),
        ("categories", &names.categories),
    ] {
        if !list.is_empty() {
            resource[key] = json!(list);
        }
    }
    let subs: Vec<Value> = subresources(definition, v)
        .into_iter()
        .map(|s| {
            json!({
                "subresource": s.name,
                "responseKind": kind(s.group, s.version, s.kind),
                "verbs": s.verbs,
            })
        })
        .collect();
    if !subs.is_empty() {
        resource["subresources"] = Value::Array(subs);
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::{SurfaceSet, set};

    #[test]
    fn the_two_roots_share_out_the_groups() {
        let all = set(SurfaceSet::Kubernetes);
        let api = aggregated_v2(Root::Api, all);
        assert_eq!(api["items"].as_array().unwrap().len(), 1);
        assert_eq!(
            api["items"][0]["versions"][0]["resources"][0]["resource"],
            "bindings"
        );
        let apis = aggregated_v2beta1(Root::Apis, all);
        assert_eq!(apis["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        assert_eq!(apis["items"].as_array().unwrap().len(), 20);
        let apps = &apis["items"][1];
        assert_eq!(apps["metadata"]["name"], "apps");
        let deployments = &apps["versions"][0]["resources"][2];
        assert_eq!(
            deployments["responseKind"],
            json!({"group": "apps", "version": "v1", "kind": "Deployment"})
        );
        assert_eq!(
            deployments["subresources"][0]["responseKind"]["kind"],
            "Scale"
        );
        assert_eq!(deployments["categories"], json!(["all"]));
    }
}
