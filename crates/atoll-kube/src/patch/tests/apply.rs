//! Server-side apply: conflicts, shared and moved ownership, removal, every sort of list and map.

use serde_json::{Value, json};

use super::{owners, spec_owners, thing, write};
use crate::patch::managed::{LAST_APPLIED, Write, on_apply, on_create, on_update};
use crate::status::Status;

/// A Thing and the history of who wrote what into it.
struct Story {
    object: Option<Value>,
    second: i64,
}

impl Story {
    fn new() -> Self {
        Self {
            object: None,
            second: 0,
        }
    }

    fn try_apply(&mut self, manager: &str, spec: Value, force: bool) -> Result<(), Status> {
        self.second += 1;
        let mut applied = on_apply(
            &write(manager, self.second),
            self.object.as_ref(),
            &thing(spec),
            force,
        )?;
        applied["metadata"]["uid"] = json!("u");
        self.object = Some(applied);
        Ok(())
    }

    fn apply(mut self, manager: &str, spec: Value) -> Self {
        self.try_apply(manager, spec, false).unwrap();
        self
    }

    fn force(mut self, manager: &str, spec: Value) -> Self {
        self.try_apply(manager, spec, true).unwrap();
        self
    }

    fn update(mut self, manager: &str, spec: Value) -> Self {
        self.second += 1;
        let write = write(manager, self.second);
        let mut object = self.object.clone().unwrap_or_else(|| thing(json!({})));
        object["spec"] = spec;
        match &self.object {
            Some(live) => on_update(&write, live, &mut object),
            None => on_create(&write, &mut object),
        }
        object["metadata"]["uid"] = json!("u");
        self.object = Some(object);
        self
    }

    #[track_caller]
    fn conflicts(mut self, manager: &str, spec: Value, message: &str) -> Self {
        let status = self.try_apply(manager, spec, false).unwrap_err();
        assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
        assert_eq!(status.message, message);
        self
    }

    #[track_caller]
    fn is(self, spec: Value, owners: Value) -> Self {
        let object = self.object.as_ref().unwrap();
        assert_eq!(object["spec"], spec);
        assert_eq!(json!(spec_owners(object)), owners);
        self
    }
}

