//! The status of several copies in one object.

use std::process::Command;

use serde_json::json;

use super::{SHOP, agent, deployment, policy, policy_says};
use crate::{
    edges::Fleet,
    harness::{ATOLL, Process, eventually},
};

#[test]
fn nothing_is_ready_before_every_edge_has_reported() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.center.apply(
        "root:p",
        &(SHOP.to_owned() + &deployment("many", "m", 2) + &deployment("one", "s", 2)),
    );
    fleet.center.apply(
        "root:p",
        &policy("m", "    wantMultiWECReportedState: true\n", ""),
    );
    fleet.center.apply(
        "root:p",
        &policy("s", "    wantSingletonReportedState: true\n", ""),
    );
    let status = |name: &str| {
        fleet
            .center
            .get("root:p", &["deployment", name, "-n", "shop"])
            .map(|object| object["status"].clone())
    };
    let available = |name: &str, replicas: u64| {
        eventually("the status is there", || match status(name)? {
            status if status["availableReplicas"] == replicas => Ok(()),
            status => Err(status.to_string()),
        });
    };
    available("many", 2);
    available("one", 2);

    // A second edge that has not reported yet.
    fleet.join("e2", &["place=here"]).expect();
    policy_says(&fleet.center, "root:p", "s", "SingletonViolated");
    eventually("a singleton's status is cleared", || match status("one")? {
        status if status.as_object().is_none_or(|s| s.is_empty()) => Ok(()),
        status => Err(status.to_string()),
    });
    eventually("not ready while one is missing", || {
        let status = status("many")?;
        let ready = status["availableReplicas"].as_u64().unwrap_or(0);
        let said = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Available" && c["status"] == "True");
        if ready == 0 && !said {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });

    let sandbox = fleet.scratch.path().join("sandbox");
    let mut command = Command::new(ATOLL);
    command.arg("sandbox").arg("--root-directory").arg(&sandbox);
    let process = Process::start(&mut command, &fleet.scratch.path().join("sandbox.log"));
    let kubeconfig = eventually("the sandbox is ready", || {
        let output = process.output();
        let path = output
            .split_once("--kubeconfig ")
            .and_then(|(_, rest)| rest.split_whitespace().next());
        path.map(std::path::PathBuf::from).ok_or(output)
    });
    let _agent = agent(
        &fleet.join_file("e2"),
        &kubeconfig,
        &fleet.scratch.path().join("e2"),
    );
    available("many", 2);
    let counts = |name: &str| fleet.center.get("root:p", &["bindingpolicy", name]);
    eventually("all copies are current", || {
        let counts = counts("m")?["status"]["counts"].clone();
        if counts["expected"] == json!(4) && counts["current"] == json!(4) {
            Ok(())
        } else {
            Err(counts.to_string())
        }
    });
}

#[test]
fn kubectl_waits_for_a_rollout_at_the_edge() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    let web = deployment("web", "a", 2);
    fleet.center.apply("root:p", &(SHOP.to_owned() + &web));
    fleet.policy("a", "    wantSingletonReportedState: true\n");
    let rollout = |fleet: &Fleet, timeout: &str| {
        let wait = format!("--timeout={timeout}");
        let what = ["rollout", "status", "deployment/web", "-n", "shop", &wait];
        fleet.center.kubectl("root:p", &what)
    };
    let said = rollout(&fleet, "50s").expect();
    assert!(said.contains("successfully rolled out"), "{said}");
    // The generations of the edge and of the center are no longer the same.
    fleet.at_the_edge(
        &["deployment", "web", "-n", "shop"],
        r#"{"spec":{"minReadySeconds":1}}"#,
    );
    let changed = web.replace("image: nginx", "image: nginx:2");
    fleet.center.apply("root:p", &changed);
    rollout(&fleet, "50s").expect();
    fleet.edge_shows(
        &["deployment", "web", "-n", "shop"],
        "/spec/template/spec/containers/0/image",
        &json!("nginx:2"),
    );
    // While nobody is there to do it, it is not done.
    fleet.kill_agent();
    let changed = web.replace("image: nginx", "image: nginx:3");
    fleet.center.apply("root:p", &changed);
    let why = rollout(&fleet, "2s").refused();
    assert!(why.contains("timed out"), "{why}");
    fleet.start_agent();
    rollout(&fleet, "50s").expect();
    // As the edge says it, times and all; and so it is after a restart.
    let web = ["deployment", "web", "-n", "shop"];
    let said = |object: Result<serde_json::Value, String>| {
        let mut status = object?["status"].clone();
        let counts = status
            .as_object_mut()
            .map(|s| s.remove("observedGeneration"));
        counts.map(|_| status).ok_or("no status".to_owned())
    };
    eventually("all is said", || {
        let (there, here) = (
            said(fleet.edge.get(&web))?,
            said(fleet.center.get("root:p", &web))?,
        );
        if there == here && here["terminatingReplicas"] != 1 {
            Ok(())
        } else {
            Err(format!("{there} {here}"))
        }
    });
    let status = |fleet: &Fleet| fleet.center.get("root:p", &web).unwrap()["status"].clone();
    let before = status(&fleet);
    fleet.kill_agent();
    fleet.center.restart();
    assert_eq!(status(&fleet), before);
}
