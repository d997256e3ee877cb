//! What Kubernetes demands of every object's `metadata`, on create and on update.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    FOREGROUND_DELETION, ORPHAN_DEPENDENTS, annotations, finalizers, generate_name, generation,
    get, is_deleting, metadata, name, namespace, owner_references,
};
use crate::names::{NameRule, is_dns1123_label, is_label_value, is_qualified_name, quoted_list};
use crate::status::{FieldError, child, index};

/// All annotations of one object together, keys and values, in bytes.
pub const MAX_ANNOTATIONS: usize = 256 * 1024;
const MAX_FIELD_MANAGER: usize = 128;
const MAX_SUBRESOURCE: usize = 256;

/// What is wrong with the metadata of a complete (named) object.
pub fn validate(object: &Value, namespaced: bool, names: NameRule) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let prefix = generate_name(object);
    if !prefix.is_empty()
        && let Err(why) = names.check_prefix(prefix)
    {
        errors.push(FieldError::invalid("metadata.generateName", prefix, why));
    }
    let name = name(object);
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Err(why) = names.check(name) {
        errors.push(FieldError::invalid("metadata.name", name, why));
    }
    match (namespaced, namespace(object)) {
        (true, "") => errors.push(FieldError::required("metadata.namespace", "")),
        (true, ns) => {
            if let Err(why) = is_dns1123_label(ns) {
                errors.push(FieldError::invalid("metadata.namespace", ns, why));
            }
        }
        (false, "") => {}
        (false, _) => errors.push(FieldError::forbidden(
            "metadata.namespace",
            "not allowed on this type",
        )),
    }
    common(object, &mut errors);
    errors
}

/// What is wrong with the metadata of `new` as an update of `old`.
pub fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if is_deleting(old) {
        let before: BTreeSet<&str> = finalizers(old).collect();
        let extra: BTreeSet<&str> = finalizers(new).filter(|f| !before.contains(f)).collect();
        if !extra.is_empty() {
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    quoted_list(extra)
                ),
            ));
        }
    }
    if generation(new) < generation(old) {
        errors.push(FieldError::invalid(
            "metadata.generation",
            generation(new),
            "must not be decremented",
        ));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
    ] {
        if get(new, field) != get(old, field) {
            let value = metadata(new).get(field).cloned().unwrap_or(Value::Null);
            errors.push(FieldError::invalid(
                child("metadata", field),
                value,
                "field is immutable",
            ));
        }
    }
    let grace = "deletionGracePeriodSeconds";
    if metadata(new).get(grace) != metadata(old).get(grace) {
        let value = metadata(new).get(grace).cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(
            child("metadata", grace),
            value,
            "field is immutable",
        ));
    }
    common(new, &mut errors);
    errors
}

fn common(object: &Value, errors: &mut Vec<FieldError>) {
    if generation(object) < 0 {
        errors.push(FieldError::invalid(
            "metadata.generation",
            generation(object),
            "must be greater than or equal to 0",
        ));
    }
    if let Some(Value::Object(labels)) = metadata(object).get("labels") {
        errors.extend(validate_labels(labels, "metadata.labels"));
    }
    check_annotations(object, errors);
    check_owners(object, errors);
    check_finalizers(object, errors);
    check_managed_fields(object, errors);
}

/// What is wrong with a map of labels.
pub fn validate_labels(labels: &Map<String, Value>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels {
        if let Err(why) = is_qualified_name(key) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
        let value = value.as_str().unwrap_or_default();
        if let Err(why) = is_label_value(value) {
            errors.push(FieldError::invalid(path, value, why));
        }
    }
    errors
}

fn check_annotations(object: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in annotations(object) {
        size += key.len() + value.len();
        if let Err(why) = is_qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", key, why));
        }
    }
    if size > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            MAX_ANNOTATIONS,
        ));
    }
}

