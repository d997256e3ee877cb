//! Pods: above all the one word that says what a pod is doing.

use serde_json::Value;

use super::text::{self, NONE, integer, list, string, string_or};
use crate::time::Timestamp;

pub(super) fn cell(heading: &str, pod: &Value, now: Timestamp) -> Option<Value> {
    Some(match heading {
        "Ready" => Summary::of(pod).ready.into(),
        "Status" => Summary::of(pod).reason.into(),
        "Restarts" => Summary::of(pod).restarts(now).into(),
        "IP" => match list(pod, "/status/podIPs").first() {
            Some(ip) => string_or(ip, "/ip", NONE),
            None => NONE.into(),
        },
        "Node" => string_or(pod, "/spec/nodeName", NONE),
        "Nominated Node" => string_or(pod, "/status/nominatedNodeName", NONE),
        "Readiness Gates" => readiness_gates(pod),
        _ => return None,
    })
}

struct Summary {
    ready: String,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn of(pod: &Value) -> Summary {
        let mut totals = Totals {
            containers: list(pod, "/spec/containers").len(),
            ..Totals::default()
        };
        let mut reason = string(pod, "/status/reason").to_owned();
        if reason.is_empty() {
            string(pod, "/status/phase").clone_into(&mut reason);
        }
        let gated = list(pod, "/status/conditions")
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
        if gated {
            "SchedulingGated".clone_into(&mut reason);
        }
        let initializing = initializing(pod, &mut totals);
        if let Some(word) = &initializing {
            reason.clone_from(word);
        }
        if initializing.is_none() || text::condition(pod, "Initialized") == "True" {
            reason = running(pod, reason, &mut totals);
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            let finished = ["Succeeded", "Failed"].contains(&string(pod, "/status/phase"));
            if string(pod, "/status/reason") == "NodeLost" {
                "Unknown".clone_into(&mut reason);
            } else if !finished {
                "Terminating".clone_into(&mut reason);
            }
        }
        Summary {
            ready: format!("{}/{}", totals.ready, totals.containers),
            reason,
            restarts: totals.restarts + totals.sidecar_restarts,
            last_restart: totals.last_restart.max(totals.last_sidecar_restart),
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(last) if self.restarts != 0 => {
                let ago = text::duration(now.0 - last.0);
                format!("{} ({ago} ago)", self.restarts)
            }
            _ => self.restarts.to_string(),
        }
    }
}

#[derive(Default)]
struct Totals {
    containers: usize,
    ready: usize,
    restarts: i64,
    sidecar_restarts: i64,
    last_restart: Option<Timestamp>,
    last_sidecar_restart: Option<Timestamp>,
}

fn is_sidecar(pod: &Value, name: &Value) -> bool {
    let all = list(pod, "/spec/initContainers").iter();
    let mut found = all.filter(|c| c["name"] == *name);
    found.next().is_some_and(|c| c["restartPolicy"] == "Always")
}

fn last_restart(status: &Value) -> Option<Timestamp> {
    Timestamp::parse(string(status, "/lastState/terminated/finishedAt"))
}

