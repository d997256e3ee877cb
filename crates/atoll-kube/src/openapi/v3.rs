//! Version 3: one document per group version.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::components::{self, Components};
use super::operations::{self, Operation, Parameter};
use crate::builtin::{REF_PREFIX, describe};
use crate::definition::Definition;
use crate::discovery::groups;

/// `/openapi/v3/api/<version>` or `/openapi/v3/apis/<group>/<version>`; `None` where nothing is served.
pub fn v3_document(group: &str, version: &str, definitions: &[Arc<Definition>]) -> Option<Value> {
    let groups = groups(definitions);
    let found = groups.iter().find(|g| g.name == group)?;
    let found = found.versions.iter().find(|v| v.name == version)?;
    let mut schemas = Components::new();
    components::collect(found, &mut schemas);
    for (component, schema) in &mut schemas {
        describe(component, schema);
    }
    let paths = operations::of_group_version(group, found);
    let paths: Map<String, Value> = paths
        .iter()
        .map(|item| item.show(operation, parameter))
        .collect();
    Some(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1.36" },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "BearerToken": { "type": "apiKey", "name": "authorization", "in": "header" },
            },
        },
    }))
}

fn parameter(p: &Parameter) -> Value {
    let mut value = json!({
        "name": p.name,
        "in": if p.in_path { "path" } else { "query" },
        "schema": { "type": p.ty, "uniqueItems": true },
    });
    if p.in_path {
        value["required"] = true.into();
    }
    value
}

fn operation(o: &Operation) -> Value {
    let mut value = json!({ "operationId": o.id, "tags": [o.tag] });
    if !o.parameters.is_empty() {
        value["parameters"] = o.parameters.iter().map(parameter).collect();
    }
    if let Some(body) = &o.body {
        value["requestBody"] = json!({ "content": content(body.content_types, &body.component) });
        if body.required {
            value["requestBody"]["required"] = true.into();
        }
    }
    let mut types = vec!["application/json", "application/yaml"];
    if o.watchable {
        types.push("application/json;stream=watch");
    }
    for (code, meaning) in o.codes {
        value["responses"][code] =
            json!({ "description": meaning, "content": content(&types, &o.answer) });
    }
    value
}

fn content(types: &[&str], component: &str) -> Value {
    let schema = json!({ "schema": { "$ref": format!("{REF_PREFIX}{component}") } });
    types
        .iter()
        .map(|t| ((*t).to_owned(), schema.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::{SurfaceSet, set};

    fn references(value: &Value, found: &mut dyn FnMut(&str)) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, v)| match (key.as_str(), v) {
                ("$ref", Value::String(to)) => found(to),
                _ => references(v, found),
            }),
            Value::Array(all) => all.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }

    #[test]
    fn every_document_is_complete() {
        for which in SurfaceSet::ALL {
            for group in groups(set(which)) {
                for version in &group.versions {
                    let document = v3_document(group.name, version.name, set(which)).unwrap();
                    let schemas = document["components"]["schemas"].as_object().unwrap();
                    references(&document, &mut |to| {
                        let name = to.strip_prefix(REF_PREFIX).unwrap();
                        assert!(
                            schemas.contains_key(name),
                            "{} {}: {to}",
                            group.name,
                            version.name
                        );
                    });
                }
            }
        }
    }

    #[test]
    fn a_deployment_can_be_patched_in_four_ways_and_a_workspace_in_three() {
        let all = set(SurfaceSet::Kubernetes);
        let document = v3_document("apps", "v1", all).unwrap();
        let patch =
            &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
        assert_eq!(patch["x-kubernetes-action"], "patch");
        assert_eq!(
            patch["x-kubernetes-group-version-kind"]["kind"],
            "Deployment"
        );
        assert_eq!(patch["parameters"][2]["name"], "fieldValidation");
        assert_eq!(
            patch["requestBody"]["content"].as_object().unwrap().len(),
            4
        );
        let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"];
        assert_eq!(
            schema["properties"]["strategy"]["x-kubernetes-patch-strategy"],
            "retainKeys"
        );

        let document =
            v3_document("tenancy.kcp.io", "v1alpha1", set(SurfaceSet::Universal)).unwrap();
        let patch = &document["paths"]["/apis/tenancy.kcp.io/v1alpha1/workspaces/{name}"]["patch"];
        assert_eq!(
            patch["requestBody"]["content"].as_object().unwrap().len(),
            3
        );
        let schema = &document["components"]["schemas"]["io.kcp.tenancy.v1alpha1.Workspace"];
        assert_eq!(
            schema["x-kubernetes-group-version-kind"][0]["kind"],
            "Workspace"
        );
    }
}
