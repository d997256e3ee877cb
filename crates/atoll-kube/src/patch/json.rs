//! JSON patch (RFC 6902) as Kubernetes applies it.
//!
//! Kubernetes is laxer than the RFC, and its clients rely on that: negative indices count from the end, `replace` and
//! `copy` take an absent field of a map for null, and `test` for null succeeds where nothing is. Hence our own walk and
//! not a general crate. How many operations there may be, and how much they may copy, is limited.

use serde_json::Value;

use super::order::same;
use crate::status::{Reason, Status};

/// The most operations in one patch.
pub const MAX_OPERATIONS: usize = 10_000;

/// The most bytes of JSON that the `copy` operations of one patch may add.
pub const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies the operations in `patch`. On an error `document` is left as far as the operations before went.
pub fn json(document: &mut Value, patch: &Value) -> Result<(), Status> {
    let operations = patch.as_array().ok_or_else(|| {
        let kind = match patch {
            Value::Object(_) => "object",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::Null | Value::Array(_) => "null",
        };
        Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {kind} into Go value of type []handlers.jsonPatchOp"
        ))
    })?;
    if operations.len() > MAX_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        );
        return Err(Status::new(413, Reason::RequestEntityTooLarge, message));
    }
    let mut copied = 0;
    for operation in operations {
        apply(document, operation, &mut copied).map_err(refused)?;
    }
    Ok(())
}

/// Kubernetes says only that there was an error; the cause says which.
fn refused(why: String) -> Status {
    Status::new(
        422,
        Reason::Invalid,
        "the server rejected our request due to an error in our request",
    )
    .cause("FieldValueInvalid", why, "patch")
}

type Outcome<T = ()> = Result<T, String>;

fn apply(document: &mut Value, operation: &Value, copied: &mut usize) -> Outcome {
    let text = |name: &str| operation.get(name).and_then(Value::as_str);
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    let path = |what: &str| {
        text("path").ok_or_else(|| format!("{what} operation failed to decode path: operation missing path field: missing value"))
    };
    let from = |what: &str| {
        text("from").ok_or_else(|| format!("{what} operation failed to decode from: operation, missing from field: missing value"))
    };
    match text("op").unwrap_or("unknown") {
        "add" => {
            let path = path("add")?;
            let absent = || {
                format!(
                    "add operation does not apply: doc is missing path: \"{path}\": missing value"
                )
            };
            let (container, key) = find(document, path).ok_or_else(absent)?;
            add(container, &key, value())
                .map_err(|e| format!("error in add for path: '{path}': {e}"))
        }
        "remove" => {
            let path = path("remove")?;
            let absent = || {
                format!(
                    "remove operation does not apply: doc is missing path: \"{path}\": missing value"
                )
            };
            let (container, key) = find(document, path).ok_or_else(absent)?;
            remove(container, &key)
                .map_err(|e| format!("error in remove for path: '{path}': {e}"))?;
            Ok(())
        }
        "replace" => {
            let path = path("replace")?;
            if path.is_empty() {
                let value = value();
                if !value.is_object() && !value.is_array() {
                    return Err(
                        "replace operation value must be object or array: %!w(<nil>)".to_owned(),
                    );
                }
                *document = value;
                return Ok(());
            }
            let absent = || {
                format!(
                    "replace operation does not apply: doc is missing path: {path}: missing value"
                )
            };
            let (container, key) = find(document, path).ok_or_else(absent)?;
            let no_key = |_| {
                format!(
                    "replace operation does not apply: doc is missing key: {path}: missing value"
                )
            };
            match container {
                Value::Array(items) => {
                    let at = index(&key, items.len()).map_err(no_key)?;
                    items[at] = value();
                }
                other => add(other, &key, value())?,
            }
            Ok(())
        }
        "move" => {
            let from = from("move")?;
            let absent = || {
                format!(
                    "move operation does not apply: doc is missing from path: {from}: missing value"
                )
            };
            let (container, key) = find(document, from).ok_or_else(absent)?;
            let moved = remove(container, &key)
                .map_err(|e| format!("error in move for path: '{key}': {e}"))?;
            let path = path("move")?;
            let absent = || {
                format!(
                    "move operation does not apply: doc is missing destination path: {path}: missing value"
                )
            };
            let (container, key) = find(document, path).ok_or_else(absent)?;
            add(container, &key, moved)
                .map_err(|e| format!("error in move for path: '{path}': {e}"))
        }
        "copy" => {
            let from = from("copy")?;
            let absent = || {
                format!(
                    "copy operation does not apply: doc is missing from path: {from}: missing value"
                )
            };
            let (container, key) = find(document, from).ok_or_else(absent)?;
            let source = get(container, &key)
                .map_err(|e| format!("error in copy for from: '{from}': {e}"))?;
            let source = source.cloned().unwrap_or(Value::Null);
            *copied += source.to_string().len();
            if *copied > MAX_COPIED {
                return Err(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                ));
            }
            let path = path("copy")?;
            let absent = || {
                format!(
                    "copy operation does not apply: doc is missing destination path: {path}: missing value"
                )
            };
            let (container, key) = find(document, path).ok_or_else(absent)?;
            add(container, &key, source)
                .map_err(|e| format!("error while adding value during copy: {e}"))
        }
        "test" => {
            let path = path("test")?;
            let failed = || format!("testing value {path} failed: test failed");
            let expected = value();
            let found = if path.is_empty() {
                Some(&*document)
            } else {
                let absent = || {
                    format!("test operation does not apply: is missing path: {path}: missing value")
                };
                let (container, key) = find(document, path).ok_or_else(absent)?;
                get(container, &key)
                    .map_err(|e| format!("error in test for path: '{path}': {e}"))?
            };
            if same(found.unwrap_or(&Value::Null), &expected) {
                Ok(())
            } else {
                Err(failed())
            }
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

/// The container that a pointer's last step is in, and that step. The container may not have it.
fn find<'d>(document: &'d mut Value, pointer: &str) -> Option<(&'d mut Value, String)> {
    let mut steps = pointer.split('/').skip(1).map(unescape);
    let mut key = steps.next()?;
    let mut container = document;
    for next in steps {
        container = match container {
            Value::Object(map) => map.get_mut(&key)?,
            Value::Array(items) => {
                let at = index(&key, items.len()).ok()?;
                &mut items[at]
            }
            _ => return None,
        };
        key = next;
    }
    matches!(container, Value::Object(_) | Value::Array(_)).then_some((container, key))
}

fn unescape(step: &str) -> String {
    if step.contains('~') {
        step.replace("~1", "/").replace("~0", "~")
    } else {
        step.to_owned()
    }
}

fn number(key: &str) -> Outcome<i64> {
    let bad = || {
        format!(
            "strconv.Atoi: parsing {}: invalid syntax",
            crate::status::quote(key)
        )
    };
    key.parse().map_err(|_| bad())
}

/// The position `key` means in a list of `len` items; negative ones count from the end.
fn index(key: &str, len: usize) -> Outcome<usize> {
    let at = number(key)?;
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let real = if at < 0 { at + len } else { at };
    if real < 0 || real >= len {
        return Err(format!(
            "Unable to access invalid index: {at}: invalid index referenced"
        ));
    }
    usize::try_from(real).map_err(|e| e.to_string())
}

fn get<'d>(container: &'d Value, key: &str) -> Outcome<Option<&'d Value>> {
    match container {
        Value::Object(map) => Ok(map.get(key)),
        Value::Array(items) => Ok(items.get(index(key, items.len())?)),
        _ => Ok(None),
    }
}