fn check_owners(object: &Value, errors: &mut Vec<FieldError>) {
    const PATH: &str = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for owner in owner_references(object) {
        let mut demand = |field: &str, value: &str, why: &str| {
            if value.is_empty() || value.ends_with('/') {
                errors.push(FieldError::invalid(child(PATH, field), value, why));
            }
        };
        demand("apiVersion", owner.api_version, "version must not be empty");
        demand("kind", owner.kind, "must not be empty");
        demand("name", owner.name, "must not be empty");
        demand("uid", owner.uid, "must not be empty");
        let whole = || {
            metadata(object)
                .get("ownerReferences")
                .cloned()
                .unwrap_or(Value::Null)
        };
        if owner.api_version == "v1" && owner.kind == "Event" {
            errors.push(FieldError::invalid(
                PATH,
                whole(),
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if owner.controller {
            let this = format!("{}/{}", owner.kind, owner.name);
            match &controller {
                Some(first) => errors.push(FieldError::invalid(
                    PATH,
                    whole(),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                )),
                None => controller = Some(this),
            }
        }
    }
}

fn check_finalizers(object: &Value, errors: &mut Vec<FieldError>) {
    const PATH: &str = "metadata.finalizers";
    for finalizer in finalizers(object) {
        if let Err(why) = is_qualified_name(finalizer) {
            errors.push(FieldError::invalid(PATH, finalizer, why));
        }
    }
    let has = |name| finalizers(object).any(|f| f == name);
    if has(ORPHAN_DEPENDENTS) && has(FOREGROUND_DELETION) {
        errors.push(FieldError::invalid(
            PATH,
            finalizers(object).map(Value::from).collect::<Vec<_>>(),
            format!("finalizer {ORPHAN_DEPENDENTS} and {FOREGROUND_DELETION} cannot be both set"),
        ));
    }
}

fn check_managed_fields(object: &Value, errors: &mut Vec<FieldError>) {
    let Some(Value::Array(entries)) = metadata(object).get("managedFields") else {
        return;
    };
    for (i, entry) in entries.iter().enumerate() {
        let path = index("metadata.managedFields", i);
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        if !matches!(text("operation"), "Apply" | "Update") {
            errors.push(FieldError::invalid(
                child(&path, "operation"),
                text("operation"),
                "must be `Apply` or `Update`",
            ));
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            errors.push(FieldError::invalid(
                child(&path, "fieldsType"),
                text("fieldsType"),
                "must be `FieldsV1`",
            ));
        }
        errors.extend(validate_field_manager(
            text("manager"),
            &child(&path, "manager"),
        ));
        if text("subresource").len() > MAX_SUBRESOURCE {
            errors.push(FieldError::too_long(
                child(&path, "subresource"),
                MAX_SUBRESOURCE,
            ));
        }
    }
}

/// What is wrong with the name of a field manager.
pub fn validate_field_manager(manager: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if manager.len() > MAX_FIELD_MANAGER {
        errors.push(FieldError::too_long(path, MAX_FIELD_MANAGER));
    }
    if let Some((at, c)) = manager.char_indices().find(|(_, c)| c.is_control()) {
        errors.push(FieldError::invalid(
            path,
            manager,
            format!("invalid character U+{:04X} (at position {at})", c as u32),
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(metadata: Value, namespaced: bool, expected: &[&str]) {
        let found: Vec<String> = validate(
            &json!({"metadata": metadata}),
            namespaced,
            NameRule::Subdomain,
        )
        .iter()
        .map(ToString::to_string)
        .collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, start) in found.iter().zip(expected) {
            assert!(
                found.starts_with(start),
                "{found} does not start with {start}"
            );
        }
    }

    #[test]
    fn metadata_of_a_new_object() {
        check(json!({"name": "a", "namespace": "n"}), true, &[]);
        check(json!({"name": "a"}), false, &[]);
        check(
            json!({}),
            true,
            &[
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value",
            ],
        );
        check(
            json!({"name": "A", "namespace": "n.m"}),
            true,
            &[
                "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
                "metadata.namespace: Invalid value: \"n.m\": must not contain dots",
            ],
        );
        check(
            json!({"name": "a", "namespace": "n"}),
            false,
            &["metadata.namespace: Forbidden: not allowed on this type"],
        );
        check(
            json!({"name": "a", "labels": {"b c": "d e"}, "annotations": {"Example.com/X": "any thing", "/": ""}}),
            false,
            &[
                "metadata.labels: Invalid value: \"b c\": name part",
                "metadata.labels: Invalid value: \"d e\": a valid label",
                "metadata.annotations: Invalid value: \"/\": prefix part",
            ],
        );
        check(
            json!({"name": "a", "annotations": {"x": "y".repeat(MAX_ANNOTATIONS)}}),
            false,
            &["metadata.annotations: Too long: may not be more than 262144 bytes"],
        );
        check(
            json!({"name": "a", "finalizers": ["a b", "orphan", "foregroundDeletion"]}),
            false,
            &[
                "metadata.finalizers: Invalid value: \"a b\"",
                "metadata.finalizers: Invalid value: [\"a b\",\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set",
            ],
        );
        check(
            json!({"name": "a", "ownerReferences": [{"apiVersion": "apps/", "kind": "", "name": "x", "uid": "u"}]}),
            false,
            &[
                "metadata.ownerReferences.apiVersion: Invalid value: \"apps/\": version must not be empty",
                "metadata.ownerReferences.kind: Invalid value: \"\": must not be empty",
            ],
        );
        check(
            json!({"name": "a", "managedFields": [{"manager": "m\n", "operation": "Guess"}]}),
            false,
            &[
                "metadata.managedFields[0].operation: Invalid value: \"Guess\": must be `Apply` or `Update`",
                "metadata.managedFields[0].manager: Invalid value: \"m\\n\": invalid character U+000A (at position 1)",
            ],
        );
    }

    #[test]
    fn what_an_update_may_not_change() {
        let old = json!({"metadata": {"name": "a", "uid": "u", "generation": 3, "deletionTimestamp": "2026-11-21T04:00:00Z", "finalizers": ["x/y"]}});
        let mut new = old.clone();
        assert_eq!(validate_update(&new, &old), []);
        new["metadata"]["uid"] = json!("v");
        new["metadata"]["generation"] = json!(2);
        new["metadata"]["finalizers"] = json!(["x/y", "x/z"]);
        let texts: Vec<String> = validate_update(&new, &old)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            texts,
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x/z\"}",
                "metadata.generation: Invalid value: 2: must not be decremented",
                "metadata.uid: Invalid value: \"v\": field is immutable",
            ]
        );
    }
}
