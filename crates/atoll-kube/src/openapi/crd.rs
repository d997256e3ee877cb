//! A workspace definition's schema as it is published: in version 3 nearly as written, in version 2 without all that
//! version 2 cannot say.

use serde_json::{Map, Value, json};

use crate::builtin::{OBJECT_META, REF_PREFIX};

const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// The schema in OpenAPI v3, with the fields that every object has.
pub(super) fn published(written: &Value) -> Value {
    let mut schema = written.clone();
    walk(&mut schema);
    object_fields(&mut schema);
    schema
}

fn object_fields(schema: &mut Value) {
    if !schema.is_object() {
        *schema = json!({ "type": "object" });
    }
    let properties = &mut schema["properties"];
    if !properties.is_object() {
        *properties = json!({});
    }
    for (field, leaf) in [
        ("apiVersion", json!({ "type": "string" })),
        ("kind", json!({ "type": "string" })),
        (
            "metadata",
            json!({ "$ref": format!("{REF_PREFIX}{OBJECT_META}") }),
        ),
    ] {
        properties[field] = leaf;
    }
}

fn walk(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    each_below(fields, walk);
    if fields.get(INT_OR_STRING) == Some(&Value::Bool(true)) && !fields.contains_key("anyOf") {
        fields.insert(
            "anyOf".to_owned(),
            json!([{ "type": "integer" }, { "type": "string" }]),
        );
    }
    if fields.get(EMBEDDED) == Some(&Value::Bool(true)) {
        object_fields(schema);
        schema["required"] = json!(["apiVersion", "kind"]);
    }
}

fn each_below(fields: &mut Map<String, Value>, mut each: impl FnMut(&mut Value)) {
    for key in ["items", "additionalProperties"] {
        if let Some(below) = fields.get_mut(key) {
            each(below);
        }
    }
    if let Some(Value::Object(all)) = fields.get_mut("properties") {
        all.values_mut().for_each(each);
    }
}

/// Turns a version 3 schema into version 2's words, in place.
pub(super) fn to_v2(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    if let Some(to) = single_reference(fields) {
        // Version 2 has siblings of `$ref` where version 3 wraps it.
        fields.remove("allOf");
        fields.remove("default");
        let name = to.trim_start_matches(REF_PREFIX);
        fields.insert("$ref".to_owned(), json!(format!("#/definitions/{name}")));
        return;
    }
    let alternatives = fields.remove("oneOf").is_some();
    for word in ["anyOf", "allOf", "not", "default"] {
        fields.remove(word);
    }
    let nullable = fields.remove("nullable").is_some_and(|n| n == true);
    let int_or_string = fields.get(INT_OR_STRING) == Some(&Value::Bool(true));
    if fields.get(PRESERVE) == Some(&Value::Bool(true)) {
        // kubectl refuses unknown fields wherever it sees properties.
        for word in [
            "type",
            "properties",
            "items",
            "additionalProperties",
            "required",
        ] {
            fields.remove(word);
        }
    } else if nullable {
        for word in ["type", "properties", "items", "additionalProperties"] {
            fields.remove(word);
        }
    } else if int_or_string {
        fields.remove("type");
    } else if alternatives {
        // Kubernetes' quantities and int-or-strings.
        fields.insert("type".to_owned(), "string".into());
    }
    each_below(fields, to_v2);
}

fn single_reference(fields: &Map<String, Value>) -> Option<String> {
    let direct = fields.get("$ref");
    let wrapped = fields.get("allOf").and_then(|all| all.get(0)?.get("$ref"));
    direct.or(wrapped)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_published_with_the_fields_all_have() {
        let written = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"port": {INT_OR_STRING: true}}},
            "template": {"type": "object", EMBEDDED: true, PRESERVE: true},
        }});
        let schema = published(&written);
        assert_eq!(
            schema["properties"]["metadata"]["$ref"],
            format!("{REF_PREFIX}{OBJECT_META}")
        );
        assert_eq!(
            schema["properties"]["spec"]["properties"]["port"]["anyOf"][1]["type"],
            "string"
        );
        assert_eq!(
            schema["properties"]["template"]["required"],
            json!(["apiVersion", "kind"])
        );
    }

    #[test]
    fn version_two_says_less() {
        let rows = [
            (
                json!({"type": "object", PRESERVE: true, "properties": {"a": {}}}),
                json!({PRESERVE: true}),
            ),
            (json!({"type": "string", "nullable": true}), json!({})),
            (
                json!({INT_OR_STRING: true, "anyOf": []}),
                json!({INT_OR_STRING: true}),
            ),
            (
                json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
                json!({"type": "string"}),
            ),
            (
                json!({"allOf": [{"$ref": "#/components/schemas/a.B"}], "x-kubernetes-patch-strategy": "retainKeys"}),
                json!({"$ref": "#/definitions/a.B", "x-kubernetes-patch-strategy": "retainKeys"}),
            ),
            (
                json!({"type": "array", "items": {"type": "integer", "default": 1}}),
                json!({"type": "array", "items": {"type": "integer"}}),
            ),
        ];
        for (mut schema, expected) in rows {
            to_v2(&mut schema);
            assert_eq!(schema, expected);
        }
    }
}
