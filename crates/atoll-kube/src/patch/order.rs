//! How the merge machinery compares JSON values: numbers by their value, so that `1` and `1.0` are the same list
//! key, and everything else by a total order over all kinds of value.
//!
//! Field sets are sorted by this order, and list items are found by it. It knows nothing about schemas or paths.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// A borrowed JSON value that is compared by [`compare`]: a key for sorted maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered<'a>(pub(crate) &'a Value);

impl PartialEq for Ordered<'_> {
    fn eq(&self, other: &Self) -> bool {
        compare(self.0, other.0) == Ordering::Equal
    }
}

impl Eq for Ordered<'_> {}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.0, other.0)
    }
}

/// A total order over JSON values: numbers, strings, booleans, lists, maps, null; within a kind by content.
pub(crate) fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(l), Value::Number(r)) => compare_numbers(l, r),
        (Value::String(l), Value::String(r)) => l.cmp(r),
        (Value::Bool(l), Value::Bool(r)) => l.cmp(r),
        (Value::Array(l), Value::Array(r)) => {
            let differing = l
                .iter()
                .zip(r)
                .map(|(l, r)| compare(l, r))
                .find(|o| o.is_ne());
            differing.unwrap_or_else(|| l.len().cmp(&r.len()))
        }
        (Value::Object(l), Value::Object(r)) => {
            let differing = l
                .iter()
                .zip(r)
                .map(|((lk, lv), (rk, rv))| lk.cmp(rk).then_with(|| compare(lv, rv)))
                .find(|o| o.is_ne());
            differing.unwrap_or_else(|| l.len().cmp(&r.len()))
        }
        _ => rank(left).cmp(&rank(right)),
    }
}

/// Whether two values are the same, with `1` and `1.0` counted as the same.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    left == right || compare(left, right) == Ordering::Equal
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    if let (Some(l), Some(r)) = (left.as_i64(), right.as_i64()) {
        return l.cmp(&r);
    }
    if let (Some(l), Some(r)) = (left.as_u64(), right.as_u64()) {
        return l.cmp(&r);
    }
    let (l, r) = (left.as_f64().unwrap_or(0.0), right.as_f64().unwrap_or(0.0));
    l.total_cmp(&r)
}

/// The value as Go's `%v` prints a decoded JSON document, for error texts that clients know from Kubernetes:
/// `map[a:1 b:[x y]]`.
pub(crate) fn go_format(value: &Value) -> String {
    let mut out = String::new();
    write_go(value, &mut out);
    out
}

fn write_go(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(s) => out.push_str(s),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                write_go(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push_str("map[");
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write_go(item, out);
            }
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_ordered_and_numbers_compare_by_value() {
        let sorted = [
            json!(-1),
            json!(0.5),
            json!(1),
            json!("a"),
            json!("b"),
            json!(false),
            json!([1]),
            json!({}),
            json!(null),
        ];
        for (i, left) in sorted.iter().enumerate() {
            for (j, right) in sorted.iter().enumerate() {
                assert_eq!(compare(left, right), i.cmp(&j), "{left} against {right}");
            }
        }
        assert!(same(&json!(1), &json!(1.0)));
        assert!(!same(&json!(1), &json!("1")));
        assert_eq!(compare(&json!(u64::MAX), &json!(1)), Ordering::Greater);
    }

    #[test]
    fn lists_and_maps_compare_by_first_difference_then_by_length() {
        assert_eq!(compare(&json!([1, 2]), &json!([1, 3])), Ordering::Less);
        assert_eq!(compare(&json!([1]), &json!([1, 3])), Ordering::Less);
        assert_eq!(
            compare(&json!({"a": 2}), &json!({"a": 1, "b": 1})),
            Ordering::Greater
        );
    }

    #[test]
    fn go_format_prints_as_kubernetes_does() {
        let value = json!({"b": ["x", 1, null], "a": {"c": true}});
        assert_eq!(go_format(&value), "map[a:map[c:true] b:[x 1 <nil>]]");
    }
}
