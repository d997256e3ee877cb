//! What Kubernetes demands of a custom resource's schema: that it is *structural*.
//!
//! Each value's type and fields are said once, outside the logical words (allOf, anyOf, oneOf, not); inside those, only
//! rules about values may stand. Works on the schema's text, so that findings carry its own paths.

use serde_json::{Map, Value, json};

use super::{Pattern, Schema, compile, openapi_rules, validations};
use crate::status::{FieldError, child, index, key};

/// Everything that keeps `openapi` from being the schema of a custom resource, rules in CEL aside; paths start with `path`.
pub fn check(openapi: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = shape(openapi, path);
    openapi_rules::check(openapi, path, &mut errors);
    errors
}

/// The same, with the rules in CEL. `known`: this very schema was accepted before.
pub fn check_with_rules(openapi: &Value, path: &str, known: bool) -> Vec<FieldError> {
    let mut errors = shape(openapi, path);
    let sound = errors.is_empty();
    openapi_rules::check(openapi, path, &mut errors);
    if sound {
        validations::check(openapi, path, known, &mut errors);
    }
    errors
}

/// What is wrong with the structure, and with the defaults in it.
fn shape(openapi: &Value, path: &str) -> Vec<FieldError> {
    let Some(root) = openapi.as_object() else {
        return vec![FieldError::type_invalid(
            path,
            openapi.clone(),
            "must be a schema",
        )];
    };
    let mut errors = Vec::new();
    structure(root, Level::Root, path, &mut errors);
    complete(root, Some(root), path, path, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    if errors.is_empty() {
        match compile::schema(openapi) {
            Ok(compiled) => {
                let mut budget = validations::OBJECT_BUDGET;
                defaults(openapi, &compiled, path, &mut budget, &mut errors);
            }
            Err(more) => errors.extend(more),
        }
    }
    errors
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

type Fields = Map<String, Value>;

fn flag(fields: &Fields, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn map<'a>(fields: &'a Fields, name: &str) -> Option<&'a Fields> {
    fields.get(name).and_then(Value::as_object)
}

fn list<'a>(fields: &'a Fields, name: &str) -> &'a [Value] {
    fields
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn properties(fields: &Fields) -> impl Iterator<Item = (&String, &Fields)> {
    map(fields, "properties")
        .into_iter()
        .flatten()
        .filter_map(|(name, s)| Some((name, s.as_object()?)))
}

/// The outer part: types, fields and entries.
fn structure(s: &Fields, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let ty = text(s, "type");
    let embedded = flag(s, "x-kubernetes-embedded-resource");
    let int_or_string = flag(s, "x-kubernetes-int-or-string");
    let preserve = flag(s, "x-kubernetes-preserve-unknown-fields");
    if ty == "array" && !s.contains_key("items") {
        errors.push(FieldError::required(
            child(path, "items"),
            "must be specified",
        ));
    }
    if let Some(items) = map(s, "items") {
        structure(items, Level::Item, &child(path, "items"), errors);
    }
    for (name, below) in properties(s) {
        structure(
            below,
            Level::Field,
            &key(&child(path, "properties"), name),
            errors,
        );
    }
    if let Some(additional) = s.get("additionalProperties") {
        let at = child(path, "additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if let Some(below) = additional.as_object() {
            structure(below, Level::Field, &at, errors);
        }
        if embedded {
            errors.push(FieldError::forbidden(
                &at,
                "must not be used if x-kubernetes-embedded-resource is set",
            ));
        }
    }
    for (set, name) in [
        (preserve, "x-kubernetes-preserve-unknown-fields"),
        (embedded, "x-kubernetes-embedded-resource"),
    ] {
        if int_or_string && set {
            errors.push(FieldError::invalid(
                child(path, name),
                true,
                "must be false if x-kubernetes-int-or-string is true",
            ));
        }
    }
    rules(s, path, int_or_string_exemption(s), errors);
    check_own_type(s, level, path, errors);
    if level == Level::Root || embedded {
        check_object_fields(s, level, path, errors);
    }
    if embedded && !preserve && map(s, "properties").is_none_or(Map::is_empty) {
        errors.push(FieldError::required(
            child(path, "properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ));
    }
}

fn check_own_type(s: &Fields, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    let ty = text(s, "type");
    let at = child(path, "type");
    let embedded = flag(s, "x-kubernetes-embedded-resource");
    let free =
        flag(s, "x-kubernetes-int-or-string") || flag(s, "x-kubernetes-preserve-unknown-fields");
    if embedded && ty != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if ty.is_empty() {
            FieldError::required(&at, why)
        } else {
            FieldError::invalid(&at, ty, why)
        });
    } else if ty.is_empty() && !free {
        let what = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(&at, what));
    }
    if level == Level::Root && !ty.is_empty() && ty != "object" {
        errors.push(FieldError::invalid(&at, ty, "must be object at the root"));
    }
}

