//! A status without what makes every edge's different: times, addresses, generated names, counters of attempts.
//!
//! What is left is what health rules, printed columns and summaries read, and a fleet has few distinct values of it. The raw status is fetched through the
//! session when a person asks.

use atoll_kube::Timestamp;
use serde_json::{Map, Value};

use crate::algebra::Keep;

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
    project_keeping(group, resource, status, &Keep::nothing())
}

/// The projection of a status, with what live collectors read of it beyond the rules.
pub fn project_keeping(group: &str, resource: &str, status: &Value, also: &Keep) -> Value {
    let own = BY_RESOURCE
        .iter()
        .find(|(g, r, _)| *g == group && *r == resource)
        .map_or(&[][..], |(_, _, fields)| fields);
    keep(status, own, false, &[also]).unwrap_or(Value::Null)
}

/// `also` has what is kept of this value, by each path that leads here.
fn keep(value: &Value, own: &[&str], condition: bool, also: &[&Keep]) -> Option<Value> {
    let each = || also.iter().filter_map(|node| node.each());
    match value {
        Value::Object(map) => {
            let kept: Map<String, Value> = map
                .iter()
                .filter_map(|(name, value)| {
                    let named = also.iter().filter_map(|node| node.field(name));
                    let below: Vec<&Keep> = named.chain(each()).collect();
                    if dropped(name, own) || condition && name == "message" {
                        let named = || also.iter().filter_map(|node| node.field(name));
                        if named().any(Keep::ends_here) {
                            return Some((name.clone(), value.clone()));
                        }
                        named().next()?;
                    }
                    Some((
                        name.clone(),
                        keep(value, own, name == "conditions", &below)?,
                    ))
                })
                .collect();
            Some(Value::Object(kept))
        }
        Value::Array(items) => {
            let below: Vec<&Keep> = each().collect();
            let items = items.iter();
            Some(Value::Array(
                items
                    .filter_map(|item| keep(item, own, condition, &below))
                    .collect(),
            ))
        }
        Value::String(text) if is_time(text) => {
            let named = also.iter().any(|node| node.ends_here());
            named.then(|| value.clone())
        }
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

    #[test]
    fn what_a_collector_names_is_kept_and_nothing_else() {
        use atoll_cel::Step;
        let field = |name: &str| Step::Field(name.to_owned());
        let status = json!({"phase": "Running", "startTime": "2026-11-21T04:00:00Z", "podIPs": [{"ip": "10.0.0.1"}], "seen": ["2026-11-21T04:00:00Z"],
            "conditions": [{"type": "Ready", "message": "on a", "lastTransitionTime": "2026-11-21T04:00:00Z"}]});
        for (path, expected) in [
            (
                vec![],
                json!({"phase": "Running", "seen": [], "conditions": [{"type": "Ready"}]}),
            ),
            (
                vec![field("conditions")],
                json!({"phase": "Running", "seen": [], "conditions": [{"type": "Ready"}]}),
            ),
            (
                vec![field("startTime")],
                json!({"phase": "Running", "startTime": "2026-11-21T04:00:00Z", "seen": [], "conditions": [{"type": "Ready"}]}),
            ),
            (
                vec![field("conditions"), Step::Each, field("lastTransitionTime")],
                json!({"phase": "Running", "seen": [], "conditions": [{"type": "Ready", "lastTransitionTime": "2026-11-21T04:00:00Z"}]}),
            ),
            (
                vec![field("conditions"), Step::Index(0), field("message")],
                json!({"phase": "Running", "seen": [], "conditions": [{"type": "Ready", "message": "on a"}]}),
            ),
            (
                vec![field("podIPs"), Step::Each, field("ip")],
                json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "seen": [], "conditions": [{"type": "Ready"}]}),
            ),
            (
                vec![field("seen"), Step::Each],
                json!({"phase": "Running", "seen": ["2026-11-21T04:00:00Z"], "conditions": [{"type": "Ready"}]}),
            ),
        ] {
            let mut keep = Keep::nothing();
            keep.add(&path);
            assert_eq!(
                project_keeping("", "pods", &status, &keep),
                expected,
                "{path:?}"
            );
        }
    }
}
