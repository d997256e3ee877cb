//! Jobs: they end at once, well or badly.

use atoll_kube::time::Timestamp;
use serde_json::{Value, json};

use super::{
    conditions::{Says, render},
    images::fails,
};

const TIMES: &[&str] = &["lastProbeTime", "lastTransitionTime"];

pub(super) fn job(object: &Value, now: Timestamp) -> Value {
    let (spec, old) = (&object["spec"], &object["status"]);
    let says = |kind, reason, message: &str| Says {
        kind,
        status: true,
        reason,
        message: message.into(),
    };
    if spec["suspend"] == true {
        let suspended = says("Suspended", "JobSuspended", "Job suspended");
        return json!({"ready": 0, "terminating": 0, "conditions": render(old, vec![suspended], TIMES, now)});
    }
    let since = |field: &str| {
        old[field]
            .as_str()
            .map_or_else(|| json!(now.rfc3339()), |t| json!(t))
    };
    let uncounted = json!({});
    if fails(&spec["template"]["spec"]) {
        let message = "Job has reached the specified backoff limit";
        let conditions = vec![
            says("FailureTarget", "BackoffLimitExceeded", message),
            says("Failed", "BackoffLimitExceeded", message),
        ];
        return json!({"failed": 1, "ready": 0, "terminating": 0, "startTime": since("startTime"),
            "uncountedTerminatedPods": uncounted, "conditions": render(old, conditions, TIMES, now)});
    }
    let completions = spec["completions"].as_i64().unwrap_or(1);
    let message = "Reached expected number of succeeded pods";
    let conditions = vec![
        says("SuccessCriteriaMet", "CompletionsReached", message),
        says("Complete", "CompletionsReached", message),
    ];
    json!({"succeeded": completions, "ready": 0, "terminating": 0, "startTime": since("startTime"),
        "completionTime": since("completionTime"), "uncountedTerminatedPods": uncounted,
        "conditions": render(old, conditions, TIMES, now)})
}
