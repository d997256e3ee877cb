//! Nothing a client sends makes a patch panic: any JSON as object, patch, configuration or record.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FREE, THING, thing, write};
use crate::patch::fieldset::Set;
use crate::patch::managed::{keep_times_if_unchanged, on_apply, on_create, on_update};
use crate::patch::{json as json_patch, merge, strategic};

/// Words that mean something to some patch, among others.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "spec",
        "metadata",
        "containers",
        "name",
        "set",
        "map",
        "selector",
        "ports",
        "containerPort",
        "managedFields",
        "annotations",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$setElementOrder/set",
        "$deleteFromPrimitiveList/set",
        "replace",
        "delete",
        "merge",
        "a",
        "f:a",
        "k:{\"name\":\"a\"}",
        "v:1",
        "i:0",
        ".",
        "f:spec",
        "op",
        "path",
        "from",
        "value",
        "add",
        "remove",
        "move",
        "copy",
        "test",
        "/spec/set/-",
        "/spec",
        "/metadata/a",
        "operation",
        "Apply",
        "Update",
        "fieldsType",
        "FieldsV1",
        "fieldsV1",
        "apiVersion",
        "test.io/v1",
        "kind",
        "Thing",
        "manager",
        "time",
    ];
    prop_oneof![8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => "[a-z:/~0-9]{0,4}"]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..3i64).prop_map(Value::from),
        (-2.0..2.0).prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(word(), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

fn whole(spec: Value, record: Option<Value>) -> Value {
    let mut object = thing(spec);
    if let Some(record) = record {
        object["metadata"]["managedFields"] = record;
    }
    object["metadata"]["uid"] = json!("u");
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn patches_of_anything_end(mut object in anything(), patch in anything()) {
        for schema in [&*THING, &*FREE] {
            let _ = strategic(object.clone(), patch.clone(), schema);
            let wrap = |value: &Value| json!({"spec": value, "metadata": value});
            let _ = strategic(wrap(&object), wrap(&patch), schema);
        }
        let _ = json_patch(&mut object.clone(), &patch);
        let _ = json_patch(&mut object.clone(), &json!([patch]));
        let _ = merge(&mut object, patch);
    }

    #[test]
    fn records_of_anything_are_kept_or_dropped(before in anything(), after in anything(), record in anything()) {
        for object in [whole(before.clone(), Some(record.clone())), before.clone()] {
            let mut created = object.clone();
            on_create(&write("w", 0), &mut created);
            let mut updated = whole(after.clone(), None);
            on_update(&write("w", 1), &object, &mut updated);
            keep_times_if_unchanged(&object, &mut updated);
            for force in [true, false] {
                let _ = on_apply(&write("kubectl", 2), Some(&object), &thing(after.clone()), force);
                let _ = on_apply(&write("w", 2), Some(&object), &after, force);
            }
        }
        if let Ok(set) = Set::from_fields_v1(&record) {
            prop_assert_eq!(Set::from_fields_v1(&set.to_fields_v1()), Ok(set));
        }
    }
}
