//! What is found, and in which words.

use super::*;
use crate::schema::compile;
use serde_json::json;

fn check(field: Value, value: Value, expected: &[&str]) {
    let openapi = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": field}}}});
    let schema = compile::schema(&openapi).unwrap();
    let object = json!({"spec": {"x": value}});
    let found: Vec<String> = schema
        .validate(&object, "")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, expected, "{openapi}");
}

#[test]
fn types() {
    check(json!({"type": "integer"}), json!(3), &[]);
    check(json!({"type": "integer"}), json!(3.0), &[]);
    check(
        json!({"type": "integer"}),
        json!("3"),
        &["spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\""],
    );
    check(
        json!({"type": "string"}),
        json!(null),
        &["spec.x: Invalid value: \"null\": spec.x in body must be of type string: \"null\""],
    );
    check(
        json!({"type": "string", "nullable": true}),
        json!(null),
        &[],
    );
    check(json!({"type": "number"}), json!(1), &[]);
    check(
        json!({"x-kubernetes-int-or-string": true}),
        json!("25%"),
        &[],
    );
    check(
        json!({"x-kubernetes-int-or-string": true}),
        json!(true),
        &[
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
        ],
    );
    check(
        json!({"type": "integer", "format": "int32"}),
        json!(3_000_000_000i64),
        &[
            "spec.x: Invalid value: 3000000000: Checked value must be of type integer with format int32 in spec.x",
        ],
    );
}

#[test]
fn scalar_rules() {
    check(
        json!({"type": "integer", "minimum": 1, "maximum": 5}),
        json!(0),
        &["spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1"],
    );
    check(
        json!({"type": "integer", "maximum": 5, "exclusiveMaximum": true, "multipleOf": 2}),
        json!(5),
        &[
            "spec.x: Invalid value: 5: spec.x in body should be a multiple of 2",
            "spec.x: Invalid value: 5: spec.x in body should be less than 5",
        ],
    );
    check(
        json!({"type": "string", "maxLength": 2, "pattern": "^a"}),
        json!("bbb"),
        &["spec.x: Too long: may not be more than 2 bytes"],
    );
    check(
        json!({"type": "string", "maxLength": 2, "pattern": "^a"}),
        json!("bb"),
        &["spec.x: Invalid value: \"bb\": spec.x in body should match '^a'"],
    );
    check(
        json!({"type": "string", "minLength": 2}),
        json!("é"),
        &["spec.x: Invalid value: \"é\": spec.x in body should be at least 2 chars long"],
    );
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!("c"),
        &["spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\""],
    );
    check(
        json!({"type": "string", "format": "ipv4"}),
        json!("x"),
        &["spec.x: Invalid value: \"x\": spec.x in body must be of type ipv4: \"x\""],
    );
}

#[test]
fn lists_and_maps() {
    check(
        json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
        json!(["a", 1]),
        &[
            "spec.x[1]: Invalid value: \"integer\": spec.x[1] in body must be of type string: \"integer\"",
            "spec.x: Too many: 2: must have at most 1 item",
        ],
    );
    check(
        json!({"type": "array", "minItems": 2, "items": {"type": "string"}}),
        json!(["a"]),
        &["spec.x: Invalid value: 1: spec.x in body should have at least 2 items"],
    );
    check(
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
        json!(["a", "b", "a", "a"]),
        &["spec.x[2]: Duplicate value: \"a\""],
    );
    check(
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "p"], "items": {"type": "object"}}),
        json!([{"k": 1, "p": 2}, {"k": 1, "p": 3}, {"p": 2, "k": 1, "z": 1}]),
        &["spec.x[2]: Duplicate value: {\"k\":1,\"p\":2}"],
    );
    check(
        json!({"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}, "maxProperties": 1}),
        json!({"b": 1, "c": "d"}),
        &[
            "spec.x: Too many: 2: must have at most 1 item",
            "spec.x.c: Invalid value: \"string\": spec.x.c in body must be of type integer: \"string\"",
            "spec.x.a: Required value",
        ],
    );
    check(
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
        json!({"kind": ""}),
        &[
            "spec.x.apiVersion: Required value",
            "spec.x.kind: Invalid value: \"\": must not be empty",
        ],
    );
}

#[test]
fn alternatives_name_the_schema_words() {
    let one_of = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"type": "string"}, "b": {"type": "string"}}});
    check(one_of.clone(), json!({"a": ""}), &[]);
    check(
        one_of.clone(),
        json!({}),
        &[
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found none valid",
            "spec.x.a: Required value",
        ],
    );
    check(
        one_of,
        json!({"a": "", "b": ""}),
        &[
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ],
    );
    check(
        json!({"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 1}]}),
        json!(5),
        &[
            "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf)",
            "spec.x: Invalid value: 5: spec.x in body should be greater than or equal to 10",
        ],
    );
    check(
        json!({"type": "integer", "allOf": [{"minimum": 10}, {"maximum": 10}], "not": {"enum": [5]}}),
        json!(5),
        &[
            "spec.x: Invalid value: 5: spec.x in body should be greater than or equal to 10",
            "<nil>: Invalid value: \"\": \"spec.x\" must validate all the schemas (allOf)",
            "<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)",
        ],
    );
}

#[test]
fn the_answer_is_bounded() {
    let schema = compile::schema(&json!({"type": "array", "items": {"type": "string"}})).unwrap();
    assert_eq!(
        schema.validate(&json!(vec![1; 10_000]), "x").len(),
        MAX_ERRORS
    );
}
