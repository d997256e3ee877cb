//! Rows give back what was put in, byte for byte.

use super::*;
use crate::meta;
use proptest::prelude::*;
use serde_json::json;

/// The object as it should be read back.
fn expected(object: &Value, revision: u64, cluster: Option<&str>) -> Value {
    let mut o = object.clone();
    o["apiVersion"] = json!("apps/v1");
    o["kind"] = json!("Deployment");
    if !o["metadata"].is_object() {
        o["metadata"] = json!({});
    }
    meta::remove(&mut o, "resourceVersion");
    meta::remove_annotation(&mut o, CLUSTER_ANNOTATION);
    if o["metadata"]["annotations"] == json!({}) || o["metadata"]["annotations"].is_null() {
        meta::remove(&mut o, "annotations");
    }
    if let Some(c) = cluster {
        meta::set_annotation(&mut o, CLUSTER_ANNOTATION, c);
    }
    meta::set(&mut o, "resourceVersion", revision.to_string());
    o
}

#[track_caller]
fn check(object: &Value) {
    let row = Row::encode(object);
    let parsed = RowRef::parse(&row).unwrap();
    for (revision, cluster) in [(0, None), (18, Some("2x9kd")), (u64::MAX, Some("\"q\""))] {
        let mut json = Vec::new();
        parsed.write_json(&mut json, "apps/v1", "Deployment", revision, cluster);
        let want = expected(object, revision, cluster);
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            want.to_string(),
            "sorted and compact"
        );
        assert_eq!(
            parsed.value("apps/v1", "Deployment", revision, cluster),
            want
        );
        assert!(json.len() <= parsed.json_size_hint("apps/v1", "Deployment", cluster));
    }
}

#[test]
fn rows_give_back_what_was_put_in() {
    check(&json!({}));
    check(&json!({"metadata": {}}));
    check(&json!({"metadata": null}));
    check(&json!({"metadata": {"annotations": {}}}));
    check(
        &json!({"metadata": {"annotations": {"kcp.io/cluster": "other"}, "resourceVersion": "4"}}),
    );
    check(&json!({"metadata": {"annotations": {"a": "b", "kcp.io/cluster": "other", "z": "y"}}}));
    check(&json!({"metadata": {"annotations": {"z": "y"}, "uid": "u"}}));
    check(&json!({"metadata": {"annotations": {"a": "y"}, "name": "n"}}));
    check(&json!({"metadata": {"aaa": 1}}));
    check(&json!({"metadata": {"name": "n"}, "data": {"x": "\u{1}é\""}, "aa": 1, "zz": null}));
    check(
        &json!({"apiVersion": "v1", "kind": "X", "binaryData": {}, "immutable": true, "metadata": {"name": "a", "resourceVersion": "9", "uid": "u"}, "spec": [1, 2.5, {"a": null}]}),
    );
}

#[test]
fn headers_answer_without_parsing() {
    let row = Row::encode(&json!({"metadata": {
        "uid": "u1", "generation": 7, "labels": {"b": "2", "a": "1"}, "finalizers": ["x/y"],
        "deletionTimestamp": "2026-11-21T04:00:00Z", "ownerReferences": [{"uid": "o1"}, {"uid": "o2"}]}}));
    let row = RowRef::parse(&row).unwrap();
    assert_eq!((row.uid(), row.generation()), ("u1", 7));
    assert_eq!(row.labels().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    assert_eq!((row.label("b"), row.label("c")), (Some("2"), None));
    assert_eq!(row.owners().collect::<Vec<_>>(), ["o1", "o2"]);
    assert!(row.has_finalizers() && row.is_deleting());
    let plain = Row::encode(&json!({"metadata": {"finalizers": []}}));
    let plain = RowRef::parse(&plain).unwrap();
    assert!(!plain.has_finalizers() && !plain.is_deleting());
}

#[test]
fn damaged_rows_are_refused() {
    let row = Row::encode(&json!({"metadata": {"uid": "u1", "labels": {"a": "b"}}}));
    assert_eq!(
        RowRef::parse(&[]).unwrap_err(),
        RowError::Damaged("it is empty")
    );
    assert_eq!(RowRef::parse(&[9, 9]).unwrap_err(), RowError::Unknown(9));
    for end in 1..12 {
        assert!(RowRef::parse(&row[..end]).is_err(), "{end}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn keyed(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(prop::sample::select(keys), json_value(), 0..keys.len())
        .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
}

proptest! {
    #[test]
    fn any_object_survives(
        mut object in keyed(&["apiVersion", "aa", "data", "kind", "spec", "status", "zz"]),
        mut metadata in keyed(&["aa", "generateName", "name", "ownerReferences", "resourceVersion", "uid", "zz"]),
        annotations in prop::option::of(prop::collection::btree_map(prop_oneof!["[a-z]{1,3}", Just(CLUSTER_ANNOTATION.to_owned())], "[a-z]{0,3}", 0..3)),
    ) {
        if let Some(annotations) = annotations {
            metadata["annotations"] = json!(annotations);
        }
        object["metadata"] = metadata;
        check(&object);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut row = vec![VERSION];
        row.extend(bytes);
        if let Ok(parsed) = RowRef::parse(&row) {
            let _ = parsed.value("v1", "X", 1, Some("c"));
            parsed.labels().for_each(drop);
        }
    }
}
