//! What plain writes record.

use serde_json::{Value, json};

use super::{FREE, THING, owners, spec_owners, stored, thing, write};
use crate::patch::entries::{ANCIENT, MAX_UPDATE_MANAGERS};
use crate::patch::managed::{
    Write, keep_times_if_unchanged, manager_name, on_apply, on_create, on_update,
};

fn created(spec: Value) -> Value {
    let mut object = thing(spec);
    on_create(&write("creator", 0), &mut object);
    object["metadata"]["uid"] = json!("u");
    object
}

fn updated(live: &Value, manager: &str, second: i64, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = live.clone();
    change(&mut object);
    on_update(&write(manager, second), live, &mut object);
    object
}

#[test]
fn a_creator_owns_what_it_wrote_and_the_structs_of_built_in_kinds_are_nobodys() {
    let object = created(json!({
        "note": "n",
        "containers": [{"name": "a", "ports": [{"containerPort": 80}]}],
        "strategy": {"rollingUpdate": {"maxSurge": 1}},
        "selector": {"matchLabels": {"a": "b"}},
        "atomicList": ["x"],
        "set": ["s"],
        "map": {"k": "v"},
    }));
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "manager": "creator", "operation": "Update", "apiVersion": "test.io/v1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {
                "f:atomicList": {},
                "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:ports": {".": {},
                    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}},
                "f:map": {".": {}, "f:k": {}},
                "f:note": {},
                "f:selector": {},
                "f:set": {".": {}, "v:\"s\"": {}},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}}}}}])
    );
}

#[test]
fn an_object_without_structs_is_owned_at_every_level() {
    let custom = Write {
        native: false,
        ..write("creator", 0)
    };
    let mut object = thing(json!({"containers": [{"name": "a"}], "strategy": {"type": "x"}}));
    object["metadata"]["labels"] = json!({"l": "v"});
    on_create(&custom, &mut object);
    assert_eq!(
        owners(&object)["creator Update"],
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
            "f:spec": {".": {}, "f:containers": {".": {}, "k:{\"name\":\"a\"}": {".": {}, "f:name": {}}},
                "f:strategy": {".": {}, "f:type": {}}}})
    );
}

#[test]
fn system_metadata_and_what_the_write_resets_are_nobodys() {
    let mut object = thing(json!({"note": "n"}));
    object["status"] = json!({"ready": 1});
    object["metadata"]["annotations"] = json!({"a": "b", "kcp.io/cluster": "c"});
    for field in ["uid", "resourceVersion", "creationTimestamp", "selfLink"] {
        object["metadata"][field] = json!("x");
    }
    object["metadata"]["generation"] = json!(1);
    on_create(&write("w", 0), &mut object);
    let expected =
        json!({"f:metadata": {"f:annotations": {".": {}, "f:a": {}}}, "f:spec": {"f:note": {}}});
    assert_eq!(owners(&object)["w Update"], expected);
}

#[test]
fn status_writes_own_status_only() {
    let live = created(json!({"note": "n"}));
    let status = Write {
        subresource: "status",
        ..write("controller", 1)
    };
    let mut object = live.clone();
    object["status"] = json!({"ready": 1});
    object["spec"]["note"] = json!("other");
    on_update(&status, &live, &mut object);
    assert_eq!(
        owners(&object)["controller Update/status"],
        json!({"f:status": {"f:ready": {}}})
    );
    assert_eq!(
        owners(&object)["creator Update"],
        json!({"f:spec": {"f:note": {}}})
    );
}

#[test]
fn an_update_takes_what_it_changes_and_drops_what_it_removes() {
    let live = created(json!({"note": "n", "replicas": 1, "map": {"a": "1", "b": "1"}}));
    let object = updated(&live, "editor", 1, |o| {
        o["spec"]["replicas"] = json!(2);
        o["spec"]["map"] = json!({"a": "1", "c": "1"});
    });
    let spec = spec_owners(&object);
    assert_eq!(
        spec["creator Update"],
        json!({"f:note": {}, "f:map": {".": {}, "f:a": {}}})
    );
    assert_eq!(
        spec["editor Update"],
        json!({"f:replicas": {}, "f:map": {"f:c": {}}})
    );

    let object = updated(&object, "editor", 2, |o| {
        o["spec"] = json!({"map": {"c": "2"}})
    });
    assert_eq!(
        spec_owners(&object),
        [
            ("creator Update".to_owned(), json!({"f:map": {}})),
            ("editor Update".to_owned(), json!({"f:map": {"f:c": {}}})),
        ]
        .into()
    );
}

