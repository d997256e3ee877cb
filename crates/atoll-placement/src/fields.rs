//! Reading the fields of a spec: what is there, typed, with every fault noted at its path.

use atoll_kube::status::FieldError;
use serde_json::Value;

/// A list; empty when absent.
pub(crate) fn list<'a>(
    value: &'a Value,
    field: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> &'a [Value] {
    match value.get(field) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(other) => {
            errors.push(FieldError::type_invalid(
                format!("{path}.{field}"),
                other.clone(),
                "must be a list",
            ));
            &[]
        }
    }
}

/// A list of strings.
pub(crate) fn names(
    value: &Value,
    field: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Vec<String> {
    let items = list(value, field, path, errors);
    let mut found = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        match item.as_str() {
            Some(name) => found.push(name.to_owned()),
            None => errors.push(FieldError::type_invalid(
                format!("{path}.{field}[{i}]"),
                item.clone(),
                "must be a string",
            )),
        }
    }
    found
}

/// A boolean; false when absent.
pub(crate) fn flag(value: &Value, field: &str, path: &str, errors: &mut Vec<FieldError>) -> bool {
    match value.get(field) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(set)) => *set,
        Some(other) => {
            errors.push(FieldError::type_invalid(
                format!("{path}.{field}"),
                other.clone(),
                "must be true or false",
            ));
            false
        }
    }
}

/// A string.
pub(crate) fn text(
    value: &Value,
    field: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Option<String> {
    match value.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => {
            errors.push(FieldError::type_invalid(
                format!("{path}.{field}"),
                other.clone(),
                "must be a string",
            ));
            None
        }
    }
}

/// A whole number that is not negative.
pub(crate) fn count(
    value: &Value,
    field: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Option<u64> {
    match value.get(field) {
        None | Some(Value::Null) => None,
        Some(found) => {
            let number = found.as_u64();
            if number.is_none() {
                errors.push(FieldError::invalid(
                    format!("{path}.{field}"),
                    found.clone(),
                    "must be a whole number, not negative",
                ));
            }
            number
        }
    }
}
