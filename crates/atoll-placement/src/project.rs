//! A status without what makes every edge's different: times, addresses, generated names, counters of attempts.
//!
//! What is left is what health rules, printed columns and summaries read, and a fleet has few distinct values of it. The raw status is fetched through the
//! session when a person asks.

use atoll_kube::Timestamp;
use serde_json::{Map, Value};

/// Fields dropped wherever they occur.
const EVERYWHERE: &[&str] = &[
    "observedGeneration",
    "uid",
    "resourceVersion",
    "podIP",
    "podIPs",
    "hostIP",
    "hostIPs",
    "ip",
    "hostname",
    "clusterIP",
    "clusterIPs",
    "nodeName",
    "nominatedNodeName",
    "containerID",
    "imageID",
    "collisionCount",
];

/// Fields dropped from the status of one resource.
const BY_RESOURCE: &[(&str, &str, &[&str])] = &[
    (
        "apps",
        "statefulsets",
        &["currentRevision", "updateRevision"],
    ),
    (
        "autoscaling",
        "horizontalpodautoscalers",
        &["currentMetrics"],
    ),
    ("batch", "jobs", &["uncountedTerminatedPods"]),
    ("batch", "cronjobs", &["active"]),
    (
        "",
        "pods",
        &[
            "restartCount",
            "allocatedResources",
            "resources",
            "qosClass",
            "volumeMounts",
            "user",
        ],
    ),
    (
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        &["acceptedNames", "storedVersions"],
    ),
];

/// The projection of a status.
pub fn project(group: &str, resource: &str, status: &Value) -> Value {
    let own = BY_RESOURCE
        .iter()
        .find(|(g, r, _)| *g == group && *r == resource)
        .map_or(&[][..], |(_, _, fields)| fields);
    keep(status, own, false).unwrap_or(Value::Null)
}

fn keep(value: &Value, own: &[&str], condition: bool) -> Option<Value> {
    match value {
        Value::Object(map) => {
            let kept: Map<String, Value> = map
                .iter()
                .filter(|(name, _)| !(dropped(name, own) || condition && *name == "message"))
                .filter_map(|(name, value)| {
                    Some((name.clone(), keep(value, own, name == "conditions")?))
                })
                .collect();
            Some(Value::Object(kept))
        }
        Value::Array(items) => Some(Value::Array(
            items
                .iter()
                .filter_map(|item| keep(item, own, condition))
                .collect(),
        )),
        Value::String(text) if is_time(text) => None,
        other => Some(other.clone()),
    }
}

fn dropped(name: &str, own: &[&str]) -> bool {
    EVERYWHERE.contains(&name)
        || own.contains(&name)
        || (name.len() > 4 && name.ends_with("Time"))
        || name.ends_with("Timestamp")
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20
        && bytes[0].is_ascii_digit()
        && bytes[4] == b'-'
        && Timestamp::parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn two_edges_that_are_equally_well_have_equal_projections() {
        for (group, resource, one, two) in [
            (
                "apps",
                "deployments",
                json!({"observedGeneration": 3, "replicas": 2, "availableReplicas": 2, "conditions": [{"type": "Available", "status": "True",
                    "reason": "MinimumReplicasAvailable", "message": "on a", "lastTransitionTime": "2026-11-21T04:00:00Z", "lastUpdateTime": "2026-11-21T04:00:00Z"}]}),
                json!({"observedGeneration": 9, "replicas": 2, "availableReplicas": 2, "conditions": [{"type": "Available", "status": "True",
                    "reason": "MinimumReplicasAvailable", "message": "on b", "lastTransitionTime": "2025-01-01T00:00:00Z"}]}),
            ),
            (
                "",
                "pods",
                json!({"phase": "Running", "podIP": "10.0.0.1", "startTime": "2026-11-21T04:00:00Z", "containerStatuses": [{"name": "c", "ready": true,
                    "restartCount": 1, "containerID": "x", "state": {"running": {"startedAt": "2026-11-21T04:00:00Z"}}}]}),
                json!({"phase": "Running", "podIP": "10.0.0.2", "startTime": "2026-10-21T04:00:00Z", "containerStatuses": [{"name": "c", "ready": true,
                    "restartCount": 7, "containerID": "y", "state": {"running": {"startedAt": "2026-10-21T04:00:00Z"}}}]}),
            ),
            (
                "stable.example.com",
                "crontabs",
                json!({"lastRun": "2026-11-21T04:00:00Z", "runs": 1}),
                json!({"lastRun": "2026-10-21T04:00:00.123Z", "runs": 1}),
            ),
        ] {
            assert_eq!(
                project(group, resource, &one),
                project(group, resource, &two),
                "{resource}"
            );
        }
    }

    #[test]
    fn what_differs_in_substance_stays_different() {
        let of = |n: u64, reason: &str| {
            project(
                "apps",
                "deployments",
                &json!({"availableReplicas": n, "conditions": [{"type": "P", "reason": reason}]}),
            )
        };
        assert_ne!(of(1, "a"), of(2, "a"));
        assert_ne!(of(1, "a"), of(1, "b"));
        assert_eq!(
            project("x.io", "things", &json!({"message": "kept", "on": "2026"}))["message"],
            "kept"
        );
    }
}
