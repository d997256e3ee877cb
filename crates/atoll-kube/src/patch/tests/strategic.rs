//! Strategic merge patch: what each list, map and directive does.

use serde_json::{Value, json};

use super::{FREE, THING};
use crate::patch::strategic;

fn check(original: Value, patch: Value, expected: Value) {
    let wrap = |spec: Value| json!({"spec": spec});
    let shown = format!("{original} with {patch}");
    let patched = strategic(wrap(original), wrap(patch), &THING).expect(&shown);
    assert_eq!(patched, wrap(expected), "{shown}");
}

fn refuse(original: Value, patch: Value, code: u16, message: &str) {
    let wrap = |spec: Value| json!({"spec": spec});
    let status = strategic(wrap(original), wrap(patch), &THING).unwrap_err();
    assert_eq!((status.code, &*status.message), (code, message));
}

#[test]
fn maps_are_merged_and_null_removes() {
    check(
        json!({"note": "a", "paused": true}),
        json!({"note": "b"}),
        json!({"note": "b", "paused": true}),
    );
    check(
        json!({"note": "a", "paused": true}),
        json!({"note": null, "replicas": null}),
        json!({"paused": true}),
    );
    check(
        json!({"map": {"a": "1"}}),
        json!({"map": {"b": "2"}}),
        json!({"map": {"a": "1", "b": "2"}}),
    );
    check(
        json!({}),
        json!({"map": {"a": "1", "b": null}}),
        json!({"map": {"a": "1"}}),
    );
    check(json!({"map": {"a": "1"}}), json!({"map": null}), json!({}));
    check(
        json!({"note": "a"}),
        json!({"note": {"b": null, "c": 1}}),
        json!({"note": {"c": 1}}),
    );
}

#[test]
fn map_directives_replace_and_delete() {
    check(
        json!({"map": {"a": "1"}}),
        json!({"map": {"$patch": "replace", "b": "2"}}),
        json!({"map": {"b": "2"}}),
    );
    check(
        json!({"map": {"a": "1"}}),
        json!({"map": {"$patch": "delete"}}),
        json!({"map": {}}),
    );
    check(
        json!({"note": "n"}),
        json!({"map": {"$patch": "delete"}}),
        json!({"note": "n"}),
    );
    check(
        json!({"note": "n"}),
        json!({"$patch": "replace", "paused": true}),
        json!({"paused": true}),
    );
    check(
        json!({"replaced": {"a": 1}}),
        json!({"replaced": {"b": 2}}),
        json!({"replaced": {"b": 2}}),
    );
    refuse(
        json!({"map": {"a": "1"}}),
        json!({"map": {"$patch": "merge", "b": "2"}}),
        500,
        "unknown patch type: merge in map: map[$patch:merge b:2]",
    );
}

#[test]
fn lists_without_strategy_are_replaced() {
    check(
        json!({"atomicList": ["a", "b"]}),
        json!({"atomicList": ["c"]}),
        json!({"atomicList": ["c"]}),
    );
    check(
        json!({"free": {"l": [{"name": "a"}]}}),
        json!({"free": {"l": [{"name": "b"}]}}),
        json!({"free": {"l": [{"name": "b"}]}}),
    );
}

#[test]
fn lists_of_scalars_are_united() {
    check(
        json!({"set": ["a", "b"]}),
        json!({"set": ["c", "a"]}),
        json!({"set": ["c", "a", "b"]}),
    );
    check(
        json!({}),
        json!({"set": ["c", "a"]}),
        json!({"set": ["c", "a"]}),
    );
    check(json!({"set": []}), json!({"set": []}), json!({"set": []}));
}

#[test]
fn scalars_are_deleted_from_lists() {
    check(
        json!({"set": ["a", "b", "c"]}),
        json!({"$deleteFromPrimitiveList/set": ["b", "x"]}),
        json!({"set": ["a", "c"]}),
    );
    check(
        json!({"set": ["a", "b"]}),
        json!({"$deleteFromPrimitiveList/set": ["a"], "set": ["c"], "$setElementOrder/set": ["c", "b"]}),
        json!({"set": ["c", "b"]}),
    );
    check(
        json!({"note": "n"}),
        json!({"$deleteFromPrimitiveList/set": ["a"]}),
        json!({"note": "n"}),
    );
}

