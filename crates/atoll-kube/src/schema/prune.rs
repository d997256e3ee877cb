//! Pruning: removing what a schema does not know, and saying what was removed.

use serde_json::{Map, Value};

use super::Schema;
use crate::status::{child, index};

/// What every object has, whatever its schema says.
const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Schema {
    /// Removes the fields this schema does not know from a complete object, and returns their paths
    /// (`spec.foo`, `spec.list[0].bar`), sorted. `apiVersion`, `kind` and `metadata` themselves always stay.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        if let Value::Object(fields) = object {
            map(self, fields, "", &mut unknown);
        }
        unknown.sort_unstable();
        unknown
    }

    /// Removes nulls where the schema neither allows them nor has a default to put there: to a Kubernetes server they
    /// mean the same as absence. Entries of lists stay.
    pub fn drop_nulls(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => fields.retain(|name, v| {
                let Some(schema) = self.field(name) else {
                    return true;
                };
                if v.is_null() && !schema.nullable && schema.default.is_none() {
                    return false;
                }
                schema.drop_nulls(v);
                true
            }),
            Value::Array(list) => {
                if let Some(items) = &self.items {
                    list.iter_mut().for_each(|v| items.drop_nulls(v));
                }
            }
            _ => {}
        }
    }
}

fn value(schema: Option<&Schema>, v: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match v {
        Value::Object(fields) => match schema {
            Some(schema) => map(schema, fields, path, unknown),
            None => {
                unknown.extend(fields.keys().map(|name| child(path, name)));
                fields.clear();
            }
        },
        Value::Array(list) => {
            let keep_all = schema.is_some_and(|s| s.preserve_unknown && s.items.is_none());
            if keep_all {
                return;
            }
            let items = schema.and_then(|s| s.items.as_deref());
            for (i, v) in list.iter_mut().enumerate() {
                value(items, v, &index(path, i), unknown);
            }
        }
        _ => {}
    }
}

fn map(schema: &Schema, fields: &mut Map<String, Value>, path: &str, unknown: &mut Vec<String>) {
    fields.retain(|name, v| {
        if let Some(below) = schema.field(name) {
            value(Some(below), v, &child(path, name), unknown);
            return true;
        }
        let object_field =
            (path.is_empty() || schema.embedded_resource) && OBJECT_FIELDS.contains(&name.as_str());
        if schema.preserve_unknown || object_field {
            return true;
        }
        unknown.push(child(path, name));
        false
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::compile;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(openapi: Value, mut object: Value, expected: Value, unknown: &[&str]) {
        let schema = compile::resource(&openapi).unwrap();
        assert_eq!(schema.prune(&mut object), unknown);
        assert_eq!(object, expected);
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        check(
            json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
                "a": {"type": "string"},
                "l": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}},
                "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {"type": "string"}}}},
            }}}}),
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "n", "foo": 1, "labels": {"any": "x"}},
                "spec": {"a": "1", "z": 2, "l": [{"b": "1", "y": 2}], "m": {"k": {"c": "1", "x": {}}}}, "top": 1}),
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "n", "labels": {"any": "x"}},
                "spec": {"a": "1", "l": [{"b": "1"}], "m": {"k": {"c": "1"}}}}),
            &["metadata.foo", "spec.l[0].y", "spec.m.k.x", "spec.z", "top"],
        );
    }

    #[test]
    fn preserving_starts_and_stops() {
        check(
            json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"strict": {"type": "object", "properties": {"a": {"type": "string"}}}}}}}),
            json!({"spec": {"any": {"thing": [{"x": 1}]}, "strict": {"a": "1", "b": 2}}}),
            json!({"spec": {"any": {"thing": [{"x": 1}]}, "strict": {"a": "1"}}}),
            &["spec.strict.b"],
        );
    }

    #[test]
    fn embedded_resources_keep_what_objects_have() {
        check(
            json!({"type": "object", "properties": {"e": {"type": "object", "x-kubernetes-embedded-resource": true,
                "properties": {"spec": {"type": "object"}}}}}),
            json!({"e": {"apiVersion": "v1", "kind": "Y", "metadata": {"name": "n", "bad": 1}, "other": 1}}),
            json!({"e": {"apiVersion": "v1", "kind": "Y", "metadata": {"name": "n"}}}),
            &["e.metadata.bad", "e.other"],
        );
    }

    #[test]
    fn nulls_that_mean_nothing_go() {
        let schema = compile::schema(&json!({"type": "object", "properties": {
            "a": {"type": "string"}, "n": {"type": "string", "nullable": true}, "d": {"type": "string", "default": "x"},
            "l": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}}}))
        .unwrap();
        let mut value =
            json!({"a": null, "n": null, "d": null, "u": null, "l": [{"a": null}, null]});
        schema.drop_nulls(&mut value);
        assert_eq!(
            value,
            json!({"n": null, "d": null, "u": null, "l": [{}, null]})
        );
    }

    proptest! {
        #[test]
        fn pruning_twice_is_pruning_once(keys in prop::collection::vec("[a-d]", 1..6), depth in 1..4usize) {
            let schema = compile::resource(&json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {"type": "string"}}}}}}}})).unwrap();
            let mut object = json!({});
            for key in &keys {
                let mut leaf = json!({"c": "x", "d": 1});
                for k in keys.iter().take(depth) {
                    leaf = json!({k: leaf});
                }
                object[key] = leaf;
            }
            schema.prune(&mut object);
            let once = object.clone();
            prop_assert_eq!(schema.prune(&mut object), Vec::<String>::new());
            prop_assert_eq!(object, once);
        }
    }
}
