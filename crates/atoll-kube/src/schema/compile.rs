//! From OpenAPI v3 text to a [`Schema`].
//!
//! Lenient where a document says nothing we use; refuses only what would make a schema meaningless. Whether a custom
//! resource's schema is *allowed* is [`super::structural`]'s question.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::object_meta::object_meta;
use super::{
    JsonType, ListType, MapType, NumberRules, PatchStrategy, Pattern, Rules, Schema, SchemaRef,
};
use crate::status::{FieldError, child, index, key};

/// Compiles one schema that refers to no other.
pub fn schema(openapi: &Value) -> Result<Schema, Vec<FieldError>> {
    let mut errors = Vec::new();
    let schema = node(openapi, "", &mut errors);
    if errors.is_empty() {
        Ok(schema)
    } else {
        Err(errors)
    }
}

/// Compiles the schema of a whole custom resource: what every object has is added.
pub(crate) fn resource(openapi: &Value) -> Result<Schema, Vec<FieldError>> {
    let mut root = schema(openapi)?;
    add_object_fields(&mut root);
    root.ty.get_or_insert(JsonType::Object);
    Ok(root)
}

/// `apiVersion`, `kind` and the one schema of `metadata`, narrowed by what the schema says about names.
fn add_object_fields(node: &mut Schema) {
    let text = || {
        SchemaRef::new(Schema {
            ty: Some(JsonType::String),
            ..Schema::default()
        })
    };
    for name in ["apiVersion", "kind"] {
        node.properties.entry(name.to_owned()).or_insert_with(text);
    }
    let own = node.properties.get("metadata");
    let narrowed: Vec<(String, SchemaRef)> = own
        .into_iter()
        .flat_map(|m| m.properties.iter())
        .filter(|(_, s)| s.rules.is_some())
        .map(|(n, s)| (n.clone(), s.clone()))
        .collect();
    let metadata = if narrowed.is_empty() {
        object_meta()
    } else {
        let mut metadata = (*object_meta()).clone();
        metadata.properties.extend(narrowed);
        metadata.into()
    };
    node.properties.insert("metadata".to_owned(), metadata);
}

fn node(openapi: &Value, path: &str, errors: &mut Vec<FieldError>) -> Schema {
    let Some(fields) = openapi.as_object() else {
        if !openapi.is_boolean() {
            errors.push(FieldError::type_invalid(
                path,
                openapi.clone(),
                "must be a schema",
            ));
        }
        return Schema::default();
    };
    let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or(false);
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut below = |name: &str, at: String| {
        fields
            .get(name)
            .map(|s| SchemaRef::new(node(s, &at, errors)))
    };
    let items = below("items", child(path, "items"));
    let additional = match fields.get("additionalProperties") {
        Some(Value::Bool(false)) => None,
        // Values nothing is said about: nulls stay, fields inside them are unknown.
        Some(Value::Bool(true)) => Some(SchemaRef::new(Schema {
            nullable: true,
            ..Schema::default()
        })),
        _ => below("additionalProperties", child(path, "additionalProperties")),
    };
    let properties: BTreeMap<String, SchemaRef> = fields
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, s)| {
            let at = key(&child(path, "properties"), name);
            (name.clone(), SchemaRef::new(node(s, &at, errors)))
        })
        .collect();
    let list_type = list_type(fields);
    let mut out = Schema {
        ty: json_type(text("type")),
        nullable: flag("nullable"),
        int_or_string: flag("x-kubernetes-int-or-string") || text("format") == "int-or-string",
        preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        embedded_resource: flag("x-kubernetes-embedded-resource"),
        required: texts(fields.get("required")),
        default: fields.get("default").filter(|d| !d.is_null()).cloned(),
        always_there: false,
        format: text("format").to_owned(),
        unique_entries: list_type != ListType::Atomic,
        list_type,
        map_type: match text("x-kubernetes-map-type") {
            "atomic" => MapType::Atomic,
            _ => MapType::Granular,
        },
        patch: patch_strategy(
            text("x-kubernetes-patch-strategy"),
            text("x-kubernetes-patch-merge-key"),
        ),
        rules: rules(fields, path, errors).map(Box::new),
        properties,
        additional,
        items,
        has_defaults: false,
    };
    if out.embedded_resource {
        add_object_fields(&mut out);
    }
    out.has_defaults = out.default.is_some()
        || out
            .properties
            .values()
            .chain(&out.additional)
            .chain(&out.items)
            .any(|s| s.has_defaults);
    out
}