#[test]
fn lists_of_maps_are_merged_by_key() {
    let two = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
    check(
        two.clone(),
        json!({"containers": [{"name": "b", "image": "2"}]}),
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}),
    );
    check(
        two.clone(),
        json!({"containers": [{"name": "c", "image": "3"}]}),
        json!({"containers": [{"name": "c", "image": "3"}, {"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
    );
    check(
        two.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b", "image": "1"}]}),
    );
    check(
        two.clone(),
        json!({"containers": [{"$patch": "replace"}]}),
        json!({"containers": []}),
    );
    check(
        two.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "z"}]}),
        json!({"containers": [{"name": "z"}]}),
    );
    check(
        two,
        json!({"containers": [{"name": "a", "image": null, "env": [{"name": "E", "value": "v"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "E", "value": "v"}]}, {"name": "b", "image": "1"}]}),
    );
    check(
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "h"}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "UDP"}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "h", "protocol": "UDP"}]}]}),
    );
}

#[test]
fn list_faults_are_named() {
    let one = json!({"containers": [{"name": "a"}]});
    refuse(
        one.clone(),
        json!({"containers": [{"image": "x"}]}),
        500,
        "map: map[image:x] does not contain declared merge key: name",
    );
    refuse(
        one.clone(),
        json!({"containers": [{"$patch": "delete"}]}),
        500,
        "map: map[$patch:delete] does not contain declared merge key: name",
    );
    refuse(
        one.clone(),
        json!({"containers": [{"name": "a", "$patch": "merge"}]}),
        500,
        "merging lists cannot yet be specified in the patch",
    );
    refuse(
        one.clone(),
        json!({"containers": [{"name": "a", "$patch": "spin"}]}),
        500,
        "unknown patch type: spin in map: map[$patch:spin name:a]",
    );
    refuse(
        one,
        json!({"containers": ["a"]}),
        500,
        "list element types are not identical: [[map[name:a]] [a]]",
    );
    refuse(
        json!({"set": ["a"]}),
        json!({"set": [["b"]]}),
        422,
        "the server rejected our request due to an error in our request",
    );
}

#[test]
fn element_order_is_set_and_live_items_keep_their_places() {
    let named = |names: &[&str]| -> Value { names.iter().map(|n| json!({"name": n})).collect() };
    for (live, patch, order, expected) in [
        (
            &["a", "b", "c"][..],
            &[][..],
            &["c", "b", "a"][..],
            &["c", "b", "a"][..],
        ),
        (&["a", "b"], &["c"], &["a", "c", "b"], &["a", "c", "b"]),
        (
            &["a", "server", "b"],
            &["c"],
            &["b", "c", "a"],
            &["server", "b", "c", "a"],
        ),
        (&["server", "a"], &["b"], &["b", "a"], &["b", "server", "a"]),
        (&["a", "server"], &["b"], &["a", "b"], &["a", "b", "server"]),
    ] {
        let mut change = json!({"$setElementOrder/containers": named(order)});
        if !patch.is_empty() {
            change["containers"] = named(patch);
        }
        check(
            json!({"containers": named(live)}),
            change,
            json!({"containers": named(expected)}),
        );
    }
    check(
        json!({"set": ["a", "b", "c"]}),
        json!({"$setElementOrder/set": ["c", "a"]}),
        json!({"set": ["b", "c", "a"]}),
    );
    refuse(
        json!({"containers": [{"name": "a"}]}),
        json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}),
        500,
        "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
    );
    refuse(
        json!({"containers": []}),
        json!({"$setElementOrder/containers": "a"}),
        500,
        "expected a []interface {}, but received a string",
    );
}

#[test]
fn retain_keys_clears_the_rest() {
    check(
        json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
        json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
        json!({"strategy": {"type": "Recreate"}}),
    );
    let fault = "invalid patch format of retainKeys";
    refuse(
        json!({"strategy": {}}),
        json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}),
        400,
        fault,
    );
    refuse(
        json!({"strategy": {}}),
        json!({"strategy": {"$retainKeys": "type"}}),
        400,
        fault,
    );
}

#[test]
fn without_a_schema_maps_merge_and_lists_are_replaced() {
    let patched = strategic(
        json!({"a": {"b": [1], "c": 1}}),
        json!({"a": {"b": [2], "d": null}}),
        &FREE,
    )
    .unwrap();
    assert_eq!(patched, json!({"a": {"b": [2], "c": 1}}));
}

#[test]
fn metadata_lists_are_merged_whatever_the_schema_says() {
    let live =
        json!({"metadata": {"finalizers": ["a"], "ownerReferences": [{"uid": "1", "name": "x"}]}});
    let patch =
        json!({"metadata": {"finalizers": ["b"], "ownerReferences": [{"uid": "1", "name": "y"}]}});
    let patched = strategic(live, patch, &FREE).unwrap();
    let expected = json!({"metadata": {"finalizers": ["b", "a"], "ownerReferences": [{"uid": "1", "name": "y"}]}});
    assert_eq!(patched, expected);
}
