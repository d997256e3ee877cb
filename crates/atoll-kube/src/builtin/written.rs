//! Reads the kinds that we wrote down ourselves: `data/{kcp,fleet,edge}.yaml`.
//!
//! A file lists kinds in a short notation, which is expanded here to ordinary CustomResourceDefinitions, so that these kinds
//! go the way of every other definition from there on. The notation of a schema:
//!
//! | written | means |
//! |---|---|
//! | `string`, `boolean`, `number`, `integer/int32`, `string/byte` | a type, and a format |
//! | `time`, `quantity`, `intOrString`, `labelSelector` | the well-known shapes |
//! | `object`, `any` | anything, unknown fields kept |
//! | `"[]X"`, `"[set]X"`, `"{}X"` | an atomic list, a set, a map of X |
//! | `"@name"` | the fragment of that name in the file's `fragments` |
//! | `{a: X, b*: Y}` | an object; `*` marks what is required |
//! | `{$list: [k], …}`, `{$list: atomic, …}` | a list of such objects, keyed or atomic |
//! | `{$items: X}`, `{$map: X}` | an atomic list or a map of X |
//! | `{$type: X, …}` | X with further OpenAPI words |
//! | `$: {…}` in an object | further OpenAPI words for that object |

use serde_json::{Map, Value, json};

/// One of our files, expanded.
pub(crate) struct Written {
    /// The CustomResourceDefinition.
    pub(crate) crd: Value,
    /// Whether clients only read it, because it is computed.
    pub(crate) read_only: bool,
}

/// Expands one file. What does not follow the notation comes out as an empty schema, which a test refuses.
pub(crate) fn expand(file: &Value) -> Vec<Written> {
    let empty = Map::new();
    let fragments = file["fragments"].as_object().unwrap_or(&empty);
    let kinds = file["kinds"].as_array().map_or(&[][..], Vec::as_slice);
    kinds
        .iter()
        .map(|kind| Written {
            crd: crd(kind, fragments),
            read_only: kind["readOnly"] == true,
        })
        .collect()
}

fn crd(kind: &Value, fragments: &Map<String, Value>) -> Value {
    let name = kind["name"].as_str().unwrap_or_default();
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    let kind_name = kind["kind"].as_str().unwrap_or_default();
    let list = |key: &str| kind.get(key).cloned().unwrap_or_else(|| json!([]));
    let versions = kind["versions"].as_array().into_iter().flatten();
    let versions: Vec<Value> = versions
        .enumerate()
        .map(|(i, v)| version(v, i == 0, fragments))
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": name },
        "spec": {
            "group": group,
            "scope": if kind["namespaced"] == true { "Namespaced" } else { "Cluster" },
            "names": {
                "plural": plural,
                "singular": kind_name.to_lowercase(),
                "kind": kind_name,
                "listKind": format!("{kind_name}List"),
                "shortNames": list("short"),
                "categories": list("categories"),
            },
            "versions": versions,
        },
    })
}

fn version(version: &Value, storage: bool, fragments: &Map<String, Value>) -> Value {
    let mut schema = expand_schema(&version["schema"], fragments);
    for (key, leaf) in [("apiVersion", "string"), ("kind", "string")] {
        schema["properties"][key] = json!({ "type": leaf });
    }
    schema["properties"]["metadata"] = json!({ "type": "object" });
    let columns = version["columns"].as_array().into_iter().flatten();
    let columns: Vec<Value> = columns
        .filter_map(Value::as_str)
        .map(|row| {
            let mut parts = row.splitn(3, ',').map(|part| part.trim().trim_matches('"'));
            json!({ "name": parts.next(), "type": parts.next(), "jsonPath": parts.next() })
        })
        .collect();
    let mut full = json!({
        "name": version["name"],
        "served": true,
        "storage": storage,
        "schema": { "openAPIV3Schema": schema },
    });
    if version["status"] == true {
        full["subresources"] = json!({ "status": {} });
    }
    if !columns.is_empty() {
        full["additionalPrinterColumns"] = Value::Array(columns);
    }
    full
}

fn expand_schema(short: &Value, fragments: &Map<String, Value>) -> Value {
    match short {
        Value::String(leaf) => expand_leaf(leaf, fragments),
        Value::Object(fields) => expand_object(fields, fragments),
        _ => json!({}),
    }
}

