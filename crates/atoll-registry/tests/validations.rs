//! Rules in CEL say what a genuine Kubernetes says: of definitions, of new objects and of changes.
//!
//! `data/validations.jsonl` holds scripts, a line each, with the recorded answers of kube-apiserver 1.36; `tests/rules.rs` of the root asks one again.

#![allow(clippy::unwrap_used)]

mod support;

use atoll_kube::Status;
use atoll_registry::{Answer, WriteOptions};
use serde_json::{Value, json};
use support::*;

const CRDS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";

fn says(answer: &Result<Answer, Status>) -> Value {
    let Err(status) = answer else {
        return json!([]);
    };
    let causes = status.details.iter().flat_map(|d| &d.causes);
    let mut says: Vec<String> = causes
        .map(|c| format!("{}: {}", c.field, c.message))
        .collect();
    says.sort();
    json!(says)
}

fn definition(schema: &Value) -> Value {
    json!({"metadata": {"name": "things.example.dev"}, "spec": {
        "group": "example.dev", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}]}})
}

#[tokio::test]
async fn rules_say_what_kubernetes_says() {
    let mut different = Vec::new();
    for line in include_str!("data/validations.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let w = World::new().await;
        for (i, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            if !step["says"].is_array() {
                continue;
            }
            let (at, mut value) = match step.get("schema") {
                Some(schema) => (w.at("u1", CRDS), definition(schema)),
                None => (
                    w.at("u1/default", "example.dev/v1/things"),
                    step["object"].clone(),
                ),
            };
            let name = if step.get("schema").is_some() {
                "things.example.dev"
            } else {
                "a"
            };
            value["metadata"]["name"] = name.into();
            let answer = match at.get(name).await {
                Ok(live) => {
                    value["metadata"]["resourceVersion"] =
                        live["metadata"]["resourceVersion"].clone();
                    at.update_with(value, WriteOptions::default()).await
                }
                Err(_) => at.create_with(value, WriteOptions::default()).await,
            };
            let mut warns = answer
                .as_ref()
                .map_or_else(|_| Vec::new(), |a| a.warnings.clone());
            warns.sort();
            let expected = step.get("warns").cloned().unwrap_or_else(|| json!([]));
            let said = says(&answer);
            if said != step["says"] || (answer.is_ok() && json!(warns) != expected) {
                different.push(format!(
                    "{} step {i}: {}\n  says     {}\n  expected {}\n  warns {warns:?}, expected {expected}",
                    case["case"],
                    answer.err().map(|s| s.message.to_string()).unwrap_or_default(),
                    said, step["says"],
                ));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
