//! Reading and writing `apiVersion`, `kind` and `metadata` of an object's tree.
//!
//! Reading never fails: what is absent or of the wrong type reads as empty. That types are right is the schema's
//! business, that values are right is [`validate`]'s.

mod validate;

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::time::Timestamp;

pub use validate::{
    MAX_ANNOTATIONS, validate, validate_field_manager, validate_labels, validate_update,
};

/// The finalizer of foreground deletion.
pub const FOREGROUND_DELETION: &str = "foregroundDeletion";
/// The finalizer of orphaning deletion.
pub const ORPHAN_DEPENDENTS: &str = "orphan";

/// One entry of `metadata.ownerReferences`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct OwnerReference<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

/// `object.<field>` as text.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `apiVersion`
pub fn api_version(object: &Value) -> &str {
    text(object, "apiVersion")
}

/// `kind`
pub fn kind(object: &Value) -> &str {
    text(object, "kind")
}

/// `metadata`, empty when absent.
pub fn metadata(object: &Value) -> &Map<String, Value> {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    object
        .get("metadata")
        .and_then(Value::as_object)
        .unwrap_or(&EMPTY)
}

/// `metadata`, made when absent or not a map.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    map_at(as_map(object), "metadata")
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made a map above"),
    }
}

fn map_at<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    as_map(map.entry(key).or_insert(Value::Null))
}

/// `metadata.<field>` as text, empty when absent.
pub fn get<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object)
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Sets `metadata.<field>`.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.to_owned(), value.into());
}

/// Removes `metadata.<field>`.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(field)
}

/// `metadata.name`
pub fn name(object: &Value) -> &str {
    get(object, "name")
}

/// `metadata.generateName`
pub fn generate_name(object: &Value) -> &str {
    get(object, "generateName")
}

/// `metadata.namespace`
pub fn namespace(object: &Value) -> &str {
    get(object, "namespace")
}

/// `metadata.uid`
pub fn uid(object: &Value) -> &str {
    get(object, "uid")
}

/// `metadata.resourceVersion`
pub fn resource_version(object: &Value) -> &str {
    get(object, "resourceVersion")
}

/// `metadata.generation`, 0 when absent.
pub fn generation(object: &Value) -> i64 {
    metadata(object)
        .get("generation")
        .and_then(Value::as_i64)
        .unwrap_or(0)
}

/// `metadata.creationTimestamp`
pub fn creation_timestamp(object: &Value) -> Option<Timestamp> {
    Timestamp::parse(get(object, "creationTimestamp"))
}

/// `metadata.deletionTimestamp`
pub fn deletion_timestamp(object: &Value) -> Option<Timestamp> {
    Timestamp::parse(get(object, "deletionTimestamp"))
}

/// Whether `metadata.deletionTimestamp` is set.
pub fn is_deleting(object: &Value) -> bool {
    !get(object, "deletionTimestamp").is_empty()
}

fn strings<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    metadata(object)
        .get(field)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))
}

/// `metadata.labels`
pub fn labels(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    strings(object, "labels")
}

/// `metadata.annotations`
pub fn annotations(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    strings(object, "annotations")
}

/// One label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object).get("labels")?.get(key)?.as_str()
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object).get("annotations")?.get(key)?.as_str()
}

/// Sets one label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    map_at(metadata_mut(object), "labels").insert(key.to_owned(), value.into());
}

/// Sets one annotation.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    map_at(metadata_mut(object), "annotations").insert(key.to_owned(), value.into());
}

/// Removes one label; the map goes with the last.
pub fn remove_label(object: &mut Value, key: &str) {
    remove_entry(object, "labels", key);
}

/// Removes one annotation; the map goes with the last.
pub fn remove_annotation(object: &mut Value, key: &str) {
    remove_entry(object, "annotations", key);
}

fn remove_entry(object: &mut Value, field: &str, key: &str) {
    let Some(map) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(Value::Object(entries)) = map.get_mut(field)
        && entries.remove(key).is_some()
        && entries.is_empty()
    {
        map.remove(field);
    }
}

/// `metadata.finalizers`
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    metadata(object)
        .get("finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Whether `metadata.finalizers` has `name`.
pub fn has_finalizer(object: &Value, name: &str) -> bool {
    finalizers(object).any(|f| f == name)
}

/// Adds a finalizer that is not there yet; says whether it was added.
pub fn add_finalizer(object: &mut Value, name: &str) -> bool {
    if has_finalizer(object, name) {
        return false;
    }
    let list = metadata_mut(object)
        .entry("finalizers")
        .or_insert_with(|| Value::Array(Vec::new()));
    match list {
        Value::Array(list) => list.push(name.into()),
        other => *other = Value::Array(vec![name.into()]),
    }
    true
}

/// Removes a finalizer (the list goes with the last); says whether it was there.
pub fn remove_finalizer(object: &mut Value, name: &str) -> bool {
    let Some(map) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return false;
    };
    let Some(Value::Array(list)) = map.get_mut("finalizers") else {
        return false;
    };
    let before = list.len();
    list.retain(|f| f.as_str() != Some(name));
    let removed = list.len() < before;
    if list.is_empty() {
        map.remove("finalizers");
    }
    removed
}

/// `metadata.ownerReferences`
pub fn owner_references(object: &Value) -> impl Iterator<Item = OwnerReference<'_>> {
    metadata(object)
        .get("ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|r| OwnerReference {
            api_version: text(r, "apiVersion"),
            kind: text(r, "kind"),
            name: text(r, "name"),
            uid: text(r, "uid"),
            controller: r
                .get("controller")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            block_owner_deletion: r
                .get("blockOwnerDeletion")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_and_wrong_things_read_as_empty() {
        for object in [
            json!(null),
            json!({}),
            json!({"metadata": 3}),
            json!({"metadata": {"labels": [], "name": 1}}),
        ] {
            assert_eq!(name(&object), "");
            assert_eq!(labels(&object).count(), 0);
            assert_eq!(finalizers(&object).count(), 0);
            assert_eq!(generation(&object), 0);
            assert!(!is_deleting(&object));
        }
    }

    #[test]
    fn writing_makes_what_is_missing_and_removes_what_gets_empty() {
        let mut object = json!({});
        set_label(&mut object, "a", "b");
        set_annotation(&mut object, "c", "d");
        assert!(add_finalizer(&mut object, "x/y"));
        assert!(!add_finalizer(&mut object, "x/y"));
        assert_eq!(
            object,
            json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["x/y"]}})
        );
        remove_label(&mut object, "a");
        remove_annotation(&mut object, "c");
        assert!(remove_finalizer(&mut object, "x/y"));
        assert!(!remove_finalizer(&mut object, "x/y"));
        assert_eq!(object, json!({"metadata": {}}));
    }
}
