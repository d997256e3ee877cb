//! The schemas a document needs: Kubernetes' own components, and those made from workspace definitions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::crd;
use crate::builtin::{
    API_RESOURCE_LIST, DELETE_OPTIONS, LIST_META, OBJECT_META, PATCH, REF_PREFIX, SCALE, STATUS,
    closure, component_of,
};
use crate::definition::{Definition, VersionDef};
use crate::discovery::GroupVersion;

const GVK: &str = "x-kubernetes-group-version-kind";

/// Schemas by component name, in OpenAPI v3's words.
pub(super) type Components = BTreeMap<String, Value>;

/// Whether a version's schema is one of Kubernetes' own components.
pub(super) fn is_kubernetes(version: &VersionDef) -> bool {
    version.openapi.get("$ref").is_some()
}

/// The component of a kind: `io.k8s.api.apps.v1.Deployment`, `dev.example.v1.Widget`.
pub(super) fn name(definition: &Definition, version: &VersionDef) -> String {
    let own = version.openapi.get("$ref").and_then(Value::as_str);
    if let Some(name) = own.and_then(|r| r.strip_prefix(REF_PREFIX)) {
        return name.to_owned();
    }
    let mut words: Vec<&str> = definition.group.split('.').rev().collect();
    words.retain(|word| !word.is_empty());
    words.extend([version.name.as_str(), definition.names.kind.as_str()]);
    words.join(".")
}

/// The component of a kind's list.
pub(super) fn list_name(definition: &Definition, version: &VersionDef) -> String {
    let name = name(definition, version);
    let kind = &definition.names.kind;
    let package = name.strip_suffix(kind.as_str()).unwrap_or(&name);
    format!("{package}{}", definition.names.list_kind)
}

/// Adds everything that the paths of a group version refer to.
pub(super) fn collect(version: &GroupVersion<'_>, into: &mut Components) {
    for common in [
        API_RESOURCE_LIST,
        DELETE_OPTIONS,
        LIST_META,
        OBJECT_META,
        PATCH,
        STATUS,
    ] {
        closure(common, into);
    }
    mark(into, DELETE_OPTIONS, "", "v1", "DeleteOptions");
    mark(into, STATUS, "", "v1", "Status");
    for (definition, v) in &version.resources {
        let (group, kind) = (&definition.group, &definition.names.kind);
        let own = name(definition, v);
        if is_kubernetes(v) {
            closure(&own, into);
        } else {
            into.insert(own.clone(), crd::published(&v.openapi));
        }
        mark(into, &own, group, &v.name, kind);
        if definition.allows(crate::definition::Verb::List) {
            let list = list_name(definition, v);
            into.insert(list.clone(), list_schema(&own));
            mark(into, &list, group, &v.name, &definition.names.list_kind);
        }
        if v.subresources.scale.is_some() {
            closure(SCALE, into);
            mark(into, SCALE, "autoscaling", "v1", "Scale");
        }
        for extra in &v.subresources.others {
            if let Some(component) = component_of(&extra.group, &extra.version, &extra.kind) {
                closure(component, into);
                mark(into, component, &extra.group, &extra.version, &extra.kind);
            }
        }
    }
}

/// Notes which kind a component is.
fn mark(into: &mut Components, component: &str, group: &str, version: &str, kind: &str) {
    if let Some(Value::Object(schema)) = into.get_mut(component) {
        let gvk = json!({ "group": group, "kind": kind, "version": version });
        let all = schema.entry(GVK).or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut()
            && !all.contains(&gvk)
        {
            all.push(gvk);
        }
    }
}

fn list_schema(of: &str) -> Value {
    json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "$ref": format!("{REF_PREFIX}{LIST_META}") },
            "items": { "type": "array", "items": { "$ref": format!("{REF_PREFIX}{of}") } },
        },
    })
}
