//! JSON patch (RFC 6902) as Kubernetes applies it.
//!
//! Kubernetes is laxer than the RFC, and its clients rely on that: negative indices count from the end, `replace` and
//! `copy` take an absent field of a map for null, and `test` for null succeeds where nothing is. Hence our own walk and
//! not a general crate. How many operations there may be, and how much they may copy, is limited.

use serde_json::Value;

use super::order::same;
use crate::schema::decode::MAX_DEPTH;
use crate::status::{Reason, Status};

/// The most operations in one patch.
pub const MAX_OPERATIONS: usize = 10_000;

/// The most bytes of JSON that the `copy` operations of one patch may add.
pub const MAX_COPIED: usize = 3 * 1024 * 1024;

/// The most list items that the operations of one patch may move aside.
const MAX_SHIFTED: usize = 50_000_000;

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
    let mut work = Work {
        depth: depth(document),
        ..Work::default()
    };
    for operation in operations {
        Operation(operation)
            .apply(document, &mut work)
            .map_err(refused)?;
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

/// What a patch has cost so far. A small patch may not make much work, nor a document too deep to walk.
#[derive(Default)]
struct Work {
    copied: usize,
    shifted: usize,
    /// The document is not nested deeper than this.
    depth: usize,
}

impl Work {
    fn copy(&mut self, value: &Value) -> Outcome {
        self.copied += value.to_string().len();
        if self.copied > MAX_COPIED {
            let copied = self.copied;
            return Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
            ));
        }
        Ok(())
    }

    fn shift(&mut self, container: &Value) -> Outcome {
        self.shifted += container.as_array().map_or(0, Vec::len);
        if self.shifted > MAX_SHIFTED {
            return Err("the patch inserts into and removes from long lists too often".to_owned());
        }
        Ok(())
    }

    /// Notes that something of depth `inner` was put at `path`.
    fn nest(&mut self, document: &Value, path: &str, inner: usize) -> Outcome {
        self.depth = self.depth.max(path.matches('/').count() + inner);
        if self.depth > MAX_DEPTH {
            self.depth = depth(document);
        }
        if self.depth > MAX_DEPTH {
            return Err(format!(
                "the patched document is nested deeper than {MAX_DEPTH} levels"
            ));
        }
        Ok(())
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// One operation, as it is written in the patch.
struct Operation<'a>(&'a Value);

