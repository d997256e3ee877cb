//! What a genuine Kubernetes 1.36 recorded for its own kinds, line by line in `native.jsonl`: the field sets of a
//! create (`created` is the object it stored, `record` its fields) and of an apply of `config` (`applied`).
//!
//! Kinds to which that server added fields after it had recorded the create have only an apply.

use serde_json::Value;

use crate::builtin::kind_schema;
use crate::patch::fieldset::Set;
use crate::patch::managed::{Write, on_apply, on_create};

/// Runs `test` for each recorded row, with a write of its kind.
fn each(test: impl Fn(&Write<'_>, &Value)) {
    for line in include_str!("native.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row["config"][name].as_str().unwrap();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let schema = kind_schema(group, version, kind).unwrap();
        let has_status = row["created"].get("status").is_some();
        let write = Write {
            api_version,
            kind,
            schema: &schema,
            has_status,
            ..super::write("w", 0)
        };
        test(&write, &row);
    }
}

/// The paths in the one entry of an object's record.
fn recorded(object: &Value) -> Vec<String> {
    paths(&object["metadata"]["managedFields"][0]["fieldsV1"])
}

fn paths(fields: &Value) -> Vec<String> {
    let set = Set::from_fields_v1(fields).unwrap();
    set.paths().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn same(kind: &str, found: &[String], expected: &[String]) {
    let missing: Vec<_> = expected
        .iter()
        .filter(|path| !found.contains(path))
        .collect();
    let surplus: Vec<_> = found
        .iter()
        .filter(|path| !expected.contains(path))
        .collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{kind}: missing {missing:?}, surplus {surplus:?}"
    );
}

#[test]
fn creates_are_recorded_as_kubernetes_records_them() {
    each(|write, row| {
        let mut object = row["created"].clone();
        if object.is_null() {
            return;
        }
        on_create(write, &mut object);
        same(write.kind, &recorded(&object), &paths(&row["record"]));
    });
}

#[test]
fn applies_are_recorded_as_kubernetes_records_them() {
    each(|write, row| {
        let object = on_apply(write, None, &row["config"], false).unwrap();
        same(write.kind, &recorded(&object), &paths(&row["applied"]));
    });
}
