//! Admission answers as a genuine Kubernetes does: policies, their bindings and parameters.
//!
//! `data/policies.jsonl` holds scripts, a line each, with the recorded answers of kube-apiserver 1.36. There a configuration acts some time after it is written,
//! here at once; the answers were recorded after that time.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use atoll_kube::{Status, UserInfo};
use atoll_registry::{Answer, Attributes, Authorizer, Body, Decision, DeleteOptions, WriteOptions};
use serde_json::{Value, json};
use support::*;

fn answer(result: &Result<Answer, Status>) -> Value {
    let mut shown = match result {
        Ok(answer) if answer.created => json!({"code": 201}),
        Ok(_) => json!({"code": 200}),
        Err(status) => {
            let causes = status.details.iter().flat_map(|d| &d.causes);
            let mut says: Vec<String> = causes
                .map(|c| format!("{}: {}", c.field, c.message))
                .collect();
            says.sort();
            let mut shown =
                json!({"code": status.code, "reason": status.reason.as_str(), "causes": says});
            if says.len() < 2 {
                shown["message"] = json!(status.message);
            }
            shown
        }
    };
    if let Ok(answer) = result
        && !answer.warnings.is_empty()
    {
        let mut warns = answer.warnings.clone();
        warns.sort();
        shown["warns"] = json!(warns);
    }
    shown
}

/// Masters may do everything, everybody else nothing.
struct Masters;

impl Authorizer for Masters {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.groups.iter().any(|g| g == "system:masters") {
            Decision::Allow
        } else {
            Decision::NoOpinion(String::new())
        }
    }
}

/// Carries out one step in the logical cluster `u1`.
async fn step(w: &World, step: &Value) -> Result<Answer, Status> {
    let path = step["path"].as_str().unwrap();
    let rest = path
        .strip_prefix("apis/")
        .or(path.strip_prefix("api/"))
        .unwrap();
    let (place, resource) = match rest.split_once("/namespaces/default/") {
        Some((group, resource)) => ("u1/default", format!("{group}/{resource}")),
        None => ("u1", rest.to_owned()),
    };
    let parts: Vec<&str> = resource.split('/').collect();
    let names = if path.starts_with("apis/") { 4 } else { 3 };
    let (kind, name) = if parts.len() == names {
        (parts[..names - 1].join("/"), parts[names - 1])
    } else {
        (resource.clone(), "")
    };
    let mut call = w
        .at(place, &kind)
        .call(Some(name).filter(|n| !n.is_empty()));
    call.user = Arc::new(UserInfo::new("admin", ["system:masters"]));
    let (body, options) = (Body::Value(step["body"].clone()), WriteOptions::default());
    match step["do"].as_str().unwrap() {
        "POST" => w.registry.create(&call, body, &options).await,
        "PUT" => w.registry.update(&call, body, &options).await,
        _ => w.registry.delete(&call, &DeleteOptions::default()).await,
    }
}

async fn replay(scripts: &str) {
    let mut different = Vec::new();
    for line in scripts.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let w = World::with(|builder| builder.authorizer(Arc::new(Masters)), |_| ()).await;
        for (i, script) in case["steps"].as_array().unwrap().iter().enumerate() {
            let found = answer(&step(&w, script).await);
            if found != script["answer"] {
                let expected = &script["answer"];
                different.push(format!(
                    "{} step {i}:\n  says     {found}\n  expected {expected}",
                    case["case"]
                ));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_say_what_kubernetes_says() {
    replay(include_str!("data/policies.jsonl")).await;
}
