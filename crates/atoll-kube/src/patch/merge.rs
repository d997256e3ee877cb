//! JSON merge patch (RFC 7386): maps are merged, null removes, everything else replaces.

use serde_json::{Map, Value};

use crate::status::Status;

/// Merges `patch` into `document`. The patch of an object must be a map.
pub fn merge(document: &mut Value, patch: Value) -> Result<(), Status> {
    let kind = match &patch {
        Value::Object(_) => {
            merge_value(document, patch);
            return Ok(());
        }
        Value::Null => return Err(Status::bad_request("Invalid JSON Patch")),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
    };
    Err(Status::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    )))
}

fn merge_value(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else if let Some(current) = target.get_mut(&name) {
            merge_value(current, value);
        } else {
            // Nulls inside something new have nothing to remove.
            let mut fresh = Value::Null;
            merge_value(&mut fresh, value);
            target.insert(name, fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(mut document: Value, patch: Value, expected: Value) {
        let shown = format!("{document} with {patch}");
        merge(&mut document, patch).unwrap();
        assert_eq!(document, expected, "{shown}");
    }

    #[test]
    fn the_cases_of_the_rfc() {
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        );
        check(json!({"a": "b"}), json!({"a": null}), json!({}));
        check(
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        );
        check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]}));
        check(
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        );
        check(
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        );
        check(
            json!({"e": null}),
            json!({"a": 1}),
            json!({"e": null, "a": 1}),
        );
        check(
            json!([1, 2]),
            json!({"a": "b", "c": null}),
            json!({"a": "b"}),
        );
        check(
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        );
        check(
            json!({"a": 1}),
            json!({"a": {"b": null, "c": 1}}),
            json!({"a": {"c": 1}}),
        );
    }

    #[test]
    fn only_a_map_is_a_patch_of_an_object() {
        for (patch, text) in [
            (
                json!([]),
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            (
                json!("x"),
                "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}",
            ),
            (json!(null), "Invalid JSON Patch"),
        ] {
            let status = merge(&mut json!({}), patch).unwrap_err();
            assert_eq!((status.code, &*status.message), (400, text));
        }
    }
}
