//! What the quickstart shows. Pure: from what the center answered to lines of text.

use serde_json::Value;

/// One edge, as the center sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EdgeRow {
    /// Its name.
    pub name: String,
    /// Whether its agent is connected.
    pub connected: bool,
    /// Copies applied there.
    pub applied: usize,
    /// Workloads there that have all their replicas, of how many.
    pub available: (usize, usize),
}

impl EdgeRow {
    /// From the edge's ManagedCluster and the WorkStatuses of its copies.
    pub(crate) fn new(cluster: &Value, copies: &[Value]) -> Self {
        let workloads: Vec<&Value> = copies.iter().filter(|c| is_workload(c)).collect();
        EdgeRow {
            name: cluster
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            connected: condition(cluster, "ManagedClusterConditionAvailable"),
            applied: copies
                .iter()
                .filter(|c| {
                    c.pointer("/statusDetails/lastGenerationIsApplied") == Some(&Value::Bool(true))
                })
                .count(),
            available: (
                workloads.iter().filter(|c| is_available(c)).count(),
                workloads.len(),
            ),
        }
    }
}

/// Whether a condition is True.
pub(crate) fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == kind && c["status"] == "True")
}

fn is_workload(copy: &Value) -> bool {
    let kind = copy.pointer("/spec/sourceRef/kind").and_then(Value::as_str);
    matches!(
        kind,
        Some("Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
    )
}

/// Whether all the replicas a workload's status names are available.
fn is_available(copy: &Value) -> bool {
    let number = |field: &str| copy["status"][field].as_i64();
    let wanted = number("replicas").or_else(|| number("desiredNumberScheduled"));
    let there = number("availableReplicas").or_else(|| number("numberAvailable"));
    wanted.is_some() && wanted == there
}

/// The policy's counts, and what keeps it from being healthy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    counts: [(&'static str, u64); 5],
    ready: bool,
    /// Problems, worst first, in words.
    pub problems: Vec<String>,
}

impl Summary {
    /// From the BindingPolicy.
    pub(crate) fn new(policy: &Value) -> Self {
        let count = |name| (name, policy["status"]["counts"][name].as_u64().unwrap_or(0));
        let problems = policy.pointer("/status/problems").and_then(Value::as_array);
        let problem = |p: &Value| {
            let text = |field: &str| p[field].as_str().unwrap_or_default().to_owned();
            let examples: Vec<&str> = p["examples"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            format!(
                "{} x{}: {} ({})",
                text("reason"),
                p["count"],
                text("message"),
                examples.join(", ")
            )
        };
        Summary {
            counts: ["expected", "current", "outdated", "failed", "unreported"].map(count),
            ready: condition(policy, "Ready"),
            problems: problems.into_iter().flatten().map(problem).collect(),
        }
    }

    fn get(&self, name: &str) -> u64 {
        self.counts
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(0, |(_, count)| *count)
    }

    /// Whether every copy there should be is there, as it should be, and healthy.
    pub(crate) fn is_healthy(&self) -> bool {
        let expected = self.get("expected");
        expected > 0 && self.get("current") == expected && self.ready
    }
}

/// Why not all is well; empty when it is.
pub(crate) fn reasons(rows: &[EdgeRow], summary: &Summary) -> Vec<String> {
    let mut reasons: Vec<String> = rows
        .iter()
        .filter(|r| !r.connected)
        .map(|r| format!("edge {} is not connected", r.name))
        .collect();
    for row in rows.iter().filter(|r| r.available.0 < r.available.1) {
        let (there, wanted) = row.available;
        reasons.push(format!(
            "edge {}: {there} of {wanted} workloads available",
            row.name
        ));
    }
    if !summary.is_healthy() {
        let counts: Vec<String> = summary
            .counts
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        reasons.push(format!("copies: {}", counts.join(", ")));
    }
    reasons.extend(summary.problems.iter().cloned());
    reasons
}

/// The table and the summary line below it.
pub(crate) fn render(rows: &[EdgeRow], summary: &Summary) -> String {
    let width = rows
        .iter()
        .map(|r| r.name.len())
        .max()
        .unwrap_or(0)
        .max("EDGE".len());
    let mut text = format!("{:width$}  CONNECTED  APPLIED  AVAILABLE\n", "EDGE");
    for row in rows {
        let connected = if row.connected { "yes" } else { "no" };
        let (there, wanted) = row.available;
        text.push_str(&format!(
            "{:width$}  {connected:9}  {:7}  {there}/{wanted}\n",
            row.name, row.applied
        ));
    }
    let counts: Vec<String> = summary
        .counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    text.push_str(&format!("copies: {}\n", counts.join(", ")));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(connected: bool) -> Value {
        let status = if connected { "True" } else { "Unknown" };
        json!({"metadata": {"name": "edge-1"}, "status": {"conditions": [
            {"type": "ManagedClusterConditionAvailable", "status": status}]}})
    }

    fn copy(kind: &str, applied: bool, status: Value) -> Value {
        json!({"spec": {"sourceRef": {"kind": kind}}, "statusDetails": {"lastGenerationIsApplied": applied}, "status": status})
    }

    fn policy(expected: u64, current: u64, ready: &str) -> Value {
        json!({"status": {"counts": {"expected": expected, "current": current},
            "conditions": [{"type": "Ready", "status": ready}],
            "problems": [{"reason": "Invalid", "message": "no", "count": 2, "examples": ["a", "b"]}]}})
    }

    #[test]
    fn a_row_counts_what_is_applied_and_available() {
        let copies = [
            copy("ConfigMap", true, Value::Null),
            copy(
                "Deployment",
                true,
                json!({"replicas": 2, "availableReplicas": 2}),
            ),
            copy("Deployment", false, json!({"replicas": 2})),
        ];
        let row = EdgeRow::new(&cluster(true), &copies);
        assert_eq!(
            (row.connected, row.applied, row.available),
            (true, 2, (1, 2))
        );
    }

    #[test]
    fn nothing_placed_yet_is_not_healthy() {
        assert!(!Summary::new(&json!({})).is_healthy());
        assert!(!Summary::new(&policy(3, 3, "False")).is_healthy());
        assert!(Summary::new(&policy(3, 3, "True")).is_healthy());
    }

    #[test]
    fn the_reasons_name_the_edge_and_the_problem() {
        let rows = [EdgeRow::new(&cluster(false), &[])];
        let reasons = reasons(&rows, &Summary::new(&policy(2, 0, "False")));
        assert_eq!(reasons[0], "edge edge-1 is not connected");
        assert!(reasons[1].contains("2 expected, 0 current"), "{reasons:?}");
        assert_eq!(reasons[2], "Invalid x2: no (a, b)");
        assert!(render(&rows, &Summary::new(&policy(2, 0, "False"))).contains("edge-1  no"));
    }
}
