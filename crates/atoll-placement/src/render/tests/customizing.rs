//! What becomes of one copy: templates, patches in their order, faults, and what shapes a revision.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::bundle::{self, CopyFlags};

#[test]
fn an_object_that_is_the_same_everywhere_is_as_it_always_was() {
    let body = deployment();
    let recipe = Recipe::of(&object(&body, "apps", "deployments"), &[], &[]);
    let before = bundle::render("apps", "deployments", &body, false);
    assert_eq!(
        recipe.content(CopyFlags::default()),
        before.render_hash(CopyFlags::default())
    );
    assert_eq!(
        Renderer::new(recipe).uniform().map(|r| r.as_ref()),
        Some(&before)
    );
    // Braces without the annotation are only braces.
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "{{ .x }}"}});
    assert!(Recipe::of(&object(&body, "", "configmaps"), &[], &[]).is_uniform());
}

#[test]
fn templates_are_expanded_per_destination() {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "annotations": {"control.kubestellar.io/expand-templates": "true"}},
        "data": {"where": "{{ .clusterName }} in {{ index . \"location-group\" | default \"nowhere\" }}", "n": 5, "plain": "}}"}});
    let fleet = Fleet::labelled(&[&[("location-group", "edge")], &[]]);
    let renderer = Renderer::new(Recipe::of(&object(&body, "", "configmaps"), &[], &[]));
    assert_eq!(
        renderer.reads(),
        [
            Read::property("clusterName"),
            Read::property("location-group")
        ]
    );
    for (at, expected) in [(0, "edge-0 in edge"), (1, "edge-1 in nowhere")] {
        let found = render_at(&renderer, &fleet, &[], at).unwrap();
        assert_eq!(
            found["data"],
            json!({"where": expected, "n": 5, "plain": "}}"})
        );
        assert_eq!(found["metadata"], json!({"name": "a"}));
    }
}