/// `apiVersion`, `kind` and `metadata` where they are those of an object.
fn check_object_fields(s: &Fields, level: Level, path: &str, errors: &mut Vec<FieldError>) {
    for (name, below) in properties(s) {
        let at = key(&child(path, "properties"), name);
        let ty = text(below, "type");
        match name.as_str() {
            "kind" | "apiVersion" if ty != "string" => {
                errors.push(FieldError::invalid(
                    child(&at, "type"),
                    ty,
                    "must be string",
                ));
            }
            "metadata" => {
                if ty != "object" {
                    errors.push(FieldError::invalid(
                        child(&at, "type"),
                        ty,
                        "must be object",
                    ));
                }
                let only_names = properties(below).all(|(n, _)| n == "name" || n == "generateName");
                let nothing_else = below
                    .keys()
                    .all(|k| matches!(k.as_str(), "type" | "properties" | "default"));
                if level == Level::Root && !(only_names && nothing_else) {
                    errors.push(FieldError::forbidden(
                        &at,
                        "must not specify anything other than name and generateName, but metadata is implicitly specified",
                    ));
                }
            }
            _ => {}
        }
    }
}

/// Which of the logical words may say the two types of int-or-string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exempt {
    Nothing,
    AnyOf,
    FirstAllOf,
}

fn int_or_string_exemption(s: &Fields) -> Exempt {
    let types = json!([{"type": "integer"}, {"type": "string"}]);
    if !flag(s, "x-kubernetes-int-or-string") {
        Exempt::Nothing
    } else if s.get("anyOf") == Some(&types) {
        Exempt::AnyOf
    } else if list(s, "allOf").first().and_then(|f| f.get("anyOf")) == Some(&types) {
        Exempt::FirstAllOf
    } else {
        Exempt::Nothing
    }
}

/// The rules about values that stand on a node.
fn rules(s: &Fields, path: &str, exempt: Exempt, errors: &mut Vec<FieldError>) {
    for word in ["anyOf", "allOf", "oneOf"] {
        if word == "anyOf" && exempt == Exempt::AnyOf {
            continue;
        }
        for (i, below) in list(s, word).iter().enumerate() {
            let inner = if word == "allOf" && i == 0 && exempt == Exempt::FirstAllOf {
                Exempt::AnyOf
            } else {
                Exempt::Nothing
            };
            if let Some(below) = below.as_object() {
                nested(below, &index(&child(path, word), i), inner, errors);
            }
        }
    }
    if let Some(not) = map(s, "not") {
        nested(not, &child(path, "not"), Exempt::Nothing, errors);
    }
    let pattern = text(s, "pattern");
    if !pattern.is_empty()
        && let Err(why) = Pattern::new(pattern).check()
    {
        errors.push(FieldError::invalid(
            child(path, "pattern"),
            pattern,
            format!("must be a valid regular expression, but isn't: {why}"),
        ));
    }
}

/// A node inside a logical word: no structure here.
fn nested(s: &Fields, path: &str, exempt: Exempt, errors: &mut Vec<FieldError>) {
    rules(s, path, exempt, errors);
    if let Some(items) = map(s, "items") {
        nested(items, &child(path, "items"), Exempt::Nothing, errors);
    }
    for (name, below) in properties(s) {
        let at = key(&child(path, "properties"), name);
        if name == "metadata" {
            errors.push(FieldError::forbidden(
                &at,
                "must not be specified in a nested context",
            ));
        }
        nested(below, &at, Exempt::Nothing, errors);
    }
    let mut forbid = |name: &str, set: bool, why: &str| {
        if set {
            errors.push(FieldError::forbidden(child(path, name), why));
        }
    };
    let has = |name: &str| s.get(name).is_some_and(|v| !v.is_null());
    let filled = |name: &str| !list(s, name).is_empty();
    let empty = "must be empty to be structural";
    let undefined = "must be undefined to be structural";
    let off = "must be false to be structural";
    forbid("type", !text(s, "type").is_empty(), empty);
    forbid(
        "additionalProperties",
        has("additionalProperties"),
        undefined,
    );
    forbid("default", has("default"), undefined);
    forbid("title", !text(s, "title").is_empty(), empty);
    forbid("description", !text(s, "description").is_empty(), empty);
    forbid("nullable", flag(s, "nullable"), off);
    for name in [
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ] {
        forbid(name, flag(s, name), off);
    }
    forbid(
        "x-kubernetes-list-map-keys",
        filled("x-kubernetes-list-map-keys"),
        empty,
    );
    forbid(
        "x-kubernetes-list-type",
        has("x-kubernetes-list-type"),
        undefined,
    );
    forbid(
        "x-kubernetes-map-type",
        has("x-kubernetes-map-type"),
        undefined,
    );
    forbid(
        "x-kubernetes-validations",
        filled("x-kubernetes-validations"),
        empty,
    );
}

/// Every rule inside a logical word of the root must speak of something the structure has. Words further down are not
/// looked at, as Kubernetes does not.
fn complete(
    rule: &Fields,
    structure: Option<&Fields>,
    s_path: &str,
    v_path: &str,
    errors: &mut Vec<FieldError>,
) {
    for word in ["allOf", "anyOf", "oneOf"] {
        for (i, below) in list(rule, word).iter().enumerate() {
            if let Some(below) = below.as_object() {
                covered(
                    below,
                    structure,
                    s_path,
                    &index(&child(v_path, word), i),
                    errors,
                );
            }
        }
    }
    if let Some(not) = map(rule, "not") {
        covered(not, structure, s_path, &child(v_path, "not"), errors);
    }
}

