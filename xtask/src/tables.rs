//! Records `tables.json`: the cells a genuine server prints for the objects it holds, beside those objects.
//!
//! The cluster is expected to hold one or more objects of each kind worth comparing; a few per kind are kept.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::builtin::{DISCOVERY, TABLE, array, text};
use crate::cluster::Cluster;

const ROWS_PER_KIND: usize = 8;

/// The whole file.
pub(crate) fn record(cluster: &Cluster) -> Result<String> {
    let mut lines = Vec::new();
    for root in ["/api", "/apis"] {
        let discovery = cluster.get(root, DISCOVERY)?;
        for group in array(&discovery, "items") {
            let name = group.pointer("/metadata/name").and_then(Value::as_str);
            for version in array(group, "versions") {
                let v = text(version, "version");
                let path = name.map_or(format!("/api/{v}"), |g| format!("/apis/{g}/{v}"));
                for r in array(version, "resources") {
                    let own = name.is_none_or(|g| g.ends_with(".k8s.io") || !g.contains('.'));
                    if own && array(r, "verbs").iter().any(|verb| verb == "list") {
                        lines.extend(table(cluster, &path, r)?);
                    }
                }
            }
        }
    }
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

fn table(cluster: &Cluster, path: &str, r: &Value) -> Result<Option<String>> {
    let path = format!("{path}/{}?includeObject=Object", text(r, "resource"));
    let (date, table) = cluster.get_dated(&path, TABLE)?;
    let headings: Vec<&str> = array(&table, "columnDefinitions")
        .iter()
        .map(|c| text(c, "name"))
        .collect();
    let interesting = |row: &&Value| {
        // What every cluster has by itself says little, and much of it.
        let name = row.pointer("/object/metadata/name").and_then(Value::as_str);
        !name.is_some_and(|n| n.starts_with("system:"))
    };
    let rows: Vec<Value> = array(&table, "rows")
        .iter()
        .filter(interesting)
        .take(ROWS_PER_KIND)
        .map(|row| {
            let mut object = row["object"].clone();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("managedFields");
                if let Some(annotations) = metadata
                    .get_mut("annotations")
                    .and_then(Value::as_object_mut)
                {
                    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
                }
            }
            json!({ "cells": row["cells"], "object": object })
        })
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let kind = r
        .pointer("/responseKind/kind")
        .context("a resource without kind")?;
    let table = json!({ "kind": kind, "now": rfc3339(&date)?, "headings": headings, "rows": rows });
    Ok(Some(table.to_string()))
}

/// From `Sat, 21 Nov 2026 04:20:03 GMT`.
fn rfc3339(date: &str) -> Result<String> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let words: Vec<&str> = date.split_whitespace().collect();
    let [_, day, month, year, time, _] = words.as_slice() else {
        anyhow::bail!("not an HTTP date: {date:?}");
    };
    let month = MONTHS.find(month).context("not a month")? / 3 + 1;
    Ok(format!("{year}-{month:02}-{day}T{time}Z"))
}
