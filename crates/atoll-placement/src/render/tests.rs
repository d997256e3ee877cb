//! Rendering as a whole: layers in order, faults, classes against asking each destination, content, comparisons.

use std::collections::BTreeMap;

use atoll_kube::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::compare::{Change, Comparison, Difference, Side, compare};
use super::*;
use crate::bundle::{self, CopyFlags, Rendered};
use crate::choose::Candidates;
use crate::choose::candidates::Sight;
use crate::choose::expression::Facts;
use crate::choose::signal::Signals;
use crate::inventory::Inventory;
use crate::policy::Candidate;
use crate::{Destination, Destinations};

/// A fleet: what each destination says, and the indexes over it.
struct Fleet {
    given: Vec<Given>,
    table: PropertyTable,
    inventory: Inventory,
}

impl Facts for Fleet {
    fn label(&self, destination: Destination, key: &str) -> Option<&str> {
        let given = self.given.get(destination.0 as usize)?;
        given.labels.get(key).map(String::as_str)
    }

    fn claim(&self, destination: Destination, name: &str) -> Option<String> {
        self.given
            .get(destination.0 as usize)?
            .claims
            .get(name)
            .cloned()
    }

    fn cluster(&self, destination: Destination) -> Value {
        match self.given.get(destination.0 as usize) {
            Some(g) => {
                json!({"name": g.name, "labels": g.labels, "annotations": g.annotations, "claims": g.claims})
            }
            None => Value::Null,
        }
    }
}

impl Fleet {
    fn new(given: Vec<Given>) -> Fleet {
        let (mut table, mut inventory) = (PropertyTable::new(), Inventory::new());
        for (at, one) in (0u32..).zip(&given) {
            table.set(Destination(at), one);
            inventory.add(Destination(at), &one.labels, true);
        }
        Fleet {
            given,
            table,
            inventory,
        }
    }

    fn labelled(labels: &[&[(&str, &str)]]) -> Fleet {
        let given = labels.iter().enumerate().map(|(at, labels)| Given {
            name: format!("edge-{at}"),
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Given::default()
        });
        Fleet::new(given.collect())
    }

    fn all(&self) -> Destinations {
        (0..u32::try_from(self.given.len()).unwrap()).collect()
    }

    fn places(&self, customizers: &[&Customizer]) -> Places {
        let signals = Signals::default();
        let sight = Sight {
            inventory: &self.inventory,
            facts: self,
            signals: &signals,
            now: Timestamp::parse("2026-11-21T00:00:00Z").unwrap(),
        };
        let layers = customizers.iter().map(|c| &c.layer);
        Places(
            layers
                .map(|l| {
                    (
                        l.id(),
                        Candidates::all(l.selectors(), l.expressions(), &sight),
                    )
                })
                .collect(),
        )
    }
}

fn object<'a>(body: &'a Value, group: &'a str, resource: &'a str) -> Object<'a> {
    Object {
        candidate: Candidate {
            group,
            resource,
            namespace: body.pointer("/metadata/namespace").and_then(Value::as_str),
            name: body["metadata"]["name"].as_str().unwrap(),
            labels: &|_| None,
            namespace_labels: &|_| None,
        },
        body,
        scaled: false,
    }
}

fn customizer(name: &str, spec: Value) -> Customizer {
    Customizer::parse(name, &spec, &mut Layers::new())
        .unwrap_or_else(|errors| panic!("{name}: {errors:?}"))
}

/// For all destinations and Deployments.
fn everywhere(name: &str, priority: i64, patch: Value) -> Customizer {
    customizer(
        name,
        json!({"priority": priority, "clusterSelectors": [{}], "targets": [{"resources": ["deployments"]}], "patches": [patch]}),
    )
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"}]}}}})
}

fn render_at(
    renderer: &Renderer,
    fleet: &Fleet,
    customizers: &[&Customizer],
    at: u32,
) -> Result<Value, RenderError> {
    let places = fleet.places(customizers);
    let around = Around {
        properties: &fleet.table,
        places: &places,
    };
    let input = renderer.input(Destination(at), around);
    let rendered = renderer.render(&input)?;
    Ok(serde_json::from_slice(&rendered.body).unwrap())
}

