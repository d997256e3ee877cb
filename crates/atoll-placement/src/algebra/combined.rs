//! CombinedStatus objects: what all collectors of one object under one policy show, in KubeStellar's shape.
//!
//! Ours beside it: `expected`, `reported` and `stale` always, and per result `totalRows`, `approximateColumns` and `problems` when there is something to say. Always true: the same tables give
//! the same object, byte for byte, so that comparing it tells whether to publish it.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::partial::Coverage;
use super::table::Table;

/// Where the CombinedStatus of an object without a namespace is.
pub const REPORT_NAMESPACE: &str = "kubestellar-report";
/// The labels' prefix.
const PREFIX: &str = "status.kubestellar.io/";
/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

/// The payload object and the policy that a CombinedStatus is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// The object's uid.
    pub uid: &'a str,
    /// Its API group.
    pub group: &'a str,
    /// Its resource: lower case, plural.
    pub resource: &'a str,
    /// Its namespace, if it has one.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// The policy's name.
    pub policy: &'a str,
    /// The policy's uid.
    pub policy_uid: &'a str,
}

impl About<'_> {
    /// The CombinedStatus' namespace.
    pub fn status_namespace(&self) -> &str {
        self.namespace.unwrap_or(REPORT_NAMESPACE)
    }

    /// The CombinedStatus' name.
    pub fn status_name(&self) -> String {
        format!("{}.{}", self.uid, self.policy_uid)
    }

    /// The CombinedStatus' labels.
    pub fn labels(&self) -> Vec<(String, String)> {
        [
            ("api-group", self.group),
            ("resource", self.resource),
            ("namespace", self.namespace.unwrap_or("")),
            ("name", self.name),
            ("binding-policy", self.policy),
        ]
        .into_iter()
        .map(|(key, value)| (format!("{PREFIX}{key}"), label_value(value)))
        .collect()
    }
}

/// A name as a label's value: one that is too long is cut, and told apart by a hash.
pub fn label_value(name: &str) -> String {
    if name.len() <= LONGEST_LABEL {
        return name.to_owned();
    }
    let hash = hex::encode(&Sha256::digest(name)[..4]);
    let mut end = LONGEST_LABEL - hash.len() - 1;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{hash}", &name[..end])
}

/// The object, with the metadata that follows from what it is about. `tables` has the collectors' names.
pub fn combined_status<'a>(
    about: &About<'_>,
    coverage: Coverage,
    tables: impl IntoIterator<Item = (&'a str, &'a Table)>,
) -> Value {
    let labels: Map<String, Value> = about
        .labels()
        .into_iter()
        .map(|(key, value)| (key, Value::String(value)))
        .collect();
    let mut results: Vec<(&str, Value)> = tables
        .into_iter()
        .map(|(name, table)| (name, result(name, table)))
        .collect();
    results.sort_by_key(|(name, _)| *name);
    let results: Vec<Value> = results.into_iter().map(|(_, result)| result).collect();
    json!({
        "apiVersion": "control.kubestellar.io/v1alpha1",
        "kind": "CombinedStatus",
        "metadata": {"namespace": about.status_namespace(), "name": about.status_name(), "labels": labels},
        "expected": coverage.expected,
        "reported": coverage.reported,
        "stale": coverage.stale,
        "results": results,
    })
}

/// One collector's result.
pub fn result(name: &str, table: &Table) -> Value {
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| json!({"columns": row.iter().map(|cell| cell.tagged()).collect::<Vec<_>>()}))
        .collect();
    let columns: Vec<&str> = table.columns.iter().map(|name| &**name).collect();
    let mut result =
        json!({"name": name, "columnNames": columns, "rows": rows, "totalRows": table.total});
    let mut put = |field: &str, list: Vec<Value>| {
        if !list.is_empty() {
            result[field] = Value::Array(list);
        }
    };
    put(
        "approximateColumns",
        table
            .approximate
            .iter()
            .map(|name| json!(&**name))
            .collect(),
    );
    // KubeStellar's places for errors: those of the shown rows, and those of what is combined.
    let (mut row_errors, mut aggregation_errors) = (Vec::new(), Vec::new());
    for error in &table.row_errors {
        row_errors.push(json!({"wec": &*error.destination, "columnName": &*error.column, "error": &*error.message}));
    }
    if table.too_many {
        aggregation_errors.push(json!({"columnName": "", "error": "there are more distinct groups or values than are kept: group by something coarser"}));
    }
    let mut problems = Vec::new();
    for problem in &table.problems {
        let examples: Vec<&str> = problem.examples.iter().map(|name| &**name).collect();
        if problem.clause == "combinedFields" {
            aggregation_errors
                .push(json!({"columnName": &*problem.column, "error": &*problem.message}));
        } else {
            for name in &examples {
                row_errors.push(json!({"wec": name, "columnName": &*problem.column, "error": &*problem.message}));
            }
        }
        problems.push(json!({
            "clause": problem.clause, "columnName": &*problem.column, "message": &*problem.message, "count": problem.count, "examples": examples,
        }));
    }
    put("rowErrors", row_errors);
    put("aggregationErrors", aggregation_errors);
    put("problems", problems);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_kubestellars() {
        let mut about = About {
            uid: "o",
            group: "apps",
            resource: "deployments",
            namespace: Some("shop"),
            name: "web",
            policy: "everywhere",
            policy_uid: "p",
        };
        let status = combined_status(&about, Coverage::default(), []);
        assert_eq!(
            status["metadata"],
            json!({"namespace": "shop", "name": "o.p", "labels": {
                "status.kubestellar.io/api-group": "apps", "status.kubestellar.io/resource": "deployments", "status.kubestellar.io/namespace": "shop",
                "status.kubestellar.io/name": "web", "status.kubestellar.io/binding-policy": "everywhere"}})
        );
        about.namespace = None;
        assert_eq!(about.status_namespace(), "kubestellar-report");
        let long = label_value(&"x".repeat(200));
        assert_eq!(long.len(), 63);
        assert_ne!(long, label_value(&"x".repeat(201)));
    }
}
