//! What `kubectl get` shows: Tables, and objects reduced to their metadata.
//!
//! Cells come from paths (custom resources, our own kinds) or from named functions (Kubernetes' kinds), which the caller
//! hands in. Ages are computed for the reader's moment and are never stored.

mod cell;

use serde_json::{Map, Value, json};

use crate::definition::{Column, Definition, VersionDef};
use crate::time::Timestamp;

/// What a row carries besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// PartialObjectMetadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// Computes a cell of a built-in kind by its function's name.
pub type NamedCell = fn(name: &str, object: &Value, now: Timestamp) -> Value;

/// How to make a table.
#[derive(Debug, Clone, Copy)]
pub struct TableOptions {
    /// `meta.k8s.io` version asked for: `v1` or `v1beta1`.
    pub version: &'static str,
    /// What rows carry.
    pub include: IncludeObject,
    /// Leave out columnDefinitions (later events of a watch).
    pub no_headers: bool,
    /// The reader's clock, for ages.
    pub now: Timestamp,
    /// Cells of built-in kinds.
    pub named: NamedCell,
}

/// The Table of `objects` (at `version` of `definition`); `list_metadata` is the list's metadata (resourceVersion,
/// continue, ...), for a single object its resourceVersion.
pub fn render(
    _definition: &Definition,
    version: &VersionDef,
    objects: &[Value],
    list_metadata: Value,
    options: &TableOptions,
) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|o| row(&version.columns, o, options))
        .collect();
    let headers = if options.no_headers {
        Value::Null
    } else {
        version.columns.iter().map(header).collect()
    };
    json!({
        "kind": "Table",
        "apiVersion": meta_version(options.version),
        "metadata": list_metadata,
        "columnDefinitions": headers,
        "rows": rows,
    })
}

fn meta_version(version: &str) -> String {
    format!("meta.k8s.io/{version}")
}

fn header(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.ty,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

fn row(columns: &[Column], object: &Value, options: &TableOptions) -> Value {
    let cells: Vec<Value> = columns
        .iter()
        .map(|c| cell::cell(c, object, options.named, options.now))
        .collect();
    let mut row = Map::new();
    row.insert("cells".to_owned(), Value::Array(cells));
    match options.include {
        IncludeObject::None => {}
        IncludeObject::Metadata => {
            row.insert("object".to_owned(), partial(object, options.version));
        }
        IncludeObject::Object => {
            row.insert("object".to_owned(), object.clone());
        }
    }
    Value::Object(row)
}

/// PartialObjectMetadata of one object, in `version` (`v1` or `v1beta1`) of meta.k8s.io.
pub fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": meta_version(version),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// PartialObjectMetadataList of several.
pub fn partial_list(objects: &[Value], list_metadata: Value, version: &str) -> Value {
    let items: Vec<Value> = objects.iter().map(|o| partial(o, version)).collect();
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": meta_version(version),
        "metadata": list_metadata,
        "items": items,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{default_crd, validate_crd};

    fn definition() -> Definition {
        let mut crd = json!({"metadata": {"name": "webs.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "webs", "kind": "Web"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "additionalPrinterColumns": [
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "priority": 1}]}]}});
        default_crd(&mut crd);
        assert_eq!(validate_crd(&crd), []);
        Definition::from_crd(&crd).unwrap()
    }

    fn options(include: IncludeObject) -> TableOptions {
        TableOptions {
            version: "v1",
            include,
            no_headers: false,
            now: Timestamp(3_600_000),
            named: |_, _, _| Value::Null,
        }
    }

    #[test]
    fn a_table_has_headings_and_a_row_per_object() {
        let definition = definition();
        let version = definition.storage_version();
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"replicas": 2}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let table = render(
            &definition,
            version,
            std::slice::from_ref(&object),
            json!({"resourceVersion": "5"}),
            &options(IncludeObject::Metadata),
        );
        assert_eq!(
            (&table["kind"], &table["apiVersion"]),
            (&json!("Table"), &json!("meta.k8s.io/v1"))
        );
        let headings: Vec<&str> = table["columnDefinitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap())
            .collect();
        assert_eq!(headings, ["Name", "Replicas", "Ready", "Age"]);
        assert_eq!(table["columnDefinitions"][3]["priority"], 1);
        assert_eq!(table["rows"][0]["cells"], json!(["a", 2, "True", "60m"]));
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(table["rows"][0]["object"]["metadata"], object["metadata"]);
    }

    #[test]
    fn rows_carry_what_was_asked_for() {
        let definition = definition();
        let version = definition.storage_version();
        let object = json!({"metadata": {"name": "a"}, "spec": {}});
        let carried = |include| {
            let table = render(
                &definition,
                version,
                std::slice::from_ref(&object),
                json!({}),
                &options(include),
            );
            table["rows"][0].get("object").cloned()
        };
        assert_eq!(carried(IncludeObject::None), None);
        assert_eq!(carried(IncludeObject::Object), Some(object.clone()));
        let bare = TableOptions {
            no_headers: true,
            ..options(IncludeObject::None)
        };
        assert_eq!(
            render(&definition, version, &[], json!({}), &bare)["columnDefinitions"],
            Value::Null
        );
    }
}
