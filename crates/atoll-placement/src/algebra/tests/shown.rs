//! What is rendered is what the API serves: it fits the kind's schema, and kubectl's columns find what they show.

use atoll_kube::GroupResource;
use atoll_kube::builtin;
use atoll_kube::table::{IncludeObject, TableOptions, render};

use super::*;

#[test]
fn a_combined_status_fits_its_schema_and_columns() {
    let copies: Vec<(String, Value)> = (0..30)
        .map(|i| (format!("edge-{i:02}"), json!({"x": if i % 7 == 0 { json!("?") } else { json!(i) }, "list": [1, {"a": null}]})))
        .collect();
    let copies: Vec<Copied<'_>> = copies
        .iter()
        .map(|(name, status)| (name.as_str(), &[][..], status.clone()))
        .collect();
    let combined = table(
        json!({"filter": "returned.status.y || true", "groupBy": [{"name": "g", "def": "returned.status.list"}], "combinedFields": [
            {"name": "sum", "type": "SUM", "subject": "returned.status.x"}, {"name": "top", "type": "TOP", "subject": "returned.status.x"},
            {"name": "distinct", "type": "APPROX_COUNT_DISTINCT", "subject": "returned.status.x"}]}),
        json!({}),
        &copies,
    );
    let selected = table(
        json!({"filter": "returned.status.x > 3", "select": [{"name": "all", "def": "returned.status"}, {"name": "missing", "def": "returned.status.z"},
            {"name": "ready", "def": "false"}, {"name": "none", "def": "null"}]}),
        json!({}),
        &copies,
    );
    assert!(!combined.problems.is_empty() && !selected.problems.is_empty());
    let about = About {
        uid: "u",
        group: "apps",
        resource: "deployments",
        namespace: Some("shop"),
        name: "web",
        policy: "everywhere",
        policy_uid: "p",
    };
    let coverage = Coverage {
        expected: 40,
        reported: 30,
        stale: 2,
    };
    let status = combined_status(&about, coverage, [("two", &combined), ("one", &selected)]);
    assert_eq!(status["results"][0]["name"], "one");

    let kind = GroupResource {
        group: "control.kubestellar.io".into(),
        resource: "combinedstatuses".into(),
    };
    let definition = builtin::lookup(&kind).unwrap();
    let version = definition.storage_version();
    let wrong = version.schema.validate(&status, "");
    assert!(wrong.is_empty(), "{wrong:?}");
    let mut pruned = status.clone();
    let dropped = version.schema.prune(&mut pruned);
    assert!(dropped.is_empty(), "{dropped:?}");

    let options = TableOptions {
        version: "v1",
        include: IncludeObject::None,
        no_headers: false,
        now: Timestamp(0),
        named: |_, _, _| Value::Null,
    };
    let shown = render(definition, version, &[status], json!({}), &options);
    let names: Vec<&str> = shown["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 9, "{names:?}");
    let cells = &shown["rows"][0]["cells"];
    let expected = json!([
        "u.p",
        "apps",
        "deployments",
        "shop",
        "web",
        "everywhere",
        30,
        40,
        2
    ]);
    assert_eq!(cells, &expected);
}