fn json_type(name: &str) -> Option<JsonType> {
    Some(match name {
        "object" => JsonType::Object,
        "array" => JsonType::Array,
        "string" => JsonType::String,
        "integer" => JsonType::Integer,
        "number" => JsonType::Number,
        "boolean" => JsonType::Boolean,
        _ => return None,
    })
}

fn texts(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn list_type(fields: &Map<String, Value>) -> ListType {
    let keys = texts(fields.get("x-kubernetes-list-map-keys"));
    match fields.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(keys),
        _ => ListType::Atomic,
    }
}

fn patch_strategy(strategy: &str, merge_key: &str) -> PatchStrategy {
    let has = |word| strategy.split(',').any(|s| s.trim() == word);
    PatchStrategy {
        merge: has("merge"),
        retain_keys: has("retainKeys"),
        replace: has("replace"),
        merge_key: (!merge_key.is_empty()).then(|| merge_key.to_owned()),
    }
}

/// The rarer rules; `None` where there are none.
fn rules(fields: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) -> Option<Rules> {
    const RARE: [&str; 19] = [
        "enum",
        "minimum",
        "exclusiveMinimum",
        "maximum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "x-kubernetes-int-or-string",
    ];
    if !RARE.iter().any(|name| fields.contains_key(*name)) {
        return None;
    }
    let number =
        |name: &str| -> Option<Number> { fields.get(name).and_then(Value::as_number).cloned() };
    let count = |name: &str| fields.get(name).and_then(Value::as_u64);
    let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or(false);
    let mut all = |name: &str| -> Vec<SchemaRef> {
        let list = fields.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .enumerate()
            .map(|(i, s)| SchemaRef::new(node(s, &index(&child(path, name), i), errors)))
            .collect()
    };
    let (all_of, any_of, one_of) = (all("allOf"), all("anyOf"), all("oneOf"));
    let not = fields
        .get("not")
        .map(|s| SchemaRef::new(node(s, &child(path, "not"), errors)));
    Some(Rules {
        enumeration: fields
            .get("enum")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        number: NumberRules {
            minimum: number("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            maximum: number("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
        },
        min_length: count("minLength"),
        max_length: count("maxLength"),
        pattern: fields
            .get("pattern")
            .and_then(Value::as_str)
            .map(Pattern::new),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: flag("uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        all_of,
        any_of,
        one_of,
        not,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_is_compiled_field_by_field() {
        let compiled = schema(&json!({
            "type": "object", "required": ["a"],
            "properties": {
                "a": {"type": "string", "default": "x", "pattern": "^x"},
                "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}},
                "m": {"type": "object", "additionalProperties": {"type": "integer"}},
                "p": {"x-kubernetes-int-or-string": true},
            }}))
        .unwrap();
        assert_eq!(compiled.required, ["a"]);
        assert!(compiled.has_defaults);
        assert_eq!(
            compiled.properties["l"].list_type,
            ListType::Map(vec!["k".to_owned()])
        );
        assert!(compiled.properties["l"].unique_entries);
        assert!(compiled.properties["m"].is_map() && !compiled.properties["m"].has_defaults);
        assert!(compiled.properties["p"].int_or_string);
        assert!(
            compiled.properties["a"]
                .rules
                .as_ref()
                .unwrap()
                .pattern
                .as_ref()
                .unwrap()
                .matches("xy")
        );
        assert!(schema(&json!({"properties": {"a": 3}})).is_err());
    }

    #[test]
    fn a_resource_has_what_every_object_has() {
        let compiled = resource(&json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}}}})).unwrap();
        let metadata = &compiled.properties["metadata"];
        assert!(metadata.properties.contains_key("ownerReferences"));
        assert_eq!(
            metadata.properties["name"]
                .rules
                .as_ref()
                .unwrap()
                .max_length,
            Some(3)
        );
        assert!(compiled.properties.contains_key("kind"));
    }
}