/// What holds up the start, if anything: `Init:1/2`, `Init:Error`.
fn initializing(pod: &Value, totals: &mut Totals) -> Option<String> {
    let declared = list(pod, "/spec/initContainers");
    totals.containers += declared
        .iter()
        .filter(|c| c["restartPolicy"] == "Always")
        .count();
    let mut found = None;
    for (i, status) in list(pod, "/status/initContainerStatuses")
        .iter()
        .enumerate()
    {
        totals.restarts += integer(status, "/restartCount");
        totals.last_restart = totals.last_restart.max(last_restart(status));
        let sidecar = is_sidecar(pod, &status["name"]);
        if sidecar {
            totals.sidecar_restarts += integer(status, "/restartCount");
            totals.last_sidecar_restart = totals.last_sidecar_restart.max(last_restart(status));
        }
        let (terminated, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
        if terminated.is_object() && integer(terminated, "/exitCode") == 0 {
            continue;
        }
        if sidecar && status["started"] == true {
            if status["ready"] == true {
                totals.ready += 1;
            }
            continue;
        }
        found = Some(if terminated.is_object() {
            format!("Init:{}", terminated_word(terminated))
        } else if !["", "PodInitializing"].contains(&string(waiting, "/reason")) {
            format!("Init:{}", string(waiting, "/reason"))
        } else {
            format!("Init:{i}/{}", declared.len())
        });
        break;
    }
    found
}

fn terminated_word(terminated: &Value) -> String {
    let reason = string(terminated, "/reason");
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match integer(terminated, "/signal") {
        0 => format!("ExitCode:{}", integer(terminated, "/exitCode")),
        signal => format!("Signal:{signal}"),
    }
}

/// The word once init containers are done: of the first container that has something to say.
fn running(pod: &Value, mut reason: String, totals: &mut Totals) -> String {
    totals.restarts = 0;
    totals.last_restart = None;
    let mut any_running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        totals.restarts += integer(status, "/restartCount");
        totals.last_restart = totals.last_restart.max(last_restart(status));
        let state = &status["state"];
        let waiting = string(state, "/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut reason);
        } else if state["terminated"].is_object() {
            reason = terminated_word(&state["terminated"]);
        } else if status["ready"] == true && state["running"].is_object() {
            any_running = true;
            totals.ready += 1;
        }
    }
    if reason == "Completed" && any_running {
        let ready = text::condition(pod, "Ready") == "True";
        let word = if ready { "Running" } else { "NotReady" };
        word.clone_into(&mut reason);
    }
    reason
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.into();
    }
    let open = gates
        .iter()
        .filter(|g| text::condition(pod, string(g, "/conditionType")) == "True");
    format!("{}/{}", open.count(), gates.len()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_word_for_a_pod() {
        let container =
            |state: Value| json!({"name": "c", "restartCount": 0, "ready": false, "state": state});
        let pod = |status: Value, deleted: bool| {
            let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c"}],
                "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}, "status": status});
            if deleted {
                pod["metadata"]["deletionTimestamp"] = json!("2026-11-21T04:00:00Z");
            }
            pod
        };
        let rows = [
            (json!({"phase": "Pending"}), false, "Pending", "0/2"),
            (
                json!({"phase": "Failed", "reason": "Evicted"}),
                false,
                "Evicted",
                "0/2",
            ),
            (json!({"phase": "Running"}), true, "Terminating", "0/2"),
            (
                json!({"phase": "Running", "reason": "NodeLost"}),
                true,
                "Unknown",
                "0/2",
            ),
            (json!({"phase": "Failed"}), true, "Failed", "0/2"),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
                false,
                "SchedulingGated",
                "0/2",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
                false,
                "Init:0/2",
                "0/2",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
                false,
                "Init:Error",
                "0/2",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 2, "signal": 9}}}]}),
                false,
                "Init:Signal:9",
                "0/2",
            ),
            (
                json!({"phase": "Running", "containerStatuses": [container(json!({"waiting": {"reason": "CrashLoopBackOff"}}))]}),
                false,
                "CrashLoopBackOff",
                "0/2",
            ),
            (
                json!({"phase": "Succeeded", "containerStatuses": [container(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}))]}),
                false,
                "Completed",
                "0/2",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [container(json!({"terminated": {"exitCode": 3}}))]}),
                false,
                "ExitCode:3",
                "0/2",
            ),
            (
                json!({"phase": "Running",
                    "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}},
                        {"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
                    "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]}),
                false,
                "Running",
                "2/2",
            ),
        ];
        for (status, deleted, word, ready) in rows {
            let pod = pod(status, deleted);
            let summary = Summary::of(&pod);
            assert_eq!(
                (summary.reason.as_str(), summary.ready.as_str()),
                (word, ready),
                "{pod}"
            );
        }
    }
}
