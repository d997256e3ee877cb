//! Brings a written object of a built-in kind into the form in which Kubernetes would keep it.
//!
//! A Kubernetes server decodes its own kinds into typed structures and writes them out again. On the way nulls disappear,
//! quantities take their canonical form (`0.5` is `500m`), and an empty string where only certain words are allowed counts as absent.
//! This does the same to a JSON tree, led by the compiled schema. Custom resources do not go through here.

use serde_json::Value;

use super::QUANTITY;
use crate::quantity::Quantity;
use crate::schema::Schema;

/// Normalizes an object of a built-in kind in place.
pub fn normalize(schema: &Schema, object: &mut Value) {
    match object {
        Value::Object(fields) => {
            fields.retain(|name, value| match schema.field(name) {
                Some(_) if value.is_null() => false,
                Some(field) => !(is_empty_text(value) && has_closed_words(field)),
                None => true,
            });
            for (name, value) in fields {
                if let Some(field) = schema.field(name) {
                    normalize(field, value);
                }
            }
        }
        Value::Array(entries) => {
            if let Some(items) = schema.items.as_deref() {
                for entry in entries {
                    normalize(items, entry);
                }
            }
        }
        Value::Number(number) if schema.format == QUANTITY => {
            *object = Value::String(canonical(&number.to_string()));
        }
        Value::String(text) if schema.format == QUANTITY => *text = canonical(text),
        _ => {}
    }
}

/// A quantity as Kubernetes writes it back; text that is none stays as it is, for validation to refuse.
fn canonical(text: &str) -> String {
    Quantity::parse(text).map_or_else(|_| text.to_owned(), |q| q.to_string())
}

fn is_empty_text(value: &Value) -> bool {
    value.as_str().is_some_and(str::is_empty)
}

fn has_closed_words(schema: &Schema) -> bool {
    let rules = schema.rules.as_ref();
    rules.is_some_and(|r| !r.enumeration.is_empty() && !r.enumeration.iter().any(is_empty_text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::builtin::kind_schema;

    #[test]
    fn nulls_go_quantities_are_canonical_and_empty_words_are_absent() {
        let schema = kind_schema("", "v1", "Pod").unwrap();
        let mut pod = json!({
            "metadata": {"name": "a", "creationTimestamp": null},
            "spec": {
                "restartPolicy": "",
                "nodeName": "",
                "containers": [{"name": "c", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}, "env": null}],
            },
            "unknown": null,
        });
        normalize(&schema, &mut pod);
        assert_eq!(
            pod,
            json!({
                "metadata": {"name": "a"},
                "spec": {
                    "nodeName": "",
                    "containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}],
                },
                "unknown": null,
            })
        );
    }
}
