//! The schema of `metadata`, the same for every kind.

use std::sync::LazyLock;

use serde_json::json;

use super::{Schema, SchemaRef, compile};

/// The schema of `metadata`.
pub fn object_meta() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| SchemaRef::new(build()));
    SCHEMA.clone()
}

fn build() -> Schema {
    let text = json!({"type": "string"});
    let flag = json!({"type": "boolean"});
    let time = json!({"type": "string", "format": "date-time", "nullable": true});
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let owner = json!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "required": ["apiVersion", "kind", "name", "uid"],
        "properties": {
            "apiVersion": text, "kind": text, "name": text, "uid": text,
            "controller": flag, "blockOwnerDeletion": flag,
        },
    });
    let managed = json!({
        "type": "object",
        "properties": {
            "manager": text, "operation": text, "apiVersion": text, "time": time, "fieldsType": text, "subresource": text,
            "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    });
    let openapi = json!({
        "type": "object",
        "properties": {
            "name": text, "generateName": text, "namespace": text, "selfLink": text, "uid": text,
            "resourceVersion": text,
            "generation": {"type": "integer", "format": "int64"},
            "creationTimestamp": time,
            "deletionTimestamp": time,
            "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
            "labels": texts,
            "annotations": texts,
            "finalizers": {
                "type": "array", "items": text,
                "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge",
            },
            "ownerReferences": {
                "type": "array", "items": owner,
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
                "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "uid",
            },
            "managedFields": {"type": "array", "items": managed, "x-kubernetes-list-type": "atomic"},
        },
    });
    let mut schema = compile::schema(&openapi).unwrap_or_default(); // constant; the test below compiles it
    // Kubernetes takes repeated finalizers and owners as they come.
    for name in ["finalizers", "ownerReferences"] {
        if let Some(list) = schema.properties.get(name) {
            let relaxed = Schema {
                unique_entries: false,
                ..(**list).clone()
            };
            schema.properties.insert(name.to_owned(), relaxed.into());
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ListType;

    #[test]
    fn metadata_has_its_list_keys() {
        let meta = object_meta();
        assert_eq!(meta.properties.len(), 15);
        assert_eq!(
            meta.properties["ownerReferences"].list_type,
            ListType::Map(vec!["uid".to_owned()])
        );
        assert!(meta.properties["managedFields"].field("x").is_none());
    }
}
