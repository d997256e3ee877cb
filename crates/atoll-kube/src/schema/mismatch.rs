//! Where an object of a built-in kind cannot be decoded: the first value of a wrong JSON type, said the way a Kubernetes
//! server (a Go program with typed structures) says it.

use serde_json::Value;

use super::numbers::as_integer;
use super::{JsonType, Schema};
use crate::builtin::QUANTITY;
use crate::quantity::Quantity;
use crate::status::{child, index};

impl Schema {
    /// Why `object` is no object of this kind at all, or `None` if every value has a possible type. Nulls always have.
    pub fn mismatch(&self, object: &Value, kind: &str) -> Option<String> {
        find(self, object, kind, "")
    }
}

fn find(schema: &Schema, value: &Value, kind: &str, path: &str) -> Option<String> {
    if schema.format == QUANTITY && !value.is_null() {
        return Quantity::from_value(value).err();
    }
    let (found, fits) = fit(schema, value);
    if !fits {
        let place = child(kind, path);
        let place = place.trim_end_matches('.');
        return Some(format!(
            "json: cannot unmarshal {found} into Go struct field {place} of type {}",
            go_type(schema)
        ));
    }
    match value {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, v)| find(schema.field(name)?, v, kind, &child(path, name))),
        Value::Array(list) => {
            let items = schema.items.as_deref()?;
            let mut entries = list.iter().enumerate();
            entries.find_map(|(i, v)| find(items, v, kind, &index(path, i)))
        }
        _ => None,
    }
}

/// What Go calls the value, and whether it can stand here.
fn fit(schema: &Schema, value: &Value) -> (String, bool) {
    let wants = |ty: JsonType| schema.ty.is_none() || schema.ty == Some(ty);
    match value {
        Value::Null => (String::new(), true),
        Value::Bool(_) => (
            "bool".to_owned(),
            !schema.int_or_string && wants(JsonType::Boolean),
        ),
        Value::String(_) => (
            "string".to_owned(),
            schema.int_or_string || wants(JsonType::String),
        ),
        Value::Array(_) => (
            "array".to_owned(),
            !schema.int_or_string && wants(JsonType::Array),
        ),
        Value::Object(_) => (
            "object".to_owned(),
            !schema.int_or_string && wants(JsonType::Object),
        ),
        Value::Number(n) => {
            let integer = as_integer(n);
            let small = |i: i128| match schema.format.as_str() {
                "int32" | "int-or-string" => i32::try_from(i).is_ok(),
                _ => i64::try_from(i).is_ok(),
            };
            let fits = if schema.int_or_string || schema.ty == Some(JsonType::Integer) {
                integer.is_some_and(small)
            } else {
                wants(JsonType::Number)
            };
            let exact = matches!(schema.ty, Some(JsonType::Integer)) || schema.int_or_string;
            (
                if exact {
                    format!("number {n}")
                } else {
                    "number".to_owned()
                },
                fits,
            )
        }
    }
}

fn go_type(schema: &Schema) -> &'static str {
    if schema.int_or_string {
        return "intstr.IntOrString";
    }
    match schema.ty {
        Some(JsonType::Integer) if schema.format == "int32" => "int32",
        Some(JsonType::Integer) => "int64",
        Some(JsonType::Number) => "float64",
        Some(JsonType::Boolean) => "bool",
        Some(JsonType::Array) => "[]interface {}",
        Some(JsonType::Object) => "map[string]interface {}",
        Some(JsonType::String) | None => "string",
    }
}

#[cfg(test)]
mod tests {
    use crate::builtin::kind_schema;
    use serde_json::{Value, json};

    #[test]
    fn the_first_wrong_type_is_named() {
        let schema = kind_schema("apps", "v1", "Deployment").unwrap();
        let check = |object: Value, expected: Option<&str>| {
            assert_eq!(
                schema.mismatch(&object, "Deployment").as_deref(),
                expected,
                "{object}"
            );
        };
        check(
            json!({"metadata": {"name": "a"}, "spec": {"replicas": 3, "paused": null}}),
            None,
        );
        check(
            json!({"spec": {"replicas": "3"}}),
            Some(
                "json: cannot unmarshal string into Go struct field Deployment.spec.replicas of type int32",
            ),
        );
        check(
            json!({"spec": {"replicas": 3_000_000_000i64}}),
            Some(
                "json: cannot unmarshal number 3000000000 into Go struct field Deployment.spec.replicas of type int32",
            ),
        );
        check(
            json!({"metadata": {"labels": {"a": 1}}}),
            Some(
                "json: cannot unmarshal number into Go struct field Deployment.metadata.labels.a of type string",
            ),
        );
        check(
            json!({"spec": {"template": {"spec": {"containers": {"name": "a"}}}}}),
            Some(
                "json: cannot unmarshal object into Go struct field Deployment.spec.template.spec.containers of type []interface {}",
            ),
        );
        check(
            json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}}}),
            Some(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
        );
        check(
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": "25%"}}}}),
            None,
        );
    }
}
