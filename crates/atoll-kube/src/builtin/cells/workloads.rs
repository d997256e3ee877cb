//! The kinds that make pods.

use serde_json::{Value, json};

use super::text::{
    self, NONE, containers, count, duration, flag, integer, labels, list, number, or, selector,
    string, string_or, title,
};
use crate::time::Timestamp;

pub(super) fn cell(kind: &str, heading: &str, o: &Value, now: Timestamp) -> Option<Value> {
    match (kind, heading) {
        ("CronJob", "Containers" | "Images" | "Selector") => template(
            o.pointer("/spec/jobTemplate/spec/template"),
            o.pointer("/spec/jobTemplate/spec/selector"),
            heading,
        ),
        ("PodTemplate", "Pod Labels") => {
            Some(or(labels(o.pointer("/template/metadata/labels")), NONE))
        }
        ("PodTemplate", _) => template(o.get("template"), None, heading),
        ("ReplicationController", "Selector") => {
            Some(or(labels(o.pointer("/spec/selector")), NONE))
        }
        (_, "Containers" | "Images" | "Selector") => template(
            o.pointer("/spec/template"),
            o.pointer("/spec/selector"),
            heading,
        ),
        ("Deployment" | "StatefulSet", "Ready") => {
            let (ready, wanted) = (
                integer(o, "/status/readyReplicas"),
                integer(o, "/spec/replicas"),
            );
            Some(format!("{ready}/{wanted}").into())
        }
        ("Deployment", "Up-to-date") => Some(number(o, "/status/updatedReplicas")),
        ("Deployment", "Available") => Some(number(o, "/status/availableReplicas")),
        ("DaemonSet", _) => daemon_set(heading, o),
        ("Job", _) => job(heading, o, now),
        ("CronJob", _) => cron_job(heading, o, now),
        ("ControllerRevision", _) => controller_revision(heading, o),
        (_, "Desired") => Some(number(o, "/spec/replicas")),
        (_, "Current") => Some(number(o, "/status/replicas")),
        (_, "Ready") => Some(number(o, "/status/readyReplicas")),
        _ => None,
    }
}

fn template(template: Option<&Value>, select: Option<&Value>, heading: &str) -> Option<Value> {
    let spec = template.and_then(|t| t.get("spec"));
    Some(match heading {
        "Containers" => containers(spec, "name"),
        "Images" => containers(spec, "image"),
        "Selector" => selector(select),
        _ => return None,
    })
}

fn daemon_set(heading: &str, o: &Value) -> Option<Value> {
    Some(match heading {
        "Desired" => number(o, "/status/desiredNumberScheduled"),
        "Current" => number(o, "/status/currentNumberScheduled"),
        "Ready" => number(o, "/status/numberReady"),
        "Up-to-date" => number(o, "/status/updatedNumberScheduled"),
        "Available" => number(o, "/status/numberAvailable"),
        "Node Selector" => or(labels(o.pointer("/spec/template/spec/nodeSelector")), NONE),
        _ => return None,
    })
}

fn job(heading: &str, o: &Value, now: Timestamp) -> Option<Value> {
    let time = |pointer: &str| Timestamp::parse(string(o, pointer));
    Some(match heading {
        "Status" => job_status(o).into(),
        "Completions" => {
            let done = integer(o, "/status/succeeded");
            match o.pointer("/spec/completions").and_then(Value::as_i64) {
                Some(wanted) => format!("{done}/{wanted}"),
                None => match integer(o, "/spec/parallelism") {
                    parallelism if parallelism > 1 => format!("{done}/1 of {parallelism}"),
                    _ => format!("{done}/1"),
                },
            }
            .into()
        }
        "Duration" => match (time("/status/startTime"), time("/status/completionTime")) {
            (None, _) => "".into(),
            (Some(start), None) => duration(now.0 - start.0).into(),
            (Some(start), Some(end)) => duration(end.0 - start.0).into(),
        },
        _ => return None,
    })
}

fn job_status(o: &Value) -> &'static str {
    let holds = |ty: &str| text::condition(o, ty) == "True";
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if !o["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn cron_job(heading: &str, o: &Value, now: Timestamp) -> Option<Value> {
    Some(match heading {
        "Schedule" => json!(string(o, "/spec/schedule")),
        "Timezone" => string_or(o, "/spec/timeZone", NONE),
        "Suspend" => title(flag(o, "/spec/suspend")),
        "Active" => count(o, "/status/active").into(),
        "Last Schedule" => match o.pointer("/status/lastScheduleTime") {
            Some(time) => text::age(time, now).into(),
            None => NONE.into(),
        },
        _ => return None,
    })
}

fn controller_revision(heading: &str, o: &Value) -> Option<Value> {
    Some(match heading {
        "Controller" => {
            let owners = list(o, "/metadata/ownerReferences").iter();
            let mut owners = owners.filter(|r| r["controller"] == true);
            match owners.next() {
                Some(owner) => {
                    let group = string(owner, "/apiVersion")
                        .split_once('/')
                        .map_or("", |(g, _)| g);
                    let kind = string(owner, "/kind").to_lowercase();
                    let dot = if group.is_empty() { "" } else { "." };
                    format!("{kind}{dot}{group}/{}", string(owner, "/name")).into()
                }
                None => NONE.into(),
            }
        }
        "Revision" => integer(o, "/revision").into(),
        _ => return None,
    })
}