impl<'a> Operation<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn kind(&self) -> &'a str {
        self.text("op").unwrap_or("unknown")
    }

    fn path(&self) -> Outcome<&'a str> {
        let fault = || {
            let kind = self.kind();
            format!(
                "{kind} operation failed to decode path: operation missing path field: missing value"
            )
        };
        self.text("path").ok_or_else(fault)
    }

    fn from(&self) -> Outcome<&'a str> {
        let fault = || {
            let kind = self.kind();
            format!(
                "{kind} operation failed to decode from: operation, missing from field: missing value"
            )
        };
        self.text("from").ok_or_else(fault)
    }

    fn value(&self) -> Value {
        self.0.get("value").cloned().unwrap_or(Value::Null)
    }

    /// The container that `pointer` leads into and the last step; `fault` says what is missing otherwise.
    fn find<'d>(
        &self,
        document: &'d mut Value,
        pointer: &str,
        fault: &str,
    ) -> Outcome<(&'d mut Value, String)> {
        let absent = || {
            let kind = self.kind();
            let quoted = matches!(kind, "add" | "remove");
            let shown = if quoted {
                format!("\"{pointer}\"")
            } else {
                pointer.to_owned()
            };
            format!("{kind} operation does not apply: {fault}: {shown}: missing value")
        };
        find(document, pointer).ok_or_else(absent)
    }

    fn apply(&self, document: &mut Value, work: &mut Work) -> Outcome {
        match self.kind() {
            "add" => self.add(document, work),
            "remove" => {
                let path = self.path()?;
                let (container, key) = self.find(document, path, "doc is missing path")?;
                work.shift(container)?;
                let removed = remove(container, &key);
                removed.map_err(|e| format!("error in remove for path: '{path}': {e}"))?;
                Ok(())
            }
            "replace" => self.replace(document, work),
            "move" => self.relocate(document, work),
            "copy" => self.copy(document, work),
            "test" => self.test(document),
            other => Err(format!("Unexpected kind: {other}")),
        }
    }

    fn add(&self, document: &mut Value, work: &mut Work) -> Outcome {
        let path = self.path()?;
        let (container, key) = self.find(document, path, "doc is missing path")?;
        work.shift(container)?;
        let value = self.value();
        let inner = depth(&value);
        add(container, &key, value).map_err(|e| format!("error in add for path: '{path}': {e}"))?;
        work.nest(document, path, inner)
    }

    fn replace(&self, document: &mut Value, work: &mut Work) -> Outcome {
        let path = self.path()?;
        let value = self.value();
        let inner = depth(&value);
        if path.is_empty() {
            if inner == 0 {
                let fault = "replace operation value must be object or array: %!w(<nil>)";
                return Err(fault.to_owned());
            }
            *document = value;
            return work.nest(document, path, inner);
        }
        match self.find(document, path, "doc is missing path")? {
            (Value::Array(items), key) => {
                let absent = |_| {
                    format!(
                        "replace operation does not apply: doc is missing key: {path}: missing value"
                    )
                };
                let at = index(&key, items.len()).map_err(absent)?;
                items[at] = value;
            }
            (container, key) => add(container, &key, value)?,
        }
        work.nest(document, path, inner)
    }

    fn relocate(&self, document: &mut Value, work: &mut Work) -> Outcome {
        let from = self.from()?;
        let (container, key) = self.find(document, from, "doc is missing from path")?;
        work.shift(container)?;
        let moved =
            remove(container, &key).map_err(|e| format!("error in move for path: '{key}': {e}"))?;
        let path = self.path()?;
        let (container, key) = self.find(document, path, "doc is missing destination path")?;
        work.shift(container)?;
        add(container, &key, moved)
            .map_err(|e| format!("error in move for path: '{path}': {e}"))?;
        work.nest(document, path, work.depth)
    }

    fn copy(&self, document: &mut Value, work: &mut Work) -> Outcome {
        let from = self.from()?;
        let (container, key) = self.find(document, from, "doc is missing from path")?;
        let source = get(container, &key)
            .map_err(|e| format!("error in copy for from: '{from}': {e}"))?
            .cloned()
            .unwrap_or(Value::Null);
        work.copy(&source)?;
        let path = self.path()?;
        let (container, key) = self.find(document, path, "doc is missing destination path")?;
        work.shift(container)?;
        add(container, &key, source)
            .map_err(|e| format!("error while adding value during copy: {e}"))?;
        work.nest(document, path, work.depth)
    }

    fn test(&self, document: &mut Value) -> Outcome {
        let path = self.path()?;
        let found = if path.is_empty() {
            Some(&*document)
        } else {
            let (container, key) = self.find(document, path, "is missing path")?;
            get(container, &key).map_err(|e| format!("error in test for path: '{path}': {e}"))?
        };
        let expected = self.0.get("value").unwrap_or(&Value::Null);
        if same(found.unwrap_or(&Value::Null), expected) {
            Ok(())
        } else {
            Err(format!("testing value {path} failed: test failed"))
        }
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
    fn a_patch_cannot_nest_a_document_out_of_reach() {
        let deeper = [
            json!({"op": "add", "path": "/t", "value": {}}),
            json!({"op": "move", "from": "/a", "path": "/t/a"}),
            json!({"op": "move", "from": "/t", "path": "/a"}),
        ];
        let patch =
            |times: usize| Value::Array(deeper.iter().cycle().take(3 * times).cloned().collect());
        let mut document = json!({"a": {}});
        json(&mut document, &patch(50)).unwrap();
        let status = json(&mut document, &patch(100)).unwrap_err();
        let why = "the patched document is nested deeper than 100 levels";
        assert_eq!(status.details.unwrap().causes[0].message, why);
        // Going up and down is no reason.
        let around = [
            json!({"op": "move", "from": "/a", "path": "/b"}),
            json!({"op": "move", "from": "/b", "path": "/a"}),
        ];
        let around = around.iter().cycle().take(1000).cloned().collect();
        json(&mut json!({"a": {"b": 1}}), &Value::Array(around)).unwrap();
    }

    #[test]
    fn long_lists_are_not_shifted_without_end() {
        let mut document = json!({"a": vec![0; 20_000]});
        let patch = vec![json!({"op": "add", "path": "/a/0", "value": 1}); 3_000];
        assert_eq!(
            json(&mut document, &Value::Array(patch)).unwrap_err().code,
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
