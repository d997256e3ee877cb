//! Reads `data/kubernetes-1.36.facts`: what Kubernetes says about its own kinds.
//!
//! The text stays in the binary's read-only pages. Only the resource lines are parsed (once, on first use); a component
//! is found by name and parsed when a schema or a document needs it, and nothing of it is kept here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

static TEXT: &str = include_str!("data/kubernetes-1.36.facts");

/// Where a component's name stands in an OpenAPI v3 document.
pub(crate) const REF_PREFIX: &str = "#/components/schemas/";

/// The component of every kind's `metadata`.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// The component of every list's `metadata`.
pub(crate) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/// The component of a delete's body.
pub(crate) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
/// The component of a patch's body.
pub(crate) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
/// The component of errors and of answers without an object.
pub(crate) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
/// The component of a group version's plain discovery.
pub(crate) const API_RESOURCE_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
/// The component of the scale subresource.
pub(crate) const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// One resource at one version, as its cluster's discovery and tables describe it.
#[derive(Debug, Deserialize)]
pub(crate) struct ResourceFact {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) kind: String,
    pub(crate) component: String,
    #[serde(default)]
    pub(crate) singular: String,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
    #[serde(default)]
    pub(crate) short: Vec<String>,
    #[serde(default)]
    pub(crate) categories: Vec<String>,
    #[serde(default)]
    pub(crate) subresources: Vec<SubresourceFact>,
    #[serde(default)]
    pub(crate) columns: Vec<ColumnFact>,
}

/// A subresource; one that `connect`s is a byte stream and has no schema.
#[derive(Debug, Deserialize)]
pub(crate) struct SubresourceFact {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) verbs: Vec<String>,
    pub(crate) group: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) component: Option<String>,
    #[serde(default)]
    pub(crate) connect: bool,
}

/// A printed column: heading, type, format, priority.
#[derive(Debug, Deserialize)]
pub(crate) struct ColumnFact(
    pub(crate) String,
    pub(crate) String,
    #[serde(default)] pub(crate) String,
    #[serde(default)] pub(crate) i32,
);

struct Facts {
    resources: Vec<ResourceFact>,
    wires: BTreeMap<&'static str, &'static str>,
    components: BTreeMap<&'static str, Component>,
}

struct Component {
    text: &'static str,
    reported: bool,
}

static FACTS: LazyLock<Facts> = LazyLock::new(|| {
    let (mut resources, mut components) = (Vec::new(), BTreeMap::new());
    let mut wires = BTreeMap::new();
    for line in TEXT.lines() {
        if let Some(fact) = line.strip_prefix("resource ") {
            // A line that does not parse is caught by a test over the checked-in file.
            resources.extend(serde_json::from_str(fact).ok());
        } else if let Some((word, name, text)) = component_line(line) {
            if word == "wire" {
                wires.insert(name, text);
            } else {
                let reported = word == "reported";
                components.insert(name, Component { text, reported });
            }
        }
    }
    Facts {
        resources,
        wires,
        components,
    }
});

fn component_line(line: &'static str) -> Option<(&'static str, &'static str, &'static str)> {
    let (word, rest) = line.split_once(' ')?;
    let (name, text) = rest.split_once(' ')?;
    matches!(word, "component" | "reported" | "wire").then_some((word, name, text))
}

/// Every resource version, groups and versions in the order in which a cluster lists them.
pub(crate) fn resources() -> &'static [ResourceFact] {
    &FACTS.resources
}

/// A component as the file has it, shorthands and all; `None` for an unknown name.
pub(crate) fn component(name: &str) -> Option<Value> {
    serde_json::from_str(FACTS.components.get(name)?.text).ok()
}

/// A component's protobuf fields, as the file has them: `1:metadata 2:spec! 3:replicas* 4:+<component>`.
pub(crate) fn wire(name: &str) -> Option<&'static str> {
    FACTS.wires.get(name).copied()
}

/// Whether only a kind's status refers to this component: such fields are never demanded of a writer.
pub(crate) fn is_reported(name: &str) -> bool {
    FACTS.components.get(name).is_some_and(|c| c.reported)
}