fn add(container: &mut Value, key: &str, value: Value) -> Outcome {
    match container {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            number(key).map_err(|e| format!("value was not a proper array index: '{key}': {e}"))?;
            // One more place than there are items: after the last.
            let at = index(key, items.len() + 1)?;
            items.insert(at, value);
        }
        _ => {}
    }
    Ok(())
}

fn remove(container: &mut Value, key: &str) -> Outcome<Value> {
    match container {
        Value::Object(map) => map
            .remove(key)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value")),
        Value::Array(items) => {
            let at = index(key, items.len())?;
            Ok(items.remove(at))
        }
        _ => Ok(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(mut document: Value, patch: Value, expected: Value) {
        let shown = format!("{document} with {patch}");
        json(&mut document, &patch).expect(&shown);
        assert_eq!(document, expected, "{shown}");
    }

    fn refuse(mut document: Value, patch: Value, cause: &str) {
        let status = json(&mut document, &patch).unwrap_err();
        assert_eq!(status.code, 422);
        assert_eq!(
            status.message,
            "the server rejected our request due to an error in our request"
        );
        assert_eq!(status.details.unwrap().causes[0].message, cause);
    }

    #[test]
    fn operations_do_what_the_rfc_says() {
        check(
            json!({"a": 1}),
            json!([{"op": "add", "path": "/b", "value": {"c": 2}}]),
            json!({"a": 1, "b": {"c": 2}}),
        );
        check(
            json!({"a": [1, 3]}),
            json!([{"op": "add", "path": "/a/1", "value": 2}]),
            json!({"a": [1, 2, 3]}),
        );
        check(
            json!({"a": [1]}),
            json!([{"op": "add", "path": "/a/-", "value": 2}]),
            json!({"a": [1, 2]}),
        );
        check(
            json!({"a": [1]}),
            json!([{"op": "add", "path": "/a/1", "value": 2}]),
            json!({"a": [1, 2]}),
        );
        check(
            json!({"a": 1, "b": 2}),
            json!([{"op": "remove", "path": "/a"}]),
            json!({"b": 2}),
        );
        check(
            json!({"a": [1, 2, 3]}),
            json!([{"op": "remove", "path": "/a/1"}]),
            json!({"a": [1, 3]}),
        );
        check(
            json!({"a": {"b": 1}}),
            json!([{"op": "replace", "path": "/a/b", "value": null}]),
            json!({"a": {"b": null}}),
        );
        check(
            json!({"a": {"x/y": 1}}),
            json!([{"op": "move", "from": "/a/x~1y", "path": "/m~0n"}]),
            json!({"a": {}, "m~n": 1}),
        );
        check(
            json!({"a": [1]}),
            json!([{"op": "copy", "from": "/a", "path": "/b"}]),
            json!({"a": [1], "b": [1]}),
        );
        check(
            json!({"a": {"b": [1]}}),
            json!([{"op": "test", "path": "/a", "value": {"b": [1]}}]),
            json!({"a": {"b": [1]}}),
        );
        check(
            json!({"a": 1}),
            json!([{"op": "replace", "path": "", "value": {"b": 2}}]),
            json!({"b": 2}),
        );
        check(
            json!({"": 1}),
            json!([{"op": "remove", "path": "/"}]),
            json!({}),
        );
    }

    #[test]
    fn what_kubernetes_allows_beyond_the_rfc() {
        check(
            json!({"a": [1, 2, 3]}),
            json!([{"op": "remove", "path": "/a/-1"}]),
            json!({"a": [1, 2]}),
        );
        check(
            json!({"a": [1, 2]}),
            json!([{"op": "add", "path": "/a/-1", "value": 3}]),
            json!({"a": [1, 2, 3]}),
        );
        check(
            json!({"a": [1, 2]}),
            json!([{"op": "replace", "path": "/a/-2", "value": 0}]),
            json!({"a": [0, 2]}),
        );
        check(
            json!({}),
            json!([{"op": "replace", "path": "/a", "value": 1}]),
            json!({"a": 1}),
        );
        check(
            json!({}),
            json!([{"op": "copy", "from": "/a", "path": "/b"}]),
            json!({"b": null}),
        );
        check(
            json!({}),
            json!([{"op": "test", "path": "/a", "value": null}]),
            json!({}),
        );
        check(
            json!({}),
            json!([{"op": "add", "path": "/a"}]),
            json!({"a": null}),
        );
    }

    #[test]
    fn a_refusal_says_which_operation_and_why() {
        let one = |op: Value| json!([op]);
        for (document, operation, cause) in [
            (
                json!({}),
                json!({"op": "add", "path": "/a/b", "value": 1}),
                "add operation does not apply: doc is missing path: \"/a/b\": missing value",
            ),
            (
                json!({}),
                json!({"op": "add", "path": "", "value": 1}),
                "add operation does not apply: doc is missing path: \"\": missing value",
            ),
            (
                json!({"a": 1}),
                json!({"op": "add", "path": "/a/b", "value": 1}),
                "add operation does not apply: doc is missing path: \"/a/b\": missing value",
            ),
            (
                json!({"a": []}),
                json!({"op": "add", "path": "/a/2", "value": 1}),
                "error in add for path: '/a/2': Unable to access invalid index: 2: invalid index referenced",
            ),
            (
                json!({"a": []}),
                json!({"op": "add", "path": "/a/x", "value": 1}),
                "error in add for path: '/a/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                json!({}),
                json!({"op": "remove", "path": "/a"}),
                "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value",
            ),
            (
                json!({}),
                json!({"op": "remove", "path": "/a/b"}),
                "remove operation does not apply: doc is missing path: \"/a/b\": missing value",
            ),
            (
                json!({"a": [1]}),
                json!({"op": "replace", "path": "/a/1", "value": 1}),
                "replace operation does not apply: doc is missing key: /a/1: missing value",
            ),
            (
                json!({}),
                json!({"op": "replace", "path": "/a/b", "value": 1}),
                "replace operation does not apply: doc is missing path: /a/b: missing value",
            ),
            (
                json!({"a": 1}),
                json!({"op": "test", "path": "/a", "value": 2}),
                "testing value /a failed: test failed",
            ),
            (
                json!({"a": 1}),
                json!({"op": "test", "path": "/a"}),
                "testing value /a failed: test failed",
            ),
            (
                json!({}),
                json!({"op": "move", "from": "/a", "path": "/b"}),
                "error in move for path: 'a': Unable to remove nonexistent key: a: missing value",
            ),
            (
                json!({}),
                json!({"op": "spin", "path": "/b"}),
                "Unexpected kind: spin",
            ),
            (json!({}), json!({"path": "/b"}), "Unexpected kind: unknown"),
        ] {
            refuse(document, one(operation), cause);
        }
    }

    #[test]
    fn patches_are_limited() {
        let operation = json!({"op": "test", "path": "/a", "value": null});
        let status = json(
            &mut json!({}),
            &Value::Array(vec![operation; MAX_OPERATIONS + 1]),
        )
        .unwrap_err();
        assert_eq!(status.code, 413);
        assert_eq!(
            status.message,
            "The allowed maximum operations in a JSON patch is 10000, got 10001"
        );
        let doubling = json!({"op": "copy", "from": "", "path": "/a"});
        let _ = doubling;
        let copy = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let mut document = json!({"a": ["x".repeat(1000)]});
        assert_eq!(
            json(&mut document, &Value::Array(vec![copy; 100]))
                .unwrap_err()
                .code,
            422
        );
    }

    #[test]
    fn only_a_list_is_a_json_patch() {
        let status = json(&mut json!({}), &json!({"op": "add"})).unwrap_err();
        assert_eq!(status.code, 400);
        assert_eq!(
            status.message,
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        );
    }
}