#[test]
fn apply_creates_what_is_not_there() {
    let story = Story::new().apply("a", json!({"note": "n", "map": {"k": "v"}, "containers": [{"name": "c"}]})).is(
        json!({"note": "n", "map": {"k": "v"}, "containers": [{"name": "c"}]}),
        json!({"a Apply": {"f:note": {}, "f:map": {"f:k": {}}, "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}}}}}),
    );
    let object = story.object.unwrap();
    assert_eq!(object["metadata"]["name"], "x");
    assert_eq!(
        object["metadata"]["managedFields"][0]["time"],
        "2026-01-01T00:00:01Z"
    );
}

#[test]
fn changing_what_another_owns_is_a_conflict_unless_forced() {
    Story::new()
        .update("kubectl-create", json!({"replicas": 1, "note": "n"}))
        .conflicts(
            "a",
            json!({"replicas": 2}),
            "Apply failed with 1 conflict: conflict with \"kubectl-create\" using test.io/v1: .spec.replicas",
        )
        .conflicts(
            "a",
            json!({"replicas": 2, "note": "m"}),
            "Apply failed with 2 conflicts: conflicts with \"kubectl-create\" using test.io/v1:\n- .spec.note\n- .spec.replicas",
        )
        .is(json!({"replicas": 1, "note": "n"}), json!({"kubectl-create Update": {"f:replicas": {}, "f:note": {}}}))
        .force("a", json!({"replicas": 2}))
        .is(
            json!({"replicas": 2, "note": "n"}),
            json!({"a Apply": {"f:replicas": {}}, "kubectl-create Update": {"f:note": {}}}),
        );
}

#[test]
fn the_same_value_is_shared_and_stays_until_the_last_owner_lets_go() {
    Story::new()
        .apply("a", json!({"replicas": 1, "note": "n"}))
        .apply("b", json!({"replicas": 1}))
        .is(
            json!({"replicas": 1, "note": "n"}),
            json!({"a Apply": {"f:replicas": {}, "f:note": {}}, "b Apply": {"f:replicas": {}}}),
        )
        .apply("a", json!({"note": "n"}))
        .is(
            json!({"replicas": 1, "note": "n"}),
            json!({"a Apply": {"f:note": {}}, "b Apply": {"f:replicas": {}}}),
        )
        .apply("b", json!({}))
        .is(
            json!({"note": "n"}),
            json!({"a Apply": {"f:note": {}}, "b Apply": {}}),
        );
}

#[test]
fn an_owner_alone_may_change_its_value_and_co_owners_conflict() {
    Story::new()
        .apply("a", json!({"replicas": 1}))
        .apply("a", json!({"replicas": 2}))
        .apply("b", json!({"replicas": 2}))
        .conflicts(
            "a",
            json!({"replicas": 3}),
            "Apply failed with 1 conflict: conflict with \"b\": .spec.replicas",
        )
        .force("a", json!({"replicas": 3}))
        .is(
            json!({"replicas": 3}),
            json!({"a Apply": {"f:replicas": {}}}),
        );
}

#[test]
fn an_update_moves_ownership_and_the_applier_then_conflicts() {
    Story::new()
        .apply("a", json!({"replicas": 1, "note": "n"}))
        .update("autoscaler", json!({"replicas": 5, "note": "n"}))
        .is(
            json!({"replicas": 5, "note": "n"}),
            json!({"a Apply": {"f:note": {}}, "autoscaler Update": {"f:replicas": {}}}),
        )
        .conflicts(
            "a",
            json!({"replicas": 1, "note": "n"}),
            "Apply failed with 1 conflict: conflict with \"autoscaler\" using test.io/v1: .spec.replicas",
        )
        .apply("a", json!({"note": "n"}))
        .is(
            json!({"replicas": 5, "note": "n"}),
            json!({"a Apply": {"f:note": {}}, "autoscaler Update": {"f:replicas": {}}}),
        );
}

#[test]
fn list_items_are_owned_one_by_one() {
    Story::new()
        .apply("a", json!({"containers": [{"name": "x", "image": "1"}, {"name": "y"}]}))
        .apply("b", json!({"containers": [{"name": "z", "image": "1"}]}))
        .apply("c", json!({"containers": [{"name": "x", "args": ["q"]}]}))
        .is(
            json!({"containers": [{"name": "x", "image": "1", "args": ["q"]}, {"name": "y"}, {"name": "z", "image": "1"}]}),
            json!({
                "a Apply": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:image": {}}, "k:{\"name\":\"y\"}": {".": {}, "f:name": {}}}},
                "b Apply": {"f:containers": {"k:{\"name\":\"z\"}": {".": {}, "f:name": {}, "f:image": {}}}},
                "c Apply": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:args": {}}}}}),
        )
        .conflicts(
            "b",
            json!({"containers": [{"name": "x", "image": "2"}]}),
            "Apply failed with 1 conflict: conflict with \"a\": .spec.containers[name=\"x\"].image",
        )
        .apply("a", json!({"containers": [{"name": "y"}]}))
        .is(
            json!({"containers": [{"name": "x", "args": ["q"]}, {"name": "y"}, {"name": "z", "image": "1"}]}),
            json!({
                "a Apply": {"f:containers": {"k:{\"name\":\"y\"}": {".": {}, "f:name": {}}}},
                "b Apply": {"f:containers": {"k:{\"name\":\"z\"}": {".": {}, "f:name": {}, "f:image": {}}}},
                "c Apply": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:args": {}}}}}),
        );
}

#[test]
fn absent_key_fields_have_their_defaults() {
    let port = |extra: Value| {
        let mut port = json!({"containerPort": 80});
        port.as_object_mut()
            .unwrap()
            .extend(extra.as_object().cloned().unwrap_or_default());
        json!({"containers": [{"name": "x", "ports": [port]}]})
    };
    let tcp = "k:{\"containerPort\":80,\"protocol\":\"TCP\"}";
    Story::new()
        .apply("a", port(json!({})))
        .apply("b", port(json!({"protocol": "TCP", "name": "http"})))
        .is(
            port(json!({"protocol": "TCP", "name": "http"})),
            json!({
                "a Apply": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:ports": {tcp: {".": {}, "f:containerPort": {}}}}}},
                "b Apply": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:ports": {tcp: {".": {}, "f:containerPort": {}, "f:protocol": {}, "f:name": {}}}}}}}),
        )
        .conflicts(
            "a",
            port(json!({"name": "web"})),
            "Apply failed with 1 conflict: conflict with \"b\": \
             .spec.containers[name=\"x\"].ports[containerPort=80,protocol=\"TCP\"].name",
        );
    let udp = Story::new()
        .apply("a", port(json!({})))
        .apply("b", port(json!({"protocol": "UDP"})))
        .object
        .unwrap();
    assert_eq!(
        udp["spec"]["containers"][0]["ports"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn the_order_of_lists_follows_the_applier_and_keeps_the_others_in_place() {
    let named = |names: &str| -> Value {
        json!({"containers": names.chars().map(|c| json!({"name": c.to_string()})).collect::<Vec<_>>()})
    };
    for (live, applied, expected) in [
        ("abc", "abc", "abc"),
        ("abc", "ca", "bca"),
        ("abc", "d", "abcd"),
        ("ab", "bxa", "bxa"),
        ("abcd", "dxb", "acdxb"),
        ("", "ab", "ab"),
    ] {
        let story = Story::new()
            .update("server", named(live))
            .apply("a", named(applied));
        assert_eq!(
            story.object.unwrap()["spec"],
            named(expected),
            "{live} with {applied}"
        );
    }
}

#[test]
fn items_of_sets_are_owned_by_value() {
    Story::new()
        .apply("a", json!({"set": ["x", "y"]}))
        .apply("b", json!({"set": ["y", "z"]}))
        .is(
            json!({"set": ["x", "y", "z"]}),
            json!({"a Apply": {"f:set": {"v:\"x\"": {}, "v:\"y\"": {}}}, "b Apply": {"f:set": {"v:\"y\"": {}, "v:\"z\"": {}}}}),
        )
        .apply("a", json!({"set": []}))
        .is(json!({"set": ["y", "z"]}), json!({"b Apply": {"f:set": {"v:\"y\"": {}, "v:\"z\"": {}}}}));
}

#[test]
fn atomic_lists_and_maps_are_owned_and_replaced_whole() {
    let first = json!({"atomicList": ["x"], "selector": {"matchLabels": {"a": "1"}}});
    Story::new()
        .apply("a", first.clone())
        .is(
            first,
            json!({"a Apply": {"f:atomicList": {}, "f:selector": {}}}),
        )
        .conflicts(
            "b",
            json!({"atomicList": ["x", "y"]}),
            "Apply failed with 1 conflict: conflict with \"a\": .spec.atomicList",
        )
        .conflicts(
            "b",
            json!({"selector": {"matchLabels": {"b": "1"}}}),
            "Apply failed with 1 conflict: conflict with \"a\": .spec.selector",
        )
        .force("b", json!({"selector": {"matchLabels": {"b": "1"}}}))
        .is(
            json!({"atomicList": ["x"], "selector": {"matchLabels": {"b": "1"}}}),
            json!({"a Apply": {"f:atomicList": {}}, "b Apply": {"f:selector": {}}}),
        );
}

#[test]
fn map_entries_are_owned_one_by_one_and_structs_go_with_their_last_field() {
    Story::new()
        .apply("a", json!({"mapOfMaps": {"k": {"a": 1}}, "map": {"x": "1"}}))
        .apply("b", json!({"mapOfMaps": {"k": {"b": 1}}}))
        .apply("a", json!({"map": {"y": "1"}}))
        .is(
            json!({"mapOfMaps": {"k": {"b": 1}}, "map": {"y": "1"}}),
            json!({"a Apply": {"f:map": {"f:y": {}}}, "b Apply": {"f:mapOfMaps": {"f:k": {".": {}, "f:b": {}}}}}),
        )
        .apply("b", json!({}))
        .is(json!({"map": {"y": "1"}}), json!({"a Apply": {"f:map": {"f:y": {}}}, "b Apply": {}}));
}

#[test]
fn unowned_fields_below_a_removed_place_stay() {
    // Nobody owns `image`: its record was reset before `a` came.
    let mut story = Story::new().update("u", json!({"containers": [{"name": "x", "image": "1"}]}));
    story.object.as_mut().unwrap()["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    let story = story.apply("a", json!({"containers": [{"name": "x"}], "note": "n"}));
    let owners = spec_owners(story.object.as_ref().unwrap());
    assert_eq!(
        owners.keys().collect::<Vec<_>>(),
        ["a Apply", "before-first-apply Update"]
    );
    story.apply("a", json!({"note": "n"})).is(
        json!({"containers": [{"name": "x", "image": "1"}], "note": "n"}),
        json!({
            "a Apply": {"f:note": {}},
            "before-first-apply Update": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:image": {}}}}}),
    );
}

#[test]
fn a_map_that_became_empty_goes_from_built_in_kinds_and_stays_in_custom_ones() {
    for (native, left) in [
        (true, json!({"note": "n"})),
        (false, json!({"note": "n", "map": {}})),
    ] {
        let at = |manager, second| Write {
            native,
            ..write(manager, second)
        };
        let mut live = thing(json!({"note": "n", "map": {"k": "v"}}));
        on_create(&at("creator", 0), &mut live);
        let live = on_apply(
            &at("a", 1),
            Some(&live),
            &thing(json!({"map": {"k": "w"}})),
            true,
        )
        .unwrap();
        // The map itself is still the creator's.
        let live = on_apply(
            &at("a", 2),
            Some(&live),
            &thing(json!({"paused": null})),
            true,
        )
        .unwrap();
        let mut spec = live["spec"].clone();
        spec.as_object_mut().unwrap().retain(|_, v| !v.is_null());
        assert_eq!(spec, left);
        assert!(spec_owners(&live)["creator Update"].get("f:map").is_some());
        assert_eq!(live["spec"].get("paused").is_some(), !native);
    }
}

#[test]
fn applying_the_same_twice_changes_nothing() {
    let spec = json!({"note": "n", "set": ["a"], "containers": [{"name": "x", "ports": [{"containerPort": 1}]}]});
    let once = Story::new().apply("a", spec.clone());
    let first = once.object.clone();
    assert_eq!(once.apply("a", spec).object, first);
}

#[test]
fn a_schema_that_made_a_place_atomic_moves_ownership_up() {
    let mut story = Story::new().apply("a", json!({"selector": {"matchLabels": {"a": "1"}}}));
    story.object.as_mut().unwrap()["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:selector"] =
        json!({"f:matchLabels": {"f:a": {}}});
    story.apply("b", json!({"note": "n"})).is(
        json!({"selector": {"matchLabels": {"a": "1"}}, "note": "n"}),
        json!({"a Apply": {"f:selector": {}}, "b Apply": {"f:note": {}}}),
    );
}

#[test]
fn status_is_applied_through_its_subresource() {
    let story = Story::new().apply("a", json!({"note": "n"}));
    let mut config = thing(json!({"note": "ignored"}));
    config["status"] = json!({"ready": 1});
    let status = Write {
        subresource: "status",
        ..write("ctl", 5)
    };
    let object = on_apply(&status, story.object.as_ref(), &config, true).unwrap();
    assert_eq!(
        owners(&object)["ctl Apply/status"],
        json!({"f:status": {"f:ready": {}}})
    );
    let object = on_apply(&write("b", 6), Some(&object), &config, true).unwrap();
    assert_eq!(
        owners(&object)["b Apply"],
        json!({"f:spec": {"f:note": {}}})
    );
}

#[test]
fn what_cannot_be_applied_is_refused() {
    let refuse = |config: Value, code: u16, message: &str| {
        let status = on_apply(&write("a", 0), None, &config, false).unwrap_err();
        assert_eq!((status.code, &*status.message), (code, message));
    };
    let spec = |spec: Value, what: &str| {
        refuse(
            thing(spec),
            500,
            &format!("failed to create typed patch object (ns/x; test.io/v1, Kind=Thing): {what}"),
        );
    };
    spec(
        json!({"unknown": 1}),
        ".spec.unknown: field not declared in schema",
    );
    spec(
        json!({"replicas": "1"}),
        ".spec.replicas: expected numeric (int or float), got string",
    );
    spec(
        json!({"note": 1}),
        ".spec.note: expected string, got &value.valueUnstructured{Value:1}",
    );
    spec(
        json!({"paused": "x"}),
        ".spec.paused: expected boolean, got &{x}",
    );
    spec(json!({"map": [1]}), ".spec.map: expected map, got &{[1]}");
    spec(
        json!({"containers": {"a": 1}}),
        ".spec.containers: expected list, got &{map[a:1]}",
    );
    spec(
        json!({"set": ["a", "a"]}),
        ".spec.set: duplicate entries for key [=\"a\"]",
    );
    spec(
        json!({"containers": [{"name": "a"}, {"name": "a"}]}),
        ".spec.containers: duplicate entries for key [name=\"a\"]",
    );
    spec(
        json!({"containers": [{"image": "a"}], "paused": 1}),
        ".spec.paused: expected boolean, got &{1}",
    );
    refuse(
        json!({"apiVersion": "v1", "kind": "ConfigMap"}),
        400,
        "invalid object type: /v1, Kind=ConfigMap",
    );
    let mut config = thing(json!({}));
    config["metadata"]["managedFields"] = json!([]);
    refuse(config, 400, "metadata.managedFields must be nil");
}

#[test]
fn kubectl_takes_over_what_client_side_apply_set() {
    let client_side = |spec: Value| {
        let mut object = thing(spec.clone());
        object["metadata"]["annotations"] = json!({LAST_APPLIED: thing(spec).to_string()});
        on_create(&write("kubectl-client-side-apply", 0), &mut object);
        object["metadata"]["uid"] = json!("u");
        object
    };
    let live = client_side(json!({"replicas": 1, "note": "n"}));
    let config = thing(json!({"replicas": 2, "note": "n"}));
    // Someone else may not take it over, kubectl may; and it renews the annotation.
    assert_eq!(
        on_apply(&write("other", 1), Some(&live), &config, false)
            .unwrap_err()
            .code,
        409
    );
    let object = on_apply(&write("kubectl", 1), Some(&live), &config, false).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
    assert_eq!(
        object["metadata"]["annotations"][LAST_APPLIED],
        json!(format!("{config}\n"))
    );
    // What changed since the client-side apply stays a conflict.
    let mut edited = live.clone();
    edited["spec"]["replicas"] = json!(7);
    on_update(&write("editor", 1), &live, &mut edited);
    let status = on_apply(&write("kubectl", 2), Some(&edited), &config, false).unwrap_err();
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"editor\" using test.io/v1: .spec.replicas"
    );
}
