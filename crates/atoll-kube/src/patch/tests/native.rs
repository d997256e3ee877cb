//! What a genuine Kubernetes 1.36 recorded for its own kinds, line by line in `native.jsonl`: the field sets of a
//! create (`created` is the object it stored, `record` its fields) and of an apply of `config` (`applied`).
//!
//! Kinds to which that server added fields after it had recorded the create have only an apply.

use serde_json::Value;

use crate::builtin::kind_schema;
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

fn recorded(object: &Value) -> &Value {
    &object["metadata"]["managedFields"][0]["fieldsV1"]
}

#[test]
fn creates_are_recorded_as_kubernetes_records_them() {
    each(|write, row| {
        let mut object = row["created"].clone();
        if object.is_null() {
            return;
        }
        on_create(write, &mut object);
        assert_eq!(recorded(&object), &row["record"], "{}", write.kind);
    });
}

#[test]
fn applies_are_recorded_as_kubernetes_records_them() {
    each(|write, row| {
        let object = on_apply(write, None, &row["config"], false).unwrap();
        assert_eq!(recorded(&object), &row["applied"], "{}", write.kind);
    });
}