/// What becomes of a Deployment at the only destination.
fn customized(labels: &[(&str, &str)], customizers: &[&Customizer]) -> Result<Value, String> {
    let fleet = Fleet::labelled(&[labels]);
    let body = deployment();
    let renderer = Renderer::new(Recipe::of(
        &object(&body, "apps", "deployments"),
        &[],
        customizers,
    ));
    render_at(&renderer, &fleet, customizers, 0).map_err(|e| e.to_string())
}

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
    let annotations = json!({"control.kubestellar.io/expand-templates": "true"});
    let object = json!({"kind": "X", "metadata": {"name": "{{ .a }}", "annotations": annotations}, "spec": {"a": [{"b": "x\n{{ nope }}"}], "c": "{{ .d }}"}});
    let errors: Vec<String> = check_templates(&object)
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
    assert!(check_templates(&json!({"metadata": {}, "spec": "{{"})).is_empty());
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

#[test]
fn equal_destinations_are_one_class_and_unique_ones_are_bounded() {
    let labels: Vec<Vec<(&str, &str)>> = (0..10_000)
        .map(|i| vec![("zone", if i % 2 == 0 { "a" } else { "b" })])
        .collect();
    let slices: Vec<&[(&str, &str)]> = labels.iter().map(Vec::as_slice).collect();
    let mut fleet = Fleet::labelled(&slices);
    let expanding = |text: &str| json!({"metadata": {"name": "a", "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "data": {"x": text}});
    let places = Places::default();
    let shared = expanding("{{ .zone }}");
    let renderer = Renderer::new(Recipe::of(&object(&shared, "", "configmaps"), &[], &[]));
    fleet.table.index(renderer.reads());
    let around = Around {
        properties: &fleet.table,
        places: &places,
    };
    let classes = renderer.classes(&fleet.all(), around);
    assert_eq!(
        classes
            .iter()
            .map(|c| c.destinations.len())
            .collect::<Vec<_>>(),
        [5_000, 5_000]
    );
    let unique = expanding("{{ .clusterName }}");
    let renderer = Renderer::new(Recipe::of(&object(&unique, "", "configmaps"), &[], &[]));
    let (classes, beyond) = renderer.classes_up_to(&fleet.all(), around, 100);
    assert_eq!((classes.len(), beyond.len()), (100, 9_900));
}

#[test]
fn a_comparison_groups_equal_changes_of_different_copies() {
    let body = |image: &str| {
        json!({"kind": "Deployment", "metadata": {"name": "web", "annotations": {"control.kubestellar.io/expand-templates": "true"}},
        "spec": {"host": "{{ .clusterName }}", "containers": [{"name": "a", "image": "a:1"}, {"name": "web", "image": image}]}})
    };
    let fleet = Fleet::labelled(&[&[], &[], &[], &[]]);
    let places = Places::default();
    let around = Around {
        properties: &fleet.table,
        places: &places,
    };
    let (old, new) = (body("web:1"), body("web:2"));
    let renderer =
        |b: &Value| Renderer::new(Recipe::of(&object(b, "apps", "deployments"), &[], &[]));
    let (old, new) = (renderer(&old), renderer(&new));
    let (before, after): (Destinations, Destinations) = ((0..3).collect(), (1..4).collect());
    let found = compare(
        Some(Side {
            renderer: &old,
            around,
            at: &before,
        }),
        Some(Side {
            renderer: &new,
            around,
            at: &after,
        }),
        1000,
    );
    let changed = Change::Changed(vec![Difference {
        path: "spec.containers[name=web].image".to_owned(),
        old: Some("\"web:1\"".to_owned()),
        new: Some("\"web:2\"".to_owned()),
    }]);
    let classes: Vec<(Change, Vec<u32>)> = found
        .classes
        .into_iter()
        .map(|c| (c.change, c.destinations.iter().collect()))
        .collect();
    assert_eq!(
        classes,
        [
            (Change::Removed, vec![0]),
            (Change::Added, vec![3]),
            (changed, vec![1, 2])
        ]
    );
    let bounded = compare(
        Some(Side {
            renderer: &old,
            around,
            at: &before,
        }),
        Some(Side {
            renderer: &new,
            around,
            at: &before,
        }),
        2,
    );
    assert_eq!(bounded.beyond.len(), 1);
}

const POOL_NAMES: [&str; 3] = ["zone", "size", "a-b"];

fn given() -> impl Strategy<Value = Given> {
    let map = || {
        proptest::collection::btree_map(
            proptest::sample::select(POOL_NAMES.to_vec()).prop_map(str::to_owned),
            proptest::sample::select(vec!["1", "2", "x"]).prop_map(str::to_owned),
            0..3,
        )
    };
    (map(), map(), map(), map()).prop_map(|(config, annotations, labels, claims)| Given {
        name: String::new(),
        config,
        annotations,
        labels,
        claims,
    })
}

fn pool() -> Vec<Customizer> {
    let specs = [
        (
            0,
            json!([{"matchLabels": {"zone": "1"}}]),
            json!([]),
            json!([{"merge": {"spec": {"a": 1}}}]),
        ),
        (
            1,
            json!([{}]),
            json!(["cluster.labels.size == 'x'"]),
            json!([{"path": "$.spec.a", "value": "cluster.properties['a-b']"}]),
        ),
        (
            2,
            json!([]),
            json!(["int(cluster.claims.zone) > 1"]),
            json!([{"path": "$.spec.b", "value": "int(cluster.labels.size) + 1"}]),
        ),
        (
            -1,
            json!([{}]),
            json!([]),
            json!([{"path": "$.spec.n", "value": "cluster.labels.map(k, k + cluster.labels[k]).join(',')"}]),
        ),
        (
            1,
            json!([{"matchExpressions": [{"key": "size", "operator": "Exists"}]}]),
            json!([]),
            json!([{"json": [{"op": "replace", "path": "/spec/a", "value": {"b": 1}}]}]),
        ),
        (
            3,
            json!([{}]),
            json!([]),
            json!([{"path": "$.spec.name", "value": "cluster.name + string(cluster.annotations.size())"}]),
        ),
    ];
    (0..).zip(specs).map(|(at, (priority, selectors, expressions, patches))| {
        customizer(&format!("c{at}"), json!({"priority": priority, "clusterSelectors": selectors, "clusterExpressions": expressions,
            "targets": [{"resources": ["deployments"]}], "patches": patches}))
    }).collect()
}

const TEMPLATES: [&str; 5] = [
    "plain",
    "{{ .zone }}",
    "{{ index . \"a-b\" | default \"none\" }}",
    "{{ if eq (get . \"size\") \"x\" }}{{ .zone }}{{ end }}",
    "{{ .clusterName }}",
];

type Copy = Result<Rendered, RenderError>;

fn naive(renderer: &Renderer, at: &Destinations, around: Around<'_>) -> BTreeMap<u32, Copy> {
    at.iter()
        .map(|d| (d, renderer.render(&renderer.input(Destination(d), around))))
        .collect()
}

fn naive_comparison(
    old: &BTreeMap<u32, Copy>,
    new: &BTreeMap<u32, Copy>,
) -> BTreeMap<u32, &'static str> {
    let all: std::collections::BTreeSet<u32> = old.keys().chain(new.keys()).copied().collect();
    all.into_iter()
        .map(|d| {
            (
                d,
                match (old.get(&d), new.get(&d)) {
                    (_, None) => "removed",
                    (None, Some(Ok(_))) => "added",
                    (None, Some(Err(_))) => "added fails",
                    (Some(Ok(a)), Some(Ok(b))) if a == b => "same",
                    (Some(Ok(_)), Some(Ok(_))) => "changed",
                    (Some(Ok(_)), Some(Err(_))) => "fails",
                    (Some(Err(_)), Some(Ok(_))) => "recovers",
                    (Some(Err(_)), Some(Err(_))) => "still fails",
                },
            )
        })
        .collect()
}

fn words(found: &Comparison) -> BTreeMap<u32, &'static str> {
    let mut words = BTreeMap::new();
    for class in &found.classes {
        let word = match &class.change {
            Change::Removed => "removed",
            Change::Added => "added",
            Change::AddedFails(_) => "added fails",
            Change::Changed(_) | Change::Handling => "changed",
            Change::Fails(_) => "fails",
            Change::Recovers => "recovers",
            Change::StillFails(_) => "still fails",
            Change::Same => "same",
        };
        for d in &class.destinations {
            assert_eq!(words.insert(d, word), None, "{d} is in two classes");
        }
    }
    words
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    /// Whatever the destinations, templates and Customizers: classes hold each destination once; a class's render is what each of
    /// its members gets; equal keys are equal copies; the order in which Customizers are listed is of no matter; and a comparison
    /// says of each destination what comparing its two copies says.
    #[test]
    fn classes_agree_with_asking_each_destination(
        given in proptest::collection::vec(given(), 1..24),
        template in proptest::sample::select(TEMPLATES.to_vec()),
        other in proptest::sample::select(TEMPLATES.to_vec()),
        chosen in proptest::sample::subsequence((0..6usize).collect::<Vec<_>>(), 0..6),
        others in proptest::sample::subsequence((0..6usize).collect::<Vec<_>>(), 0..6),
        indexed in any::<bool>(),
        split in 0u32..24,
    ) {
        let mut fleet = Fleet::new((0..).zip(given).map(|(at, g)| Given { name: format!("e{}", at % 7), ..g }).collect());
        let pool = pool();
        let body = |template: &str| json!({"kind": "Deployment", "metadata": {"name": "web", "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "spec": {"t": template}});
        let make = |template: &str, chosen: &[usize]| {
            let mut customizers: Vec<&Customizer> = chosen.iter().map(|at| &pool[*at]).collect();
            let body = body(template);
            let recipe = Recipe::of(&object(&body, "apps", "deployments"), &[], &customizers);
            customizers.reverse();
            assert_eq!(recipe.to_bytes(), Recipe::of(&object(&body, "apps", "deployments"), &[], &customizers).to_bytes());
            Renderer::new(recipe)
        };
        let (old, new) = (make(template, &chosen), make(other, &others));
        if indexed {
            fleet.table.index(old.reads());
            fleet.table.index(new.reads());
        }
        let places = fleet.places(&pool.iter().collect::<Vec<_>>());
        let around = Around { properties: &fleet.table, places: &places };
        let all = fleet.all();
        let copies = naive(&old, &all, around);
        let mut seen = Destinations::new();
        let mut by_key: BTreeMap<RenderKey, Copy> = BTreeMap::new();
        for class in old.classes(&all, around) {
            prop_assert!(!class.destinations.is_empty() && (&seen & &class.destinations).is_empty());
            seen |= &class.destinations;
            let copy = old.render(&class.input);
            for d in &class.destinations {
                prop_assert_eq!(&old.input(Destination(d), around), &class.input);
                prop_assert_eq!(&copies[&d], &copy);
            }
            prop_assert_eq!(by_key.insert(old.key(&class.input), copy), None);
        }
        prop_assert_eq!(&seen, &all);
        // From the table or from what a destination gives itself: the same.
        for d in &all {
            let alone = Around { properties: &fleet.given[d as usize], places: &places };
            prop_assert_eq!(old.input(Destination(d), alone), old.input(Destination(d), around));
        }
        let (before, after): (Destinations, Destinations) = (
            all.iter().filter(|d| *d <= split).collect(),
            all.iter().filter(|d| d.saturating_mul(2) >= split).collect(),
        );
        let found = compare(
            Some(Side { renderer: &old, around, at: &before }),
            Some(Side { renderer: &new, around, at: &after }),
            usize::MAX,
        );
        let expected = naive_comparison(&naive(&old, &before, around), &naive(&new, &after, around));
        prop_assert_eq!(words(&found), expected);
    }

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