#[test]
fn times_change_only_with_fields() {
    let live = created(json!({"note": "n"}));
    let time = |object: &Value| object["metadata"]["managedFields"][0]["time"].clone();
    let same = updated(&live, "creator", 5, |_| ());
    assert_eq!(same, live);
    let changed = updated(&live, "creator", 5, |o| o["spec"]["note"] = json!("m"));
    assert_eq!(time(&changed), json!("2026-01-01T00:00:05Z"));
}

#[test]
fn what_a_client_does_to_the_record_is_judged() {
    let live = created(json!({"note": "n", "replicas": 1}));
    let record = live["metadata"]["managedFields"].clone();
    let with = |sent: Option<Value>, replicas: i64| {
        updated(&live, "creator", 0, |o| {
            o["spec"]["replicas"] = json!(replicas);
            match sent {
                Some(sent) => o["metadata"]["managedFields"] = sent,
                None => drop(
                    o["metadata"]
                        .as_object_mut()
                        .unwrap()
                        .remove("managedFields"),
                ),
            }
        })
    };
    // Absent, or unreadable: the live record counts.
    assert_eq!(with(None, 1)["metadata"]["managedFields"], record);
    assert_eq!(
        with(Some(json!([{"operation": "Nonsense"}])), 1)["metadata"]["managedFields"],
        record
    );
    assert_eq!(
        with(Some(json!("text")), 1)["metadata"]["managedFields"],
        record
    );
    // Empty: reset, and not tracked any more until someone applies.
    for reset in [json!([]), json!([{}])] {
        let untracked = with(Some(reset), 2);
        assert_eq!(untracked["metadata"].get("managedFields"), None);
        let later = updated(&untracked, "editor", 1, |o| o["spec"]["note"] = json!("m"));
        assert_eq!(later["metadata"].get("managedFields"), None);
        let applied = on_apply(
            &write("applier", 2),
            Some(&later),
            &thing(json!({"paused": true})),
            false,
        )
        .unwrap();
        let owners = spec_owners(&applied);
        assert_eq!(
            owners["before-first-apply Update"],
            json!({"f:note": {}, "f:replicas": {}})
        );
        assert_eq!(owners["applier Apply"], json!({"f:paused": {}}));
    }
    // Readable: it counts instead of the live one.
    let mut renamed = record;
    renamed[0]["manager"] = json!("someone");
    assert_eq!(
        spec_owners(&with(Some(renamed), 1))
            .keys()
            .collect::<Vec<_>>(),
        ["someone Update"]
    );
}

#[test]
fn old_updates_are_folded() {
    let mut object = created(json!({"note": "n"}));
    for n in 0..15 {
        object = updated(&object, &format!("m{n:02}"), n + 1, |o| {
            o["spec"]["map"][format!("k{n:02}")] = json!("v")
        });
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), MAX_UPDATE_MANAGERS);
    assert!(owners.contains_key(&format!("{ANCIENT} Update")));
    assert!(owners.contains_key("m14 Update") && !owners.contains_key("m00 Update"));
}

#[test]
fn kinds_without_schema_have_granular_maps_and_atomic_lists() {
    let write = Write {
        schema: &FREE,
        native: false,
        ..write("w", 0)
    };
    let mut object = thing(json!({"deep": {"a": 1, "list": [{"name": "x"}], "empty": {}}}));
    on_create(&write, &mut object);
    assert_eq!(
        owners(&object)["w Update"],
        json!({"f:spec": {".": {}, "f:deep": {".": {}, "f:a": {}, "f:list": {}, "f:empty": {}}}})
    );
}

#[test]
fn a_write_without_effect_keeps_its_times() {
    let live = created(json!({"note": "n"}));
    let mut later = live.clone();
    later["metadata"]["managedFields"][0]["time"] = json!("2026-02-02T00:00:00Z");
    let mut same = later.clone();
    keep_times_if_unchanged(&live, &mut same);
    assert_eq!(same, live);
    let mut different = later.clone();
    different["spec"]["note"] = json!("m");
    let expected = different.clone();
    keep_times_if_unchanged(&live, &mut different);
    assert_eq!(different, expected);
}

#[test]
fn managers_are_named_by_the_client_or_its_user_agent() {
    for (field_manager, user_agent, expected) in [
        (Some("me"), "kubectl/v1.36", "me"),
        (None, "kubectl/v1.36 (linux/amd64)", "kubectl"),
        (Some(""), "curl", "curl"),
        (None, "", ""),
        (None, "a\u{7}b\tc d/1", "abc d"),
    ] {
        assert_eq!(manager_name(field_manager, user_agent), expected);
    }
    assert_eq!(manager_name(None, &"é".repeat(100)).len(), 128);
    let mut object = stored(json!({"note": "n"}));
    object["metadata"].as_object_mut().unwrap().remove("uid");
    on_create(
        &Write {
            schema: &THING,
            ..write("", 0)
        },
        &mut object,
    );
    assert!(owners(&object).contains_key("unknown Update"));
}
