//! Which words of OpenAPI a custom resource's schema may use, and how the list and map extensions must be set.

use serde_json::{Map, Value};

use super::validations;
use crate::status::{FieldError, child, index, key};

type Fields = Map<String, Value>;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Adds what is wrong with `openapi` and everything below it.
pub(super) fn check(openapi: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(fields) = openapi.as_object() {
        if text(fields, "nullable") == "true" || flag(fields, "nullable") {
            errors.push(FieldError::forbidden(
                child(path, "nullable"),
                "nullable cannot be true at the root",
            ));
        }
        node(fields, path, Place::Root, errors);
    }
}

/// Where a node stands, as far as defaults care.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    Root,
    /// Inside one of the fields every object has, of the object itself.
    Meta(&'a str),
    Elsewhere,
}

fn flag(s: &Fields, name: &str) -> bool {
    s.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(s: &'a Fields, name: &str) -> &'a str {
    s.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn node(s: &Fields, path: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    words(s, path, place, errors);
    list_rules(s, path, errors);
    map_rules(s, path, errors);
    validations::shape(s, path, errors);
    let inner = if place == Place::Root {
        Place::Elsewhere
    } else {
        place
    };
    let properties = s.get("properties").and_then(Value::as_object);
    if let Some(additional) = s.get("additionalProperties") {
        let at = child(path, "additionalProperties");
        if properties.is_some_and(|p| !p.is_empty()) && additional != &Value::Bool(true) {
            errors.push(FieldError::forbidden(
                &at,
                "additionalProperties and properties are mutual exclusive",
            ));
        }
        below(additional, at, inner, errors);
    }
    for (name, s) in properties.into_iter().flatten() {
        let there = match (place, name.as_str()) {
            (Place::Root, "apiVersion" | "kind" | "metadata") => Place::Meta(name),
            _ => inner,
        };
        below(s, key(&child(path, "properties"), name), there, errors);
    }
    for word in ["not", "items"] {
        if let Some(s) = s.get(word) {
            below(s, child(path, word), inner, errors);
        }
    }
    for word in ["allOf", "oneOf", "anyOf"] {
        let list = s.get(word).and_then(Value::as_array);
        for (i, s) in list.into_iter().flatten().enumerate() {
            below(s, index(&child(path, word), i), inner, errors);
        }
    }
}

fn below(s: &Value, path: String, place: Place<'_>, errors: &mut Vec<FieldError>) {
    if let Some(s) = s.as_object() {
        node(s, &path, place, errors);
    }
}

fn words(s: &Fields, path: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    let ty = text(s, "type");
    if ty == "null" {
        errors.push(FieldError::forbidden(
            child(path, "type"),
            "type cannot be set to null, use nullable as an alternative",
        ));
    } else if !ty.is_empty() && !TYPES.contains(&ty) {
        errors.push(FieldError::not_supported(child(path, "type"), ty, TYPES));
    }
    if let Place::Meta(name) = place
        && s.contains_key("default")
    {
        errors.push(FieldError::forbidden(
            child(path, "default"),
            format!("must not be set in top-level {name}"),
        ));
    }
    for word in [
        "id",
        "additionalItems",
        "patternProperties",
        "definitions",
        "dependencies",
        "$ref",
    ] {
        if s.contains_key(word) {
            errors.push(FieldError::forbidden(
                child(path, word),
                format!("{word} is not supported"),
            ));
        }
    }
    if s.get("items").is_some_and(Value::is_array) {
        errors.push(FieldError::forbidden(
            child(path, "items"),
            "items must be a schema object and not an array",
        ));
    }
    if flag(s, "uniqueItems") {
        errors.push(FieldError::forbidden(
            child(path, "uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    let preserve = "x-kubernetes-preserve-unknown-fields";
    if s.get(preserve) == Some(&Value::Bool(false)) {
        errors.push(FieldError::invalid(
            child(path, preserve),
            false,
            "must be true or undefined",
        ));
    }
}

/// A word that only makes sense on one type.
fn needs_type(
    s: &Fields,
    path: &str,
    word: &str,
    wanted: &str,
    errors: &mut Vec<FieldError>,
) -> bool {
    let ty = text(s, "type");
    if ty == wanted {
        return true;
    }
    let why = format!("must be {wanted} if {word} is specified");
    errors.push(if ty.is_empty() {
        FieldError::required(child(path, "type"), why)
    } else {
        FieldError::invalid(child(path, "type"), ty, why)
    });
    false
}

fn map_rules(s: &Fields, path: &str, errors: &mut Vec<FieldError>) {
    const WORD: &str = "x-kubernetes-map-type";
    if !s.contains_key(WORD) {
        return;
    }
    needs_type(s, path, WORD, "object", errors);
    let set = text(s, WORD);
    if !matches!(set, "atomic" | "granular") {
        errors.push(FieldError::not_supported(
            child(path, WORD),
            set,
            ["atomic", "granular"],
        ));
    }
}

fn list_rules(s: &Fields, path: &str, errors: &mut Vec<FieldError>) {
    const WORD: &str = "x-kubernetes-list-type";
    const KEYS: &str = "x-kubernetes-list-map-keys";
    let keys: Vec<&str> = s
        .get(KEYS)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let list_type = s.get(WORD).map(|_| text(s, WORD));
    let items = s.get("items").and_then(Value::as_object);
    let items_path = child(path, "items");
    if let Some(list_type) = list_type {
        if needs_type(s, path, WORD, "array", errors) && list_type == "set" {
            set_items(items, &items_path, errors);
        }
        if !matches!(list_type, "atomic" | "set" | "map") {
            errors.push(FieldError::not_supported(
                child(path, WORD),
                list_type,
                ["atomic", "set", "map"],
            ));
        }
    }
    if !keys.is_empty() && list_type != Some("map") {
        let why = format!("must be map if {KEYS} is non-empty");
        errors.push(match list_type {
            None => FieldError::required(child(path, WORD), why),
            Some(other) => FieldError::invalid(child(path, WORD), other, why),
        });
    }
    if list_type == Some("map") {
        if keys.is_empty() {
            errors.push(FieldError::required(
                child(path, KEYS),
                "must not be empty if x-kubernetes-list-type is map",
            ));
        }
        match items {
            None => errors.push(FieldError::required(
                &items_path,
                "must have a schema if x-kubernetes-list-type is map",
            )),
            Some(items) if text(items, "type") != "object" => errors.push(FieldError::invalid(
                child(&items_path, "type"),
                text(items, "type"),
                "must be object if parent array's x-kubernetes-list-type is map",
            )),
            Some(items) => map_keys(items, &keys, &items_path, &child(path, KEYS), errors),
        }
    }
    if matches!(list_type, Some("set" | "map")) && items.is_some_and(|i| flag(i, "nullable")) {
        errors.push(FieldError::forbidden(
            child(&items_path, "nullable"),
            format!(
                "cannot be nullable when x-kubernetes-list-type is {}",
                list_type.unwrap_or_default()
            ),
        ));
    }
}

fn set_items(items: Option<&Fields>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(items) = items else { return };
    let word = match text(items, "type") {
        "array" if !matches!(text(items, "x-kubernetes-list-type"), "" | "atomic") => {
            "x-kubernetes-list-type"
        }
        "object" if text(items, "x-kubernetes-map-type") != "atomic" => "x-kubernetes-map-type",
        _ => return,
    };
    let set = items.get(word).cloned().unwrap_or(Value::Null);
    errors.push(FieldError::invalid(
        child(path, word),
        set,
        "must be atomic as item of a list with x-kubernetes-list-type=set",
    ));
}

fn map_keys(
    items: &Fields,
    keys: &[&str],
    path: &str,
    keys_path: &str,
    errors: &mut Vec<FieldError>,
) {
    let value = || Value::from(keys.to_vec());
    let required: Vec<&str> = items
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (i, name) in keys.iter().enumerate() {
        if keys[..i].contains(name) {
            errors.push(FieldError::invalid(
                keys_path,
                value(),
                "must not contain duplicate entries",
            ));
        }
        let at = key(&child(path, "properties"), name);
        let Some(property) = items
            .get("properties")
            .and_then(|p| p.get(*name)?.as_object())
        else {
            errors.push(FieldError::invalid(
                keys_path,
                value(),
                "entries must all be names of item properties",
            ));
            continue;
        };
        if matches!(text(property, "type"), "array" | "object") {
            errors.push(FieldError::invalid(
                child(&at, "type"),
                text(property, "type"),
                "must be a scalar type if parent array's x-kubernetes-list-type is map",
            ));
        }
        if !required.contains(name) && !property.contains_key("default") {
            errors.push(FieldError::required(
                child(&at, "default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ));
        }
        if flag(property, "nullable") {
            errors.push(FieldError::forbidden(
                child(&at, "nullable"),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_words(openapi: Value, expected: &[&str]) {
        let mut errors = Vec::new();
        check(&openapi, "s", &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{openapi}");
    }

    #[test]
    fn words_that_may_not_be_used() {
        check_words(
            json!({"type": "object", "properties": {"a": {"$ref": "#/x", "type": "null"}, "b": {"type": "text", "uniqueItems": true}}}),
            &[
                "s.properties[a].type: Forbidden: type cannot be set to null, use nullable as an alternative",
                "s.properties[a].$ref: Forbidden: $ref is not supported",
                "s.properties[b].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
                "s.properties[b].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ],
        );
        check_words(
            json!({"type": "object", "nullable": true, "properties": {"kind": {"type": "string", "default": "X"}}}),
            &[
                "s.nullable: Forbidden: nullable cannot be true at the root",
                "s.properties[kind].default: Forbidden: must not be set in top-level kind",
            ],
        );
        check_words(
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {}}, "additionalProperties": {}}}}),
            &[
                "s.properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        );
    }

    #[test]
    fn lists_that_are_maps_need_keys() {
        let list = |more: Value| {
            let mut l = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}});
            for (k, v) in more.as_object().unwrap() {
                l[k] = v.clone();
            }
            json!({"properties": {"l": l}})
        };
        check_words(list(json!({})), &[]);
        check_words(
            list(json!({"x-kubernetes-list-map-keys": []})),
            &[
                "s.properties[l].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ],
        );
        check_words(
            list(json!({"x-kubernetes-list-map-keys": ["k", "j", "k"]})),
            &[
                "s.properties[l].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"j\",\"k\"]: entries must all be names of item properties",
                "s.properties[l].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"j\",\"k\"]: must not contain duplicate entries",
            ],
        );
        check_words(
            list(json!({"items": {"type": "object", "properties": {"k": {"type": "string"}}}})),
            &[
                "s.properties[l].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        );
        check_words(
            list(json!({"x-kubernetes-list-type": "heap"})),
            &[
                "s.properties[l].x-kubernetes-list-type: Unsupported value: \"heap\": supported values: \"atomic\", \"set\", \"map\"",
                "s.properties[l].x-kubernetes-list-type: Invalid value: \"heap\": must be map if x-kubernetes-list-map-keys is non-empty",
            ],
        );
    }
}
