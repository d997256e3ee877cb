//! Strategic merge patch and server-side apply as tables, on one made-up kind that has every sort of list and map.

mod apply;
mod properties;
mod strategic;
mod update;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::managed::Write;
use crate::schema::{JsonType, ListType, MapType, PatchStrategy, Schema, SchemaRef};
use crate::time::Timestamp;

/// A schema from the few OpenAPI words that merging looks at.
fn schema(openapi: &Value) -> Schema {
    let text = |name: &str| {
        openapi
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let strings = |name: &str| -> Vec<String> {
        let list = openapi.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let link = |value: &Value| SchemaRef::new(schema(value));
    let properties: BTreeMap<_, _> = openapi
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), link(value)))
        .collect();
    let strategies: Vec<_> = text("x-kubernetes-patch-strategy").split(',').collect();
    Schema {
        ty: match text("type") {
            "object" => Some(JsonType::Object),
            "array" => Some(JsonType::Array),
            "string" => Some(JsonType::String),
            "integer" => Some(JsonType::Integer),
            "boolean" => Some(JsonType::Boolean),
            _ => None,
        },
        properties,
        additional: openapi.get("additionalProperties").map(link),
        items: openapi.get("items").map(link),
        required: strings("required"),
        default: openapi.get("default").cloned(),
        preserve_unknown: openapi
            .get("x-kubernetes-preserve-unknown-fields")
            .is_some(),
        list_type: match text("x-kubernetes-list-type") {
            "set" => ListType::Set,
            "map" => ListType::Map(strings("x-kubernetes-list-map-keys")),
            _ => ListType::Atomic,
        },
        map_type: match text("x-kubernetes-map-type") {
            "atomic" => MapType::Atomic,
            _ => MapType::Granular,
        },
        patch: PatchStrategy {
            merge: strategies.contains(&"merge"),
            retain_keys: strategies.contains(&"retainKeys"),
            replace: strategies.contains(&"replace"),
            merge_key: Some(text("x-kubernetes-patch-merge-key"))
                .filter(|k| !k.is_empty())
                .map(str::to_owned),
        },
        ..Schema::default()
    }
}

/// A kind with every sort of list and map.
static THING: LazyLock<Schema> =
    LazyLock::new(|| schema(&serde_json::from_str(include_str!("thing.json")).unwrap()));

/// No schema at all.
static FREE: LazyLock<Schema> =
    LazyLock::new(|| schema(&json!({"x-kubernetes-preserve-unknown-fields": true})));

/// A write of a Thing at second `second`.
fn write(manager: &str, second: i64) -> Write<'_> {
    Write {
        api_version: "test.io/v1",
        kind: "Thing",
        schema: &THING,
        native: true,
        has_status: true,
        subresource: "",
        manager,
        now: Timestamp::parse("2026-01-01T00:00:00Z")
            .unwrap()
            .plus(std::time::Duration::from_secs(second.unsigned_abs())),
    }
}

/// A Thing with this spec.
fn thing(spec: Value) -> Value {
    json!({"apiVersion": "test.io/v1", "kind": "Thing", "metadata": {"name": "x", "namespace": "ns"}, "spec": spec})
}

/// A stored Thing: with a uid and without a record.
fn stored(spec: Value) -> Value {
    let mut object = thing(spec);
    object["metadata"]["uid"] = json!("u");
    object
}

/// Who owns what: `manager operation[/subresource]` and the fields.
fn owners(object: &Value) -> BTreeMap<String, Value> {
    let record = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let name = |entry: &Value| {
        let text = |name: &str| {
            entry
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let subresource = entry
            .get("subresource")
            .map(|s| format!("/{}", s.as_str().unwrap()))
            .unwrap_or_default();
        format!("{} {}{subresource}", text("manager"), text("operation"))
    };
    record
        .into_iter()
        .flatten()
        .map(|entry| (name(entry), entry["fieldsV1"].clone()))
        .collect()
}

/// The same, of `spec` only.
fn spec_owners(object: &Value) -> BTreeMap<String, Value> {
    owners(object)
        .into_iter()
        .map(|(name, fields)| (name, fields["f:spec"].clone()))
        .collect()
}
