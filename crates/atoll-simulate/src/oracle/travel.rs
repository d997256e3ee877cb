//! What becomes of an object on its way to a destination: cleaned, expanded, customized.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::read::{Chosen, selects, strings, text};

/// An object as it should arrive: without what the center's API adds. A Namespace, which only comes along here, is no more than its name.
pub(super) fn as_it_travels(object: &Value) -> Value {
    if object["kind"] == "Namespace" {
        let metadata = Map::from_iter([("name".to_owned(), text(object, "/metadata/name").into())]);
        let fields = [
            ("apiVersion", "v1".into()),
            ("kind", "Namespace".into()),
            ("metadata", metadata.into()),
        ];
        return fields
            .map(|(k, v): (&str, Value)| (k.to_owned(), v))
            .into_iter()
            .collect::<Map<_, _>>()
            .into();
    }
    let mut body = object.clone();
    if let Some(map) = body.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let kept = ["name", "namespace", "labels", "annotations"];
        metadata.retain(|key, _| kept.contains(&key.as_str()));
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.retain(|key, _| {
                !key.starts_with("kcp.io/") && key != "control.kubestellar.io/expand-templates"
            });
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    body
}

/// `{{.key}}` by a destination's labels, in every text.
pub(super) fn expand(value: &Value, labels: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => {
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("{{.") {
                let (key, after) = after.split_once("}}").unwrap_or((after, ""));
                out.push_str(before);
                out.push_str(labels.get(key).map_or("", String::as_str));
                rest = after;
            }
            out.push_str(rest);
            Value::String(out)
        }
        Value::Array(items) => items.iter().map(|i| expand(i, labels)).collect(),
        Value::Object(map) => {
            let fields = map.iter().map(|(k, v)| (k.clone(), expand(v, labels)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// A Customizer as the load writes them: it sets texts in `data`.
#[derive(Debug)]
pub(super) struct Customizer {
    chosen: Chosen,
    targets: Vec<Value>,
    /// A key of `data`, and the text.
    merged: BTreeMap<String, String>,
    /// A key of `data`, and the label whose value it gets.
    from_label: Vec<(String, String)>,
}

impl Customizer {
    /// Reads one as the API shows it.
    pub(super) fn of(object: &Value) -> Self {
        let list =
            |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let patches = list(object.pointer("/spec/patches"));
        let label = |patch: &Value| {
            let key = text(patch, "/path").strip_prefix("$.data.")?;
            let label = text(patch, "/value")
                .strip_prefix("cluster.labels['")?
                .strip_suffix("']")?;
            Some((key.to_owned(), label.to_owned()))
        };
        Customizer {
            chosen: Chosen::of(&object["spec"]),
            targets: list(object.pointer("/spec/targets"))
                .iter()
                .flat_map(|t| list(t.get("objectSelectors")))
                .collect(),
            merged: patches
                .iter()
                .flat_map(|p| strings(p.pointer("/merge/data")))
                .collect(),
            from_label: patches.iter().filter_map(label).collect(),
        }
    }

    /// Whether it concerns an object.
    pub(super) fn means(&self, object: &Value) -> bool {
        let labels = strings(object.pointer("/metadata/labels"));
        self.targets.iter().any(|t| selects(t, &labels))
    }

    /// Whether it concerns a destination.
    pub(super) fn concerns(&self, labels: &BTreeMap<String, String>) -> bool {
        self.chosen.has(labels)
    }

    pub(super) fn apply(&self, body: &mut Value, labels: &BTreeMap<String, String>) {
        for (key, value) in &self.merged {
            body["data"][key] = value.clone().into();
        }
        for (key, label) in &self.from_label {
            body["data"][key] = labels.get(label).cloned().unwrap_or_default().into();
        }
    }
}
