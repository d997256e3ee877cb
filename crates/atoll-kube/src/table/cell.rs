//! One cell: what a path finds, in the shape the column's type asks for.

use serde_json::Value;

use super::NamedCell;
use crate::definition::{Cell, Column};
use crate::time::{Timestamp, human_duration};

pub(super) fn cell(column: &Column, object: &Value, named: NamedCell, now: Timestamp) -> Value {
    match &column.cell {
        Cell::Named(name) => named(name, object, now),
        Cell::Path(path) => match path.first(object) {
            None => Value::Null,
            Some(value) => typed(&column.ty, value, now),
        },
    }
}

fn typed(ty: &str, value: &Value, now: Timestamp) -> Value {
    match (ty, value) {
        ("string", Value::String(_)) => value.clone(),
        ("string", Value::Null) => "".into(),
        ("string", other) => other.to_string().into(),
        (_, Value::Null) => Value::Null,
        ("integer", Value::Number(n)) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => i.into(),
            (None, Some(f)) => (f as i64).into(),
            _ => Value::Null,
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => age(text, now).into(),
        _ => Value::Null,
    }
}

/// How long ago a timestamp is, as people read it.
fn age(timestamp: &str, now: Timestamp) -> String {
    match Timestamp::parse(timestamp) {
        Some(then) => human_duration(now.since(then)),
        None => "<invalid>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_have_the_shape_of_their_column() {
        let check = |ty: &str, value: Value, expected: Value| {
            assert_eq!(
                typed(ty, &value, Timestamp(400_000)),
                expected,
                "{ty} {value}"
            );
        };
        check("string", json!("x"), json!("x"));
        check("string", json!(3), json!("3"));
        check("string", json!({"a": [1]}), json!("{\"a\":[1]}"));
        check("string", json!(null), json!(""));
        check("integer", json!(3), json!(3));
        check("integer", json!(3.9), json!(3));
        check("integer", json!("3"), json!(null));
        check("number", json!(3.5), json!(3.5));
        check("boolean", json!(true), json!(true));
        check("date", json!("1970-01-01T00:00:00Z"), json!("6m40s"));
        check("date", json!("yesterday"), json!("<invalid>"));
        check("integer", json!(null), json!(null));
    }
}