fn covered(
    rule: &Fields,
    structure: Option<&Fields>,
    s_path: &str,
    v_path: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(structure) = structure else {
        errors.push(FieldError::required(
            s_path,
            format!("because it is defined in {v_path}"),
        ));
        return;
    };
    complete(rule, Some(structure), s_path, v_path, errors);
    if let Some(items) = map(rule, "items") {
        let (s, v) = (child(s_path, "items"), child(v_path, "items"));
        covered(items, map(structure, "items"), &s, &v, errors);
    }
    for (name, below) in properties(rule) {
        let step = |p: &str| key(&child(p, "properties"), name);
        let known = map(structure, "properties").and_then(|p| p.get(name)?.as_object());
        covered(below, known, &step(s_path), &step(v_path), errors);
    }
}

/// Each default must itself be valid and free of unknown fields. `budget` is what the rules over all of them may spend.
fn defaults(
    openapi: &Value,
    compiled: &Schema,
    path: &str,
    budget: &mut u64,
    errors: &mut Vec<FieldError>,
) {
    if !compiled.has_defaults {
        return;
    }
    if let Some(default) = &compiled.default {
        let at = child(path, "default");
        // Pruned below a name, so that nothing in it counts as the root of an object.
        let wrapper = Schema {
            properties: [("default".to_owned(), compiled.clone().into())].into(),
            ..Schema::default()
        };
        let mut pruned = json!({"default": default});
        wrapper.prune(&mut pruned);
        if pruned["default"] != *default {
            errors.push(FieldError::invalid(
                &at,
                default.clone(),
                "must not have unknown fields",
            ));
        }
        let found = compiled.validate(default, "");
        if found.is_empty() {
            errors.extend(validations::default(openapi, default, &at, budget));
        }
        errors.extend(found.into_iter().map(|e| FieldError {
            field: match e.field.as_str() {
                "" | "<nil>" => at.clone(),
                inner => child(&at, inner),
            },
            ..e
        }));
    }
    for (name, below) in &compiled.properties {
        if let Some(source) = openapi.get("properties").and_then(|p| p.get(name)) {
            defaults(
                source,
                below,
                &key(&child(path, "properties"), name),
                budget,
                errors,
            );
        }
    }
    let inner = [
        ("items", &compiled.items),
        ("additionalProperties", &compiled.additional),
    ];
    for (name, below) in inner {
        if let (Some(source), Some(below)) = (openapi.get(name), below) {
            defaults(source, below, &child(path, name), budget, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_schema(openapi: Value, expected: &[&str]) {
        let found: Vec<String> = check(&openapi, "s")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected, "{openapi}");
    }

    #[test]
    fn structural_schemas_pass() {
        check_schema(
            json!({"type": "object", "properties": {
                "metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}},
                "spec": {"type": "object", "properties": {
                    "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "any": {"x-kubernetes-preserve-unknown-fields": true},
                    "list": {"type": "array", "items": {"type": "string", "default": "x"}},
                    "map": {"type": "object", "additionalProperties": {"type": "integer"}}},
                    "oneOf": [{"required": ["port"]}, {"properties": {"list": {"minItems": 1}}}]}}}),
            &[],
        );
    }

    #[test]
    fn what_is_not_structural_is_named() {
        check_schema(
            json!({"properties": {}}),
            &["s.type: Required value: must not be empty at the root"],
        );
        check_schema(
            json!({"type": "object", "properties": {"a": {}, "l": {"type": "array"}, "m": {"type": "array", "items": {}}}}),
            &[
                "s.properties[a].type: Required value: must not be empty for specified object fields",
                "s.properties[l].items: Required value: must be specified",
                "s.properties[m].items.type: Required value: must not be empty for specified array items",
            ],
        );
        check_schema(
            json!({"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"type": "string", "description": "x"}], "pattern": "("}}}),
            &[
                "s.properties[a].anyOf[0].description: Forbidden: must be empty to be structural",
                "s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
                "s.properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error: unclosed group",
            ],
        );
        check_schema(
            json!({"type": "object", "oneOf": [{"properties": {"b": {"minimum": 1}}}]}),
            &["s.properties[b]: Required value: because it is defined in s.oneOf[0].properties[b]"],
        );
        check_schema(
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            &[
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        );
        check_schema(
            json!({"type": "object", "properties": {"e": {"type": "object", "x-kubernetes-embedded-resource": true}}}),
            &[
                "s.properties[e].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
            ],
        );
    }

    #[test]
    fn defaults_must_be_valid() {
        check_schema(
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
            &[
                "s.properties[a].default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
            ],
        );
        check_schema(
            json!({"type": "object", "properties": {"a": {"type": "object", "default": {"b": 1, "kind": 2}, "properties": {"b": {"type": "integer"}}}}}),
            &[
                "s.properties[a].default: Invalid value: {\"b\":1,\"kind\":2}: must not have unknown fields",
            ],
        );
    }
}
