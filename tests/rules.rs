//! The recorded answers by which the rules between fields are tested are a genuine Kubernetes'.

use serde_json::Value;

use crate::harness::{http::Http, real_edge::RealEdge, scratch};

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
