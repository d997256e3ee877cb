//! What a healthy cluster would make of a workload, its status and its children, as pure functions of the workload.
//!
//! Nothing runs here: a workload simply *has* the status it would reach, and the ReplicaSets and Pods it would have made. An image whose
//! name says `fail` never starts (see [`images::fails`]), so that people can see what a failure looks like.

mod children;
mod conditions;
mod images;
mod jobs;
mod pods;
mod replicas;

use atoll_kube::time::Timestamp;
use serde_json::Value;

pub(crate) use children::hash;
pub use children::{children, made_by};
pub use images::fails;

/// A kind of workload that the sandbox pretends to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// apps/v1 Deployment
    Deployment,
    /// apps/v1 StatefulSet
    StatefulSet,
    /// apps/v1 DaemonSet
    DaemonSet,
    /// apps/v1 ReplicaSet
    ReplicaSet,
    /// batch/v1 Job
    Job,
    /// v1 Pod
    Pod,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 6] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::Pod,
    ];

    /// Group, version and plural name.
    pub fn resource(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Deployment => ("apps", "v1", "deployments"),
            Self::StatefulSet => ("apps", "v1", "statefulsets"),
            Self::DaemonSet => ("apps", "v1", "daemonsets"),
            Self::ReplicaSet => ("apps", "v1", "replicasets"),
            Self::Job => ("batch", "v1", "jobs"),
            Self::Pod => ("", "v1", "pods"),
        }
    }
}

/// The status that `object` has settled at by `now`. Times already in its status stay as long as nothing changes, so calling this again on
/// the result gives the same status.
pub fn status(workload: Workload, object: &Value, now: Timestamp) -> Value {
    match workload {
        Workload::Deployment => replicas::deployment(object, now),
        Workload::StatefulSet => replicas::stateful_set(object),
        Workload::DaemonSet => replicas::daemon_set(object),
        Workload::ReplicaSet => replicas::replica_set(object),
        Workload::Job => jobs::job(object, now),
        Workload::Pod => pods::pod(object, now),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn workload(image: &str, spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "w", "generation": 3}, "spec": {
            "template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
        for (key, value) in spec.as_object().expect("a map") {
            object["spec"][key] = value.clone();
        }
        object
    }

    #[test]
    fn status_is_settled_at_once_and_stays() {
        for kind in Workload::ALL {
            for image in ["nginx", "registry.example/fail:1"] {
                let mut object = workload(
                    image,
                    json!({"replicas": 2, "containers": [{"name": "main", "image": image}]}),
                );
                let first = status(kind, &object, at(10));
                object["status"] = first.clone();
                assert_eq!(status(kind, &object, at(99)), first, "{kind:?} of {image}");
            }
        }
    }

    #[test]
    fn healthy_workloads_reach_what_their_spec_asks() {
        let two = workload("nginx", json!({"replicas": 2}));
        for (kind, pointer, expected) in [
            (Workload::Deployment, "/availableReplicas", json!(2)),
            (Workload::Deployment, "/observedGeneration", json!(3)),
            (
                Workload::Deployment,
                "/conditions/0/type",
                json!("Available"),
            ),
            (Workload::Deployment, "/conditions/0/status", json!("True")),
            (Workload::StatefulSet, "/readyReplicas", json!(2)),
            (Workload::ReplicaSet, "/availableReplicas", json!(2)),
            (Workload::DaemonSet, "/numberAvailable", json!(1)),
            (Workload::Job, "/succeeded", json!(1)),
        ] {
            assert_eq!(
                status(kind, &two, at(10)).pointer(pointer),
                Some(&expected),
                "{kind:?} {pointer}"
            );
        }
    }

    #[test]
    fn a_failing_image_makes_workloads_fail() {
        let broken = workload("nginx:will-fail", json!({"replicas": 2}));
        for (kind, pointer, expected) in [
            (Workload::Deployment, "/unavailableReplicas", Some(json!(2))),
            (Workload::Deployment, "/availableReplicas", None),
            (
                Workload::Deployment,
                "/conditions/1/reason",
                Some(json!("ProgressDeadlineExceeded")),
            ),
            (Workload::StatefulSet, "/readyReplicas", None),
            (Workload::DaemonSet, "/numberUnavailable", Some(json!(1))),
            (Workload::Job, "/failed", Some(json!(1))),
            (Workload::Job, "/conditions/1/type", Some(json!("Failed"))),
        ] {
            assert_eq!(
                status(kind, &broken, at(10)).pointer(pointer),
                expected.as_ref(),
                "{kind:?} {pointer}"
            );
        }
    }

    #[test]
    fn a_suspended_job_does_not_start() {
        let job = workload("nginx", json!({"suspend": true}));
        let status = status(Workload::Job, &job, at(10));
        assert_eq!(
            status.pointer("/conditions/0/type"),
            Some(&json!("Suspended"))
        );
        assert_eq!(status.pointer("/succeeded"), None);
    }

    #[test]
    fn a_condition_that_changes_gets_a_new_time() {
        let mut object = workload("nginx", json!({"replicas": 1}));
        object["status"] = status(Workload::Deployment, &object, at(10));
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("fail");
        let failed = status(Workload::Deployment, &object, at(20));
        assert_eq!(
            failed.pointer("/conditions/0/lastTransitionTime"),
            Some(&json!(at(20).rfc3339()))
        );
    }
}
