//! The recorded answers by which validation is tested are a genuine Kubernetes': those about the rules between fields, and those about rules in CEL.

use serde_json::{Value, json};

use crate::harness::{
    eventually,
    http::{Http, Reply},
    real_edge::RealEdge,
    scratch,
};

#[test]
fn a_genuine_server_says_what_was_recorded() {
    let scratch = scratch();
    let Some(edge) = RealEdge::start(&scratch.path().join("edge")) else {
        return;
    };
    let context = edge.kubectl(&["config", "current-context"]).expect();
    let http = Http::new(&edge.kubeconfig(), context.trim());
    for line in include_str!("../crates/atoll-kube/src/builtin/testdata/rules.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let path = format!("{}?dryRun=All", row["path"].as_str().unwrap());
        let answer = http.post(&path, &row["object"]);
        let causes = answer.body["details"]["causes"].as_array();
        let text = |c: &Value, field: &str| c[field].as_str().unwrap().to_owned();
        let says: Vec<String> = causes
            .into_iter()
            .flatten()
            .map(|c| format!("{}: {}", text(c, "field"), text(c, "message")))
            .collect();
        let says = serde_json::json!(says);
        let refused = !row["says"].as_array().unwrap().is_empty();
        assert_eq!(answer.code, if refused { 422 } else { 201 }, "{line}");
        assert_eq!(says, row["says"], "{line}");
    }
}

fn causes(reply: &Reply) -> Value {
    let list = reply.body["details"]["causes"].as_array();
    let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
    let mut says: Vec<String> = list
        .into_iter()
        .flatten()
        .map(|c| format!("{}: {}", text(c, "field"), text(c, "message")))
        .collect();
    says.sort();
    json!(says)
}

#[test]
fn a_genuine_server_says_what_was_recorded_of_rules_in_cel() {
    const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let scratch = scratch();
    let Some(edge) = RealEdge::start(&scratch.path().join("edge")) else {
        return;
    };
    let context = edge.kubectl(&["config", "current-context"]).expect();
    let http = Http::new(&edge.kubeconfig(), context.trim());
    let scripts = include_str!("../crates/atoll-registry/tests/data/validations.jsonl");
    for (n, line) in scripts.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let group = format!("c{n}.example.dev");
        let definition = |schema: &Value| {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {}, "spec": {
                "group": group, "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}]}})
        };
        let steps = case["steps"].as_array().unwrap();
        for step in steps.iter().filter(|step| step["says"].is_array()) {
            let (all, name, mut value) = match step.get("schema") {
                Some(schema) => (
                    CRDS.to_owned(),
                    format!("things.{group}"),
                    definition(schema),
                ),
                None => {
                    let mut object = step["object"].clone();
                    object["apiVersion"] = format!("{group}/v1").into();
                    object["kind"] = "Thing".into();
                    (
                        format!("/apis/{group}/v1/namespaces/default/things"),
                        "a".to_owned(),
                        object,
                    )
                }
            };
            value["metadata"]["name"] = name.as_str().into();
            // A definition comes to act a moment after it is written: until then the answer is another, so nothing is written yet.
            let mut write = |query: &str| {
                let one = format!("{all}/{name}");
                let live = http.get(&one);
                if live.code == 200 {
                    value["metadata"]["resourceVersion"] =
                        live.body["metadata"]["resourceVersion"].clone();
                    http.send("PUT", &format!("{one}{query}"), "application/json", &value)
                } else {
                    http.post(&format!("{all}{query}"), &value)
                }
            };
            eventually(&format!("{}: {step}", case["case"]), || {
                let answer = write("?dryRun=All");
                let says = causes(&answer);
                let fits = says == step["says"] && matches!(answer.code, 200 | 201 | 422);
                if fits { Ok(()) } else { Err(answer) }
            });
            write("");
        }
    }
}
