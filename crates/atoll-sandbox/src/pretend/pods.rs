//! Pods: running at once, or waiting for an image that never comes.

use atoll_kube::time::Timestamp;
use serde_json::{Value, json};

use super::{
    conditions::{Says, render},
    images::fails,
};

pub(super) fn pod(object: &Value, now: Timestamp) -> Value {
    let (spec, old) = (&object["spec"], &object["status"]);
    let runs = !fails(spec);
    let started = old["startTime"]
        .as_str()
        .map_or_else(|| now.rfc3339(), str::to_owned);
    let not_ready = || "containers are not ready".to_owned();
    let ready = |kind| match runs {
        true => Says {
            kind,
            status: true,
            reason: "",
            message: String::new(),
        },
        false => Says {
            kind,
            status: false,
            reason: "ContainersNotReady",
            message: not_ready(),
        },
    };
    let fine = |kind| Says {
        kind,
        status: true,
        reason: "",
        message: String::new(),
    };
    let says = vec![
        fine("PodScheduled"),
        fine("Initialized"),
        ready("ContainersReady"),
        ready("Ready"),
    ];
    let containers = spec["containers"].as_array().into_iter().flatten();
    let statuses: Vec<Value> = containers.map(|c| container(c, &started)).collect();
    json!({
        "phase": if runs { "Running" } else { "Pending" },
        "startTime": started,
        "hostIP": "10.0.0.1",
        "podIP": "10.0.1.1",
        "qosClass": "BestEffort",
        "conditions": render(old, says, &["lastTransitionTime"], now),
        "containerStatuses": statuses,
    })
}

fn container(container: &Value, started: &str) -> Value {
    let image = container["image"].as_str().unwrap_or_default();
    let runs = !image.contains("fail");
    let state = if runs {
        json!({"running": {"startedAt": started}})
    } else {
        json!({"waiting": {"reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"{image}\"")}})
    };
    json!({"name": container["name"], "image": image, "imageID": "", "ready": runs, "started": runs, "restartCount": 0, "state": state})
}
