//! Version 2 (Swagger): everything in one document, for clients that do not know version 3.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::components::{self, Components};
use super::crd;
use super::operations::{self, Operation, Parameter};
use crate::definition::Definition;
use crate::discovery::groups;

/// `/openapi/v2` as JSON.
pub fn v2_document(definitions: &[Arc<Definition>]) -> Value {
    let mut schemas = Components::new();
    let mut paths = Map::new();
    for group in groups(definitions) {
        for version in &group.versions {
            components::collect(version, &mut schemas);
            let items = operations::of_group_version(group.name, version);
            paths.extend(items.iter().map(|item| item.show(operation, parameter)));
        }
    }
    for schema in schemas.values_mut() {
        // The root of an object stays an object, whatever it preserves.
        let object = schema["type"] == "object";
        crd::to_v2(schema);
        if object && let Some(fields) = schema.as_object_mut() {
            fields.insert("type".to_owned(), "object".into());
            fields.remove("x-kubernetes-preserve-unknown-fields");
        }
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": "v1.36" },
        "paths": paths,
        "definitions": schemas,
        "securityDefinitions": {
            "BearerToken": { "type": "apiKey", "name": "authorization", "in": "header" },
        },
        "security": [{ "BearerToken": [] }],
    })
}

fn parameter(p: &Parameter) -> Value {
    let mut value = json!({
        "name": p.name,
        "in": if p.in_path { "path" } else { "query" },
        "type": p.ty,
        "uniqueItems": true,
    });
    if p.in_path {
        value["required"] = true.into();
    }
    value
}

fn operation(o: &Operation) -> Value {
    let mut produces = vec!["application/json", "application/yaml"];
    if o.watchable {
        produces.push("application/json;stream=watch");
    }
    let consumes = o.body.as_ref().map_or(&["*/*"][..], |b| b.content_types);
    let mut value = json!({
        "operationId": o.id,
        "tags": [o.tag],
        "schemes": ["https"],
        "consumes": consumes,
        "produces": produces,
    });
    let reference = |component: &str| json!({ "$ref": format!("#/definitions/{component}") });
    let mut parameters = Vec::new();
    if let Some(body) = &o.body {
        let mut parameter =
            json!({ "name": "body", "in": "body", "schema": reference(&body.component) });
        if body.required {
            parameter["required"] = true.into();
        }
        parameters.push(parameter);
    }
    parameters.extend(o.parameters.iter().map(parameter));
    if !parameters.is_empty() {
        value["parameters"] = Value::Array(parameters);
    }
    for (code, meaning) in o.codes {
        value["responses"][code] =
            json!({ "description": meaning, "schema": reference(&o.answer) });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::{SurfaceSet, set};

    #[test]
    fn the_document_holds_every_kind_in_version_two_words() {
        let document = v2_document(set(SurfaceSet::Kubernetes));
        let definitions = document["definitions"].as_object().unwrap();
        let spec = &definitions["io.k8s.api.apps.v1.DeploymentSpec"]["properties"];
        assert_eq!(
            spec["strategy"],
            json!({"$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy", "x-kubernetes-patch-strategy": "retainKeys"})
        );
        let quantity = &definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"];
        assert_eq!(quantity, &json!({"type": "string"}));
        let text = document.to_string();
        assert!(!text.contains("#/components/") && !text.contains("\"oneOf\":["));
        let pods = &document["paths"]["/api/v1/namespaces/{namespace}/pods"]["post"];
        assert_eq!(pods["parameters"][0]["in"], "body");
    }
}
