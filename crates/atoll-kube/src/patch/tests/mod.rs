//! Strategic merge patch and server-side apply as tables, on one made-up kind that has every sort of list and map.

mod apply;
mod hostile;
mod native;
mod properties;
mod strategic;
mod update;
mod upstream;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::managed::Write;
use crate::schema::Schema;
use crate::time::Timestamp;

/// A kind with every sort of list and map.
static THING: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let openapi = serde_json::from_str(include_str!("thing.json")).unwrap();
    Arc::new(with_structs(
        &Schema::from_openapi(&openapi, false).unwrap(),
    ))
});

/// The same schema, with what is `{}` by default taken for structs, as the built-in kinds' schemas have them.
fn with_structs(schema: &Schema) -> Schema {
    let mut schema = schema.clone();
    schema.always_there = schema.default == Some(json!({}));
    for field in schema.properties.values_mut() {
        *field = with_structs(field).into();
    }
    schema
}

/// No schema at all.
static FREE: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    Schema::from_openapi(
        &json!({"x-kubernetes-preserve-unknown-fields": true}),
        false,
    )
    .unwrap()
});

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