#[test]
fn an_unknown_property_fails_there_only_and_is_named() {
    let body = json!({"metadata": {"name": "a", "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "data": {"x.y": "{{ .zone }}"}});
    let fleet = Fleet::labelled(&[&[("zone", "z")], &[]]);
    let renderer = Renderer::new(Recipe::of(&object(&body, "", "configmaps"), &[], &[]));
    assert!(render_at(&renderer, &fleet, &[], 0).is_ok());
    let error = render_at(&renderer, &fleet, &[], 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data[x.y]: template at 1:4: the destination has no property \"zone\""
    );
    assert_eq!(error.property.as_deref(), Some("zone"));
}

#[test]
fn templates_are_checked_when_they_are_written() {
    let annotations = json!({"control.kubestellar.io/expand-templates": "true",
        "kubectl.kubernetes.io/last-applied-configuration": "{\"a\": \"{{ index . \\\"b\\\" }}\"}"});
    let object = json!({"kind": "X", "metadata": {"name": "{{ .a }}", "annotations": annotations}, "spec": {"a": [{"b": "x\n{{ nope }}"}], "c": "{{ .d }}"}});
    let errors: Vec<String> = check_templates("x", "y", &object)
        .iter()
        .map(|e| format!("{}: {}", e.field, e.detail))
        .collect();
    assert_eq!(
        errors,
        [
            "metadata.name: which object it is can not be a template",
            "spec.a[0].b: template, at 2:4: there is no function \"nope\""
        ]
    );
    assert!(check_templates("x", "y", &json!({"metadata": {}, "spec": "{{"})).is_empty());
}

#[test]
fn each_sort_of_patch_changes_what_it_says() {
    let labels = [("size", "3"), ("region", "eu")];
    for (patch, pointer, expected) in [
        (
            json!({"json": [{"op": "replace", "path": "/spec/replicas", "value": 4}]}),
            "/spec/replicas",
            json!(4),
        ),
        (
            json!({"json": [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]}),
            "/metadata/labels",
            json!({"a": "b"}),
        ),
        (
            json!({"merge": {"spec": {"paused": true}}}),
            "/spec/paused",
            json!(true),
        ),
        (
            json!({"path": "$.spec.replicas", "value": "int(cluster.labels.size) * 2"}),
            "/spec/replicas",
            json!(6),
        ),
        (
            json!({"path": "$.spec.replicas", "value": "self + 1"}),
            "/spec/replicas",
            json!(2),
        ),
        (
            json!({"path": "$.spec.replicas", "value": "object.metadata.name == 'web' ? 9 : self"}),
            "/spec/replicas",
            json!(9),
        ),
        (
            json!({"path": "$.spec.replicas", "value": "null"}),
            "/spec/replicas",
            Value::Null,
        ),
        (
            json!({"path": "$.metadata.labels.region", "value": "cluster.properties.region"}),
            "/metadata/labels/region",
            json!("eu"),
        ),
        (
            json!({"path": "$.metadata.labels['a.b/c']", "value": "cluster.name"}),
            "/metadata/labels/a.b~1c",
            json!("edge-0"),
        ),
        (
            json!({"path": "$.spec.template.spec.containers[?(@.name=='web')].image", "value": "cluster.labels.region + '/' + self"}),
            "/spec/template/spec/containers/0/image",
            json!("eu/web:1"),
        ),
        (
            json!({"path": "$.spec.template.spec.containers[*].image", "value": "'x/' + self"}),
            "/spec/template/spec/containers/1/image",
            json!("x/log:1"),
        ),
        (
            json!({"path": "$.spec.ratio", "value": "double(cluster.labels.size) / 2.0"}),
            "/spec/ratio",
            json!(1.5),
        ),
        (
            json!({"path": "$.spec.list", "value": "[1, 2]"}),
            "/spec/list",
            json!([1, 2]),
        ),
        (
            json!({"path": "$.spec.region", "value": "'none' in cluster.labels ? 'a' : 'b'"}),
            "/spec/region",
            json!("b"),
        ),
        (
            json!({"path": "$.spec.count", "value": "cluster.labels.size()"}),
            "/spec/count",
            json!(2),
        ),
    ] {
        let found = customized(&labels, &[&everywhere("c", 0, patch.clone())]).unwrap();
        assert_eq!(
            found.pointer(pointer).cloned().unwrap_or_default(),
            expected,
            "{patch}"
        );
    }
}

#[test]
fn the_highest_priority_acts_last_and_names_decide_among_equals() {
    let set = |name: &str, priority: i64, value: i64| {
        everywhere(
            name,
            priority,
            json!({"merge": {"spec": {"replicas": value}}}),
        )
    };
    let (low, a, b, high) = (
        set("z", -5, 1),
        set("a", 0, 2),
        set("b", 0, 3),
        set("c", 9, 4),
    );
    for (customizers, expected) in [
        (vec![&low, &a], 2),
        (vec![&b, &a, &low], 3),
        (vec![&high, &b, &a, &low], 4),
    ] {
        let mut reversed = customizers.clone();
        reversed.reverse();
        for order in [customizers, reversed] {
            assert_eq!(
                customized(&[], &order).unwrap()["spec"]["replicas"],
                expected
            );
        }
    }
    // What comes later sees what came before.
    let double = everywhere(
        "y",
        1,
        json!({"path": "$.spec.replicas", "value": "self * 2"}),
    );
    assert_eq!(
        customized(&[], &[&double, &b]).unwrap()["spec"]["replicas"],
        6
    );
}

#[test]
fn templates_come_before_customizers() {
    let mut body = deployment();
    body["metadata"]["annotations"] = json!({"control.kubestellar.io/expand-templates": "true"});
    body["spec"]["zone"] = json!("{{ .zone }}");
    let fleet = Fleet::labelled(&[&[("zone", "z")]]);
    let c = everywhere(
        "c",
        0,
        json!({"path": "$.spec.zone", "value": "self + '!{{ .x }}'"}),
    );
    let renderer = Renderer::new(Recipe::of(
        &object(&body, "apps", "deployments"),
        &[],
        &[&c],
    ));
    assert_eq!(
        render_at(&renderer, &fleet, &[&c], 0).unwrap()["spec"]["zone"],
        "z!{{ .x }}"
    );
}

#[test]
fn a_patch_that_can_not_be_made_says_which_and_why() {
    for (patch, expected) in [
        (
            json!({"json": [{"op": "remove", "path": "/spec/nope"}]}),
            "Customizer \"c\": spec.patches[0].json: ",
        ),
        (
            json!({"path": "$.spec.containers[0].image", "value": "'x'"}),
            "Customizer \"c\": spec.patches[0].path: .spec.containers is not there",
        ),
        (
            json!({"path": "$.spec.x", "value": "cluster.labels.nope"}),
            "Customizer \"c\": spec.patches[0].value: no such key: nope",
        ),
        (
            json!({"path": "$.spec.x", "value": "int(cluster.name)"}),
            "Customizer \"c\": spec.patches[0].value: ",
        ),
        (
            json!({"path": "$.metadata[*]", "value": "'x'"}),
            "Customizer \"c\": spec.patches[0].metadata.name: must stay as it is",
        ),
        (
            json!({"json": [{"op": "add", "path": "/metadata/labels", "value": {"a": 1}}]}),
            "Customizer \"c\": spec.patches[0].metadata.labels[a]: must be text",
        ),
        (
            json!({"merge": {"metadata": {"annotations": "x"}}}),
            "Customizer \"c\": spec.patches[0].metadata.annotations: must be a map",
        ),
    ] {
        let error = customized(&[], &[&everywhere("c", 0, patch.clone())]).unwrap_err();
        assert!(error.starts_with(expected), "{patch}: {error}");
    }
}

#[test]
fn faults_of_a_customizer_are_said_when_it_is_written() {
    let good = json!({"clusterSelectors": [{}], "targets": [{"resources": ["deployments"]}], "patches": [{"merge": {"spec": {"a": 1}}}]});
    let with = |field: &str, value: Value| {
        let mut spec = good.clone();
        spec[field] = value;
        spec
    };
    let patch = |patch: Value| with("patches", json!([patch]));
    for (spec, expected) in [
        (
            with("clusterSelectors", json!([])),
            "spec.clusterSelectors: say for which destinations",
        ),
        (
            with("clusterSelectors", json!([{"matchLabels": {"a b": "c"}}])),
            "spec.clusterSelectors[0].matchLabels",
        ),
        (
            with("clusterExpressions", json!(["cluster.nope == 1"])),
            "spec.clusterExpressions[0]: ",
        ),
        (
            with("clusterExpressions", json!(["signals.carbon > 1"])),
            "spec.clusterExpressions[0]: ",
        ),
        (
            with("clusterExpressions", json!(["1 + 1"])),
            "spec.clusterExpressions[0]: must be true or false",
        ),
        (
            with("targets", json!([])),
            "spec.targets: say which objects",
        ),
        (
            with("targets", json!([{}])),
            "spec.targets[0]: every object would match",
        ),
        (
            with("priority", json!("high")),
            "spec.priority: must be a whole number",
        ),
        (
            with("patches", json!([])),
            "spec.patches: at least one change",
        ),
        (
            patch(json!({})),
            "spec.patches[0]: must have exactly one of json, merge, or path and value",
        ),
        (
            patch(json!({"merge": {}, "json": []})),
            "spec.patches[0]: must have exactly one",
        ),
        (
            patch(json!({"path": "$.a"})),
            "spec.patches[0].value: a CEL expression",
        ),
        (
            patch(json!({"value": "1"})),
            "spec.patches[0].path: a JSONPath",
        ),
        (
            patch(json!({"path": "$.a[", "value": "1"})),
            "spec.patches[0].path: it ends too early",
        ),
        (
            patch(json!({"path": "$..a", "value": "1"})),
            "spec.patches[0].path: must say where",
        ),
        (
            patch(json!({"path": "$.metadata.name", "value": "'x'"})),
            "spec.patches[0].path: metadata.name can not be customized",
        ),
        (
            patch(json!({"path": "$.status", "value": "1"})),
            "spec.patches[0].path: status can not be customized",
        ),
        (
            patch(json!({"path": "$.a", "value": "1 +"})),
            "spec.patches[0].value: ",
        ),
        (
            patch(json!({"path": "$.a", "value": "nope"})),
            "spec.patches[0].value: ",
        ),
        (
            patch(json!({"path": "$.a", "value": "cluster.labels.a + 1"})),
            "spec.patches[0].value: ",
        ),
        (
            patch(json!({"merge": {"kind": "X", "metadata": {"uid": "1"}}})),
            "spec.patches[0].merge.kind: can not be customized",
        ),
        (
            patch(json!({"merge": "x"})),
            "spec.patches[0].merge: must be an object",
        ),
        (
            patch(json!({"json": [{"op": "replace", "path": "/metadata", "value": {}}]})),
            "spec.patches[0].json[0].path: metadata.name can not be customized",
        ),
        (
            patch(json!({"json": [{"op": "replace", "path": "", "value": {}}]})),
            "spec.patches[0].json[0].path: the object as a whole",
        ),
        (
            patch(json!({"json": [{"op": "move", "from": "/kind", "path": "/spec/x"}]})),
            "spec.patches[0].json[0].from: kind can not be customized",
        ),
        (
            patch(json!({"json": [{"op": "turn", "path": "/spec"}]})),
            "spec.patches[0].json[0].op",
        ),
        (
            patch(json!({"json": [{"op": "add"}]})),
            "spec.patches[0].json[0].path: a JSON pointer",
        ),
        (
            patch(json!({"json": [{"op": "copy", "path": "/a"}]})),
            "spec.patches[0].json[0].from: a JSON pointer",
        ),
        (
            patch(json!({"json": [{"op": "add", "path": "spec"}]})),
            "spec.patches[0].json[0].path: must begin with /",
        ),
    ] {
        let errors = Customizer::parse("c", &spec, &mut Layers::new()).unwrap_err();
        let said: Vec<String> = errors
            .iter()
            .map(|e| format!("{}: {}", e.field, e.detail))
            .collect();
        assert!(
            said.iter().any(|e| e.starts_with(expected)),
            "{spec}: {said:?}"
        );
    }
}

#[test]
fn a_destination_of_which_it_is_unknown_whether_it_is_meant_keeps_its_copy() {
    let c = customizer(
        "c",
        json!({"clusterExpressions": ["int(cluster.labels.size) > 2"], "targets": [{"resources": ["deployments"]}], "patches": [{"merge": {"spec": {"big": true}}}]}),
    );
    let fleet = Fleet::labelled(&[&[("size", "1")], &[("size", "3")], &[("size", "huge")]]);
    let body = deployment();
    let renderer = Renderer::new(Recipe::of(
        &object(&body, "apps", "deployments"),
        &[],
        &[&c],
    ));
    let at = |at| render_at(&renderer, &fleet, &[&c], at);
    assert_eq!(at(0).unwrap()["spec"].get("big"), None);
    assert_eq!(at(1).unwrap()["spec"]["big"], true);
    assert!(
        at(2)
            .unwrap_err()
            .to_string()
            .starts_with("Customizer \"c\": spec.clusterExpressions: can not say")
    );
}

#[test]
fn a_customizer_whose_destinations_are_not_looked_up_makes_no_copy() {
    let c = everywhere("c", 0, json!({"merge": {"spec": {"x": 1}}}));
    let fleet = Fleet::labelled(&[&[], &[]]);
    let body = deployment();
    let renderer = Renderer::new(Recipe::of(
        &object(&body, "apps", "deployments"),
        &[],
        &[&c],
    ));
    assert!(render_at(&renderer, &fleet, &[], 0).is_err());
    let around = Around {
        properties: &fleet.table,
        places: &Places::default(),
    };
    let classes = renderer.classes(&fleet.all(), around);
    assert_eq!(classes.len(), 1);
    assert_eq!(classes[0].input, renderer.input(Destination(1), around));
}

#[test]
fn content_follows_what_shapes_copies_and_nothing_else() {
    let content = |body: &Value, transforms: &[&CustomTransform], customizers: &[&Customizer]| {
        Recipe::of(
            &object(body, "apps", "deployments"),
            transforms,
            customizers,
        )
        .content(CopyFlags::default())
    };
    let (body, mut touched) = (deployment(), deployment());
    touched["metadata"]["resourceVersion"] = json!("7");
    touched["status"] = json!({"replicas": 1});
    let transform = |remove: &str| {
        CustomTransform::parse(
            "t",
            &json!({"apiGroup": "apps", "resource": "deployments", "remove": [remove]}),
        )
        .unwrap()
    };
    let (none, some) = (transform("$.spec.nope"), transform("$.spec.replicas"));
    let a = everywhere("a", 1, json!({"merge": {"spec": {"x": 1}}}));
    let a_moved = everywhere("a", 2, json!({"merge": {"spec": {"x": 1}}}));
    let a_other = everywhere("a", 1, json!({"merge": {"spec": {"x": 2}}}));
    let elsewhere = customizer(
        "s",
        json!({"clusterSelectors": [{}], "targets": [{"resources": ["services"]}], "patches": [{"merge": {"x": 1}}]}),
    );
    let plain = content(&body, &[], &[]);
    assert_eq!(plain, content(&touched, &[], &[]));
    assert_eq!(plain, content(&body, &[&none], &[&elsewhere]));
    assert_ne!(plain, content(&body, &[&some], &[]));
    assert_ne!(plain, content(&body, &[], &[&a]));
    assert_eq!(content(&body, &[], &[&a]), content(&body, &[], &[&a_moved]));
    assert_ne!(content(&body, &[], &[&a]), content(&body, &[], &[&a_other]));
}

#[test]
fn recipes_are_read_back_as_they_were() {
    let mut body = deployment();
    body["metadata"]["annotations"] = json!({"control.kubestellar.io/expand-templates": "true", "edge.atoll.dev/initial-only": ".spec.replicas", "edge.atoll.dev/replace": "true"});
    body["spec"]["zone"] = json!("{{ .zone }}");
    let a = everywhere(
        "a",
        1,
        json!({"path": "$.spec.x", "value": "cluster.labels.zone"}),
    );
    let recipe = Recipe::of(&object(&body, "apps", "deployments"), &[], &[&a]);
    let mut layers = Layers::new();
    let back = Recipe::from_bytes(&recipe.to_bytes(), &mut layers).unwrap();
    assert_eq!(back.to_bytes(), recipe.to_bytes());
    assert_eq!(
        back.content(CopyFlags::default()),
        recipe.content(CopyFlags::default())
    );
    let again = Recipe::from_bytes(&recipe.to_bytes(), &mut layers).unwrap();
    assert!(std::sync::Arc::ptr_eq(
        &back.layers()[0],
        &again.layers()[0]
    ));
    let fleet = Fleet::labelled(&[&[("zone", "z")]]);
    let found = render_at(&Renderer::new(back), &fleet, &[&a], 0).unwrap();
    assert_eq!(
        (found["spec"]["zone"].as_str(), found["spec"]["x"].as_str()),
        (Some("z"), Some("z"))
    );
    assert!(Recipe::from_bytes(b"{}", &mut layers).is_err());
}

#[test]
fn what_is_the_edges_leaves_the_copy_whatever_customizers_say() {
    let mut body = deployment();
    body["metadata"]["annotations"] = json!({"edge.atoll.dev/edge-owned": ".spec.replicas"});
    let c = everywhere("c", 0, json!({"merge": {"spec": {"replicas": 5}}}));
    let fleet = Fleet::labelled(&[&[]]);
    let renderer = Renderer::new(Recipe::of(
        &object(&body, "apps", "deployments"),
        &[],
        &[&c],
    ));
    assert_eq!(
        render_at(&renderer, &fleet, &[&c], 0).unwrap()["spec"].get("replicas"),
        None
    );
}

proptest! {
    /// Any patches either apply or fail, and what an object is stays.
    #[test]
    fn who_an_object_is_survives_any_customizer(
        path in proptest::sample::select(vec!["$.metadata[*]", "$.metadata.labels", "$[*]", "$.metadata['name','x']", "$[?@.name]", "$.spec", "$['spec','kind']", "$.metadata[?@ == 'web']"]),
        value in proptest::sample::select(vec!["null", "1", "{'name': 'x'}", "self", "object", "[]", "'web'", "object.metadata"]),
        operation in proptest::sample::select(vec![
            json!([]), json!([{"op": "copy", "from": "/metadata", "path": "/spec/m"}]), json!([{"op": "remove", "path": "/spec"}]),
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}]), json!([{"op": "move", "from": "/spec/template", "path": "/metadata/x"}]),
        ]),
    ) {
        let first = everywhere("a", 0, json!({"json": operation}));
        let spec = json!({"clusterSelectors": [{}], "targets": [{"resources": ["deployments"]}], "patches": [{"path": path, "value": value}]});
        let Ok(second) = Customizer::parse("b", &spec, &mut Layers::new()) else { return Ok(()) };
        if let Ok(found) = customized(&[], &[&first, &second]) {
            let before = deployment();
            prop_assert_eq!(&found["kind"], &before["kind"]);
            prop_assert_eq!(&found["apiVersion"], &before["apiVersion"]);
            prop_assert_eq!(&found["metadata"]["name"], &before["metadata"]["name"]);
            prop_assert_eq!(&found["metadata"]["namespace"], &before["metadata"]["namespace"]);
            prop_assert_eq!(found.get("status"), None);
        }
    }
}