fn expand_leaf(leaf: &str, fragments: &Map<String, Value>) -> Value {
    let nested = |short: &str| expand_leaf(short, fragments);
    if let Some(name) = leaf.strip_prefix('@') {
        return fragments
            .get(name)
            .map_or_else(|| json!({}), |f| expand_schema(f, fragments));
    }
    if let Some(items) = leaf.strip_prefix("[]") {
        return array(nested(items), "atomic");
    }
    if let Some(items) = leaf.strip_prefix("[set]") {
        return array(nested(items), "set");
    }
    if let Some(values) = leaf.strip_prefix("{}") {
        return json!({ "type": "object", "additionalProperties": nested(values) });
    }
    match leaf {
        "time" => json!({ "type": "string", "format": "date-time" }),
        "quantity" => json!({
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "x-kubernetes-int-or-string": true,
        }),
        "intOrString" => json!({ "x-kubernetes-int-or-string": true }),
        "object" => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        "any" => json!({ "x-kubernetes-preserve-unknown-fields": true }),
        "labelSelector" => label_selector(),
        _ => match leaf.split_once('/') {
            Some((kind, format)) => json!({ "type": kind, "format": format }),
            None => json!({ "type": leaf }),
        },
    }
}

fn label_selector() -> Value {
    json!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": { "type": "object", "additionalProperties": { "type": "string" } },
            "matchExpressions": array(
                json!({
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string" },
                        "operator": { "type": "string" },
                        "values": array(json!({ "type": "string" }), "atomic"),
                    },
                }),
                "atomic",
            ),
        },
    })
}

fn expand_object(fields: &Map<String, Value>, fragments: &Map<String, Value>) -> Value {
    if let Some(items) = fields.get("$items") {
        return array(expand_schema(items, fragments), "atomic");
    }
    if let Some(values) = fields.get("$map") {
        return json!({ "type": "object", "additionalProperties": expand_schema(values, fragments) });
    }
    if let Some(base) = fields.get("$type") {
        let more = fields.iter().filter(|(key, _)| *key != "$type");
        return merged(expand_schema(base, fragments), more);
    }
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (key, short) in fields.iter().filter(|(key, _)| !key.starts_with('$')) {
        let name = key.trim_end_matches('*');
        if name.len() < key.len() {
            required.push(json!(name));
        }
        properties.insert(name.to_owned(), expand_schema(short, fragments));
    }
    let mut object = json!({ "type": "object", "properties": properties });
    let keys = fields.get("$list").filter(|keys| keys.is_array());
    if let Some(keys) = keys {
        // A key is required unless a default completes it.
        for key in keys.as_array().into_iter().flatten() {
            let defaulted = key
                .as_str()
                .is_some_and(|k| object["properties"][k].get("default").is_some());
            if !required.contains(key) && !defaulted {
                required.push(key.clone());
            }
        }
    }
    if !required.is_empty() {
        object["required"] = Value::Array(required);
    }
    if let Some(Value::Object(more)) = fields.get("$") {
        object = merged(object, more.iter());
    }
    match (fields.get("$list"), keys) {
        (_, Some(keys)) => {
            let mut list = array(object, "map");
            list["x-kubernetes-list-map-keys"] = keys.clone();
            list
        }
        (Some(_), None) => array(object, "atomic"),
        (None, None) => object,
    }
}

fn merged<'a>(mut schema: Value, more: impl Iterator<Item = (&'a String, &'a Value)>) -> Value {
    if let Value::Object(words) = &mut schema {
        words.extend(more.map(|(key, value)| (key.clone(), value.clone())));
    }
    schema
}

fn array(items: Value, list_type: &str) -> Value {
    json!({ "type": "array", "items": items, "x-kubernetes-list-type": list_type })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_is_written_out() {
        let fragments = json!({ "name": { "$type": "string", "maxLength": 3 } });
        let fragments = fragments.as_object().unwrap();
        let rows = [
            (
                json!("integer/int32"),
                json!({"type": "integer", "format": "int32"}),
            ),
            (json!("@name"), json!({"type": "string", "maxLength": 3})),
            (
                json!("{}[set]string"),
                json!({"type": "object", "additionalProperties":
                    {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}}),
            ),
            (
                json!({"a*": "string", "$": {"default": {}}}),
                json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "default": {}}),
            ),
            (
                json!({"$list": ["k"], "k": "string"}),
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                    "items": {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}}),
            ),
            (
                json!({"$list": "atomic", "type": "boolean"}),
                json!({"type": "array", "x-kubernetes-list-type": "atomic",
                    "items": {"type": "object", "properties": {"type": {"type": "boolean"}}}}),
            ),
        ];
        for (short, full) in rows {
            assert_eq!(expand_schema(&short, fragments), full, "{short}");
        }
    }
}