/// A component in OpenAPI v3's own words, references pointing into `#/components/schemas/`.
pub(crate) fn openapi(name: &str) -> Option<Value> {
    component(name).map(|short| expand(&short))
}

/// Writes the shorthands out: `"string"`, `"integer/int32"`, `"@name"` and `"&name"`.
fn expand(short: &Value) -> Value {
    let fields = match short {
        Value::String(leaf) => return expand_leaf(leaf),
        Value::Object(fields) => fields,
        other => return other.clone(),
    };
    let mut full = Map::new();
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("properties", Value::Object(all)) => {
                let all = all.iter().map(|(name, s)| (name.clone(), expand(s)));
                full.insert(key.clone(), all.collect());
            }
            ("oneOf", Value::Array(all)) => {
                full.insert(key.clone(), all.iter().map(expand).collect());
            }
            ("items" | "additionalProperties", _) => {
                full.insert(key.clone(), expand(value));
            }
            ("$ref", Value::String(name)) => {
                // A reference with neighbours is wrapped, since OpenAPI ignores what stands beside `$ref`.
                match name.strip_prefix('&') {
                    Some(name) => {
                        full.insert("default".to_owned(), json!({}));
                        full.insert("allOf".to_owned(), json!([reference(name)]));
                    }
                    None => {
                        full.insert("allOf".to_owned(), json!([expand_leaf(name)]));
                    }
                }
            }
            _ => {
                full.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(full)
}

fn expand_leaf(leaf: &str) -> Value {
    if let Some(name) = leaf.strip_prefix('@') {
        return reference(name);
    }
    if let Some(name) = leaf.strip_prefix('&') {
        return json!({ "default": {}, "allOf": [reference(name)] });
    }
    match leaf.split_once('/') {
        Some((kind, format)) => json!({ "type": kind, "format": format }),
        None => json!({ "type": leaf }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REF_PREFIX}{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(schema: &Value, found: &mut dyn FnMut(&str)) {
        match schema {
            Value::String(s) => s.strip_prefix(['@', '&']).into_iter().for_each(found),
            Value::Array(all) => all.iter().for_each(|s| references(s, found)),
            Value::Object(all) => all.values().for_each(|s| references(s, found)),
            _ => {}
        }
    }

    #[test]
    fn every_line_parses_and_every_reference_resolves() {
        let resources = TEXT.lines().filter(|l| l.starts_with("resource "));
        assert_eq!(resources.count(), FACTS.resources.len());
        for (name, component) in &FACTS.components {
            let schema: Value =
                serde_json::from_str(component.text).unwrap_or_else(|e| panic!("{name}: {e}"));
            references(&schema, &mut |to| {
                assert!(FACTS.components.contains_key(to), "{name} refers to {to}");
            });
        }
        for r in resources_and_subresources() {
            assert!(FACTS.components.contains_key(r), "no component {r}");
        }
    }

    fn resources_and_subresources() -> impl Iterator<Item = &'static str> {
        resources().iter().flat_map(|r| {
            let subs = r.subresources.iter().filter_map(|s| s.component.as_deref());
            std::iter::once(r.component.as_str()).chain(subs)
        })
    }

    #[test]
    fn shorthands_are_written_out() {
        let rows = [
            (json!("string"), json!({"type": "string"})),
            (
                json!("integer/int32"),
                json!({"type": "integer", "format": "int32"}),
            ),
            (json!("@a.B"), json!({"$ref": "#/components/schemas/a.B"})),
            (
                json!("&a.B"),
                json!({"default": {}, "allOf": [{"$ref": "#/components/schemas/a.B"}]}),
            ),
            (
                json!({"$ref": "@a.B", "x-kubernetes-patch-strategy": "retainKeys"}),
                json!({"allOf": [{"$ref": "#/components/schemas/a.B"}], "x-kubernetes-patch-strategy": "retainKeys"}),
            ),
            (
                json!({"type": "object", "properties": {"type": "string", "$ref": "boolean"}}),
                json!({"type": "object", "properties": {"type": {"type": "string"}, "$ref": {"type": "boolean"}}}),
            ),
        ];
        for (short, full) in rows {
            assert_eq!(expand(&short), full);
        }
    }
}
