//! Workloads that keep a number of replicas.

use atoll_kube::time::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    conditions::{Says, render},
    images::fails,
};

/// How many replicas are wanted, and how many of them are up.
struct Replicas {
    wanted: i64,
    ready: i64,
}

fn replicas(object: &Value) -> Replicas {
    let wanted = object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    up(object, wanted)
}

fn up(object: &Value, wanted: i64) -> Replicas {
    let ready = if fails(&object["spec"]["template"]["spec"]) {
        0
    } else {
        wanted
    };
    Replicas { wanted, ready }
}

/// A status with the counts that are not zero: Kubernetes leaves the others out.
fn counts(
    object: &Value,
    always: &[(&str, i64)],
    unless_zero: &[(&str, i64)],
) -> Map<String, Value> {
    let nonzero = unless_zero.iter().filter(|(_, count)| *count != 0);
    let mut status: Map<String, Value> = always
        .iter()
        .chain(nonzero)
        .map(|&(name, count)| (name.to_owned(), json!(count)))
        .collect();
    if let Some(generation) = object.pointer("/metadata/generation") {
        status.insert("observedGeneration".into(), generation.clone());
    }
    status
}

pub(super) fn deployment(object: &Value, now: Timestamp) -> Value {
    let Replicas { wanted, ready } = replicas(object);
    let mut status = counts(
        object,
        &[],
        &[
            ("replicas", wanted),
            ("updatedReplicas", wanted),
            ("readyReplicas", ready),
            ("availableReplicas", ready),
            ("unavailableReplicas", wanted - ready),
        ],
    );
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let available = ready == wanted;
    let says = if available {
        vec![
            Says {
                kind: "Available",
                status: true,
                reason: "MinimumReplicasAvailable",
                message: "Deployment has minimum availability.".into(),
            },
            Says {
                kind: "Progressing",
                status: true,
                reason: "NewReplicaSetAvailable",
                message: format!("ReplicaSet \"{name}\" has successfully progressed."),
            },
        ]
    } else {
        vec![
            Says {
                kind: "Available",
                status: false,
                reason: "MinimumReplicasUnavailable",
                message: "Deployment does not have minimum availability.".into(),
            },
            Says {
                kind: "Progressing",
                status: false,
                reason: "ProgressDeadlineExceeded",
                message: format!("ReplicaSet \"{name}\" has timed out progressing."),
            },
        ]
    };
    let conditions = render(
        &object["status"],
        says,
        &["lastTransitionTime", "lastUpdateTime"],
        now,
    );
    status.insert("conditions".into(), conditions);
    Value::Object(status)
}

pub(super) fn replica_set(object: &Value) -> Value {
    let Replicas { wanted, ready } = replicas(object);
    let status = counts(
        object,
        &[("replicas", wanted)],
        &[
            ("fullyLabeledReplicas", wanted),
            ("readyReplicas", ready),
            ("availableReplicas", ready),
        ],
    );
    Value::Object(status)
}

pub(super) fn stateful_set(object: &Value) -> Value {
    let Replicas { wanted, ready } = replicas(object);
    let mut status = counts(
        object,
        &[("replicas", wanted), ("availableReplicas", ready)],
        &[
            ("readyReplicas", ready),
            ("currentReplicas", wanted),
            ("updatedReplicas", wanted),
        ],
    );
    let generation = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let revision = json!(format!(
        "{}-{generation}",
        object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
    ));
    status.insert("currentRevision".into(), revision.clone());
    status.insert("updateRevision".into(), revision);
    status.insert("collisionCount".into(), json!(0));
    Value::Object(status)
}

/// A sandbox has one pretend node.
pub(super) fn daemon_set(object: &Value) -> Value {
    let Replicas { wanted, ready } = up(object, 1);
    let status = counts(
        object,
        &[
            ("currentNumberScheduled", wanted),
            ("desiredNumberScheduled", wanted),
            ("numberMisscheduled", 0),
            ("numberReady", ready),
        ],
        &[
            ("updatedNumberScheduled", wanted),
            ("numberAvailable", ready),
            ("numberUnavailable", wanted - ready),
        ],
    );
    Value::Object(status)
}
