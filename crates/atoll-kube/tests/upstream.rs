//! What this crate says about generated input, beside what Kubernetes 1.36's own packages say about it.
//!
//! `upstream/cases.jsonl` holds one case a line: an operation, its input, and the answer that `upstream/main.go` (built
//! against k8s.io/apiextensions-apiserver and friends, version 0.36.3) gave. To renew the answers: build it, pipe the
//! `in` of each line through it, and put what it prints into `out`.

#![allow(clippy::unwrap_used)] // a test: what is not there is a failure

use atoll_kube::quantity::Quantity;
use atoll_kube::schema::compile;
use atoll_kube::{FieldSelector, LabelSelector, definition, jsonpath::JsonPath, names, time, yaml};
use serde_json::{Value, json};

const CASES: &str = include_str!("upstream/cases.jsonl");

/// Messages in one order, each once: upstream's order is that of Go's maps.
fn sorted(mut messages: Vec<String>) -> Value {
    messages.sort();
    messages.dedup();
    json!(messages)
}

fn text(result: Result<String, String>) -> Value {
    match result {
        Ok(text) => json!({"error": "", "text": text}),
        Err(why) => json!({"error": why}),
    }
}

fn answer(input: &Value) -> Value {
    let source = input["text"].as_str().unwrap_or_default();
    match input["op"].as_str().unwrap() {
        "schema" => {
            let schema = compile::schema(&input["schema"]).unwrap();
            let mut object = input["object"].clone();
            let unknown = schema.prune(&mut object);
            schema.drop_nulls(&mut object);
            schema.default_into(&mut object);
            let errors = schema.validate(&object, "");
            json!({
                "unknown": unknown,
                "object": object,
                "errors": sorted(errors.iter().map(ToString::to_string).collect()),
            })
        }
        "crd" => {
            let mut crd = input["object"].clone();
            definition::default_crd(&mut crd);
            let errors = definition::validate_crd(&crd);
            json!({"errors": sorted(errors.iter().map(ToString::to_string).collect())})
        }
        "labels" => text(LabelSelector::parse_query(source).map(|s| s.to_string())),
        "fields" => text(FieldSelector::parse(source).map(|s| s.to_string())),
        "quantity" => match Quantity::parse(source) {
            Ok(q) => {
                json!({"error": "", "text": q.to_string(), "milli": q.milli(), "value": q.value()})
            }
            Err(why) => json!({"error": why}),
        },
        "yaml" => match yaml::to_json(source.as_bytes()) {
            Ok(value) => json!({"value": value}),
            Err(_) => json!({"error": true}),
        },
        "names" => {
            let first = |check: names::Check| check.err();
            json!({
                "label": first(names::is_dns1123_label(source)),
                "subdomain": first(names::is_dns1123_subdomain(source)),
                "label1035": first(names::is_dns1035_label(source)),
                "qualified": first(names::is_qualified_name(source)),
                "value": first(names::is_label_value(source)),
                "key": first(names::is_config_map_key(source)),
            })
        }
        "jsonpath" => match JsonPath::parse(source) {
            Ok(path) => json!({"results": path.eval(&input["object"])}),
            Err(_) => json!({"error": true}),
        },
        "duration" => {
            let seconds = source.parse().unwrap();
            json!({"text": time::human_duration(std::time::Duration::from_secs(seconds))})
        }
        other => panic!("no operation {other}"),
    }
}

#[test]
fn answers_are_those_of_kubernetes() {
    let mut count = 0;
    for (i, line) in CASES.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            answer(&case["in"]),
            case["out"],
            "line {}: {}",
            i + 1,
            case["in"]
        );
        count += 1;
    }
    assert!(count > 1000, "only {count} cases");
}
