//! Table cells of Kubernetes' own kinds, by name: `Pod/Ready`.

use serde_json::Value;

use crate::time::Timestamp;

/// Computes one cell of a built-in kind; the name is `<Kind>/<Heading>`.
pub fn cell(name: &str, object: &Value, _now: Timestamp) -> Value {
    match name.split_once('/') {
        Some((_, "Name")) => object["metadata"]["name"].clone(),
        _ => Value::from("<unknown>"),
    }
}
