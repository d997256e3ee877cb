//! Copies that are not the same everywhere: templates, CustomTransforms, Customizers, properties; and what cannot be rendered.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use atoll_registry::{PatchType, ResourceRef};
use serde_json::{Value, json};
use support::{Center, Disk, Edge, config_maps, configs, counts};

fn customizers() -> ResourceRef {
    ResourceRef::new("edge.atoll.dev", "v1alpha1", "customizers")
}

fn transforms() -> ResourceRef {
    ResourceRef::new("control.kubestellar.io", "v1alpha1", "customtransforms")
}

/// A ConfigMap whose value is a template.
async fn templated(center: &Center, name: &str, value: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default",
        "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "data": {"value": value, "secret": "x"}});
    let client = center.client("p1");
    client.create(&config_maps(), object).await.unwrap();
}

fn everywhere() -> Value {
    json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]})
}

#[test]
fn three_destinations_three_renders_and_a_restart_sends_nothing_again() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let mut uids = Vec::new();
        for (name, site) in [("one", "a"), ("two", "b"), ("three", "b")] {
            uids.push(center.destination(name, json!({"site": site})).await);
        }
        templated(&center, "web", "{{.clusterName}} at {{.site}}").await;
        center.config("p1", "plain", "same").await;
        let customizer = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "Customizer", "metadata": {"name": "b"},
            "spec": {"clusterSelectors": [{"matchLabels": {"site": "b"}}], "targets": [{"resources": ["configmaps"], "objectNames": ["plain"]}],
                "patches": [{"merge": {"data": {"value": "patched"}}}]}});
        let client = center.client("p1");
        client.create(&customizers(), customizer).await.unwrap();
        let transform = json!({"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "CustomTransform", "metadata": {"name": "t"},
            "spec": {"apiGroup": "", "resource": "configmaps", "remove": ["$.data.secret"]}});
        client.create(&transforms(), transform).await.unwrap();
        center.policy("p1", "bp", everywhere()).await;
        let expected = [
            configs(&[("plain", "same"), ("web", "one at a")]),
            configs(&[("plain", "patched"), ("web", "two at b")]),
            configs(&[("plain", "patched"), ("web", "three at b")]),
        ];
        let mut disks = Vec::new();
        for (uid, expected) in uids.iter().zip(&expected) {
            let mut edge = Edge::connect(&center, uid, Disk::default()).await;
            edge.until("its own", |e| e.disk.configs() == *expected)
                .await;
            let mut bodies = edge.disk.bodies.values();
            assert!(
                bodies.all(|b| b["data"].get("secret").is_none()),
                "transformed"
            );
            disks.push(edge.cut());
        }
        center
            .status_when("p1", "bp", |s| counts(s) == [6, 6, 0, 0, 0])
            .await;
        drop(client);
        center.crash().await;

        let center = Center::open(&directory).await;
        let mut edges = Vec::new();
        for (uid, disk) in uids.iter().zip(disks) {
            let mut edge = Edge::connect(&center, uid, disk).await;
            edge.quiet().await;
            assert_eq!(
                (edge.items, edge.listed),
                (0, false),
                "nothing is sent again"
            );
            edges.push(edge);
        }
        center
            .status_when("p1", "bp", |s| counts(s) == [6, 6, 0, 0, 0])
            .await;
        // A label that is read: that destination alone is sent what differs.
        center.label("two", json!({"site": "c"})).await;
        let moved = configs(&[("plain", "same"), ("web", "two at c")]);
        edges[1]
            .until("relabelled", |e| e.disk.configs() == moved)
            .await;
        edges[2].quiet().await;
        assert_eq!(edges[2].items, 0);
        // What the Customizer says now.
        let patch = json!({"spec": {"patches": [{"merge": {"data": {"value": "again"}}}]}});
        let client = center.client("p1");
        client
            .patch(&customizers(), None, "b", PatchType::Merge, patch)
            .await
            .unwrap();
        let again = configs(&[("plain", "again"), ("web", "three at b")]);
        edges[2]
            .until("customized anew", |e| e.disk.configs() == again)
            .await;
        // A property from a ConfigMap comes before the label.
        let property = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "three", "namespace": "customization-properties"}, "data": {"site": "z"}});
        center.namespace("i1", "customization-properties").await;
        center
            .client("i1")
            .create(&config_maps(), property)
            .await
            .unwrap();
        let told = configs(&[("plain", "again"), ("web", "three at z")]);
        edges[2]
            .until("told by a ConfigMap", |e| e.disk.configs() == told)
            .await;
    });
}

#[test]
fn where_a_copy_cannot_be_made_what_is_there_stays_and_the_others_go_on() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let one = center.destination("one", json!({"site": "a"})).await;
        let two = center
            .destination("two", json!({"site": "b", "rack": "7"}))
            .await;
        templated(&center, "web", "{{.site}}").await;
        center.policy("p1", "bp", everywhere()).await;
        let mut first = Edge::connect(&center, &one, Disk::default()).await;
        let mut second = Edge::connect(&center, &two, Disk::default()).await;
        first
            .until("placed", |e| e.disk.configs() == configs(&[("web", "a")]))
            .await;
        second
            .until("placed", |e| e.disk.configs() == configs(&[("web", "b")]))
            .await;
        let patch = json!({"data": {"value": "{{.site}} {{.rack}}"}});
        let client = center.client("p1");
        let at = Some("default");
        client
            .patch(&config_maps(), at, "web", PatchType::Merge, patch)
            .await
            .unwrap();
        second
            .until("changed", |e| {
                e.disk.configs() == configs(&[("web", "b 7")])
            })
            .await;
        let status = center
            .status_when("p1", "bp", |s| counts(s) == [2, 1, 0, 1, 0])
            .await;
        assert_eq!(status["problems"][0]["reason"], "RenderFailed");
        assert_eq!(status["problems"][0]["examples"], json!(["one"]));
        first.quiet().await;
        assert_eq!(
            first.disk.configs(),
            configs(&[("web", "a")]),
            "the last good one stays"
        );
        assert!(first.tombstones.is_empty());
        center.label("one", json!({"rack": "1"})).await;
        first
            .until("made", |e| e.disk.configs() == configs(&[("web", "a 1")]))
            .await;
        center
            .status_when("p1", "bp", |s| counts(s) == [2, 2, 0, 0, 0])
            .await;
    });
}

/// Two destinations with a copy each of a template, reported and away again.
async fn two_away(center: &Center) -> [(String, Disk); 2] {
    let one = center.destination("one", json!({"site": "a"})).await;
    let two = center.destination("two", json!({"site": "b"})).await;
    templated(center, "web", "{{.site}}").await;
    center.policy("p1", "bp", everywhere()).await;
    let mut disks = Vec::new();
    for (uid, site) in [(one, "a"), (two, "b")] {
        let mut edge = Edge::connect(center, &uid, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs() == configs(&[("web", site)]))
            .await;
        disks.push((uid, edge.cut()));
    }
    center
        .status_when("p1", "bp", |s| counts(s) == [2, 2, 0, 0, 0])
        .await;
    disks.try_into().unwrap()
}

#[test]
fn who_looks_different_is_outdated_until_it_looks_the_same_again() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let [(one, first), (two, disk)] = two_away(&center).await;
        center.label("two", json!({"site": "c"})).await;
        center
            .status_when("p1", "bp", |s| counts(s) == [2, 1, 1, 0, 0])
            .await;
        // Known by its row, although nobody reported.
        let mut edge = Edge::connect(&center, &two, disk.clone()).await;
        edge.until("moved", |e| e.disk.configs() == configs(&[("web", "c")]))
            .await;
        center
            .status_when("p1", "bp", |s| counts(s) == [2, 2, 0, 0, 0])
            .await;
        edge.cut();
        center.label("two", json!({"site": "b"})).await;
        center
            .status_when("p1", "bp", |s| counts(s) == [2, 1, 1, 0, 0])
            .await;
        // What another one says is written behind it.
        let mut edge = Edge::connect(&center, &one, first).await;
        let copies: Vec<_> = edge.disk.copies.keys().cloned().collect();
        edge.report(&copies).await;
        edge.until("acknowledged", |_| true).await;
        edge.cut();
        center.crash().await;
        let center = Center::open(&directory).await;
        center.label("two", json!({"site": "c"})).await;
        center
            .status_when("p1", "bp", |s| counts(s) == [2, 2, 0, 0, 0])
            .await;
    });
}

#[test]
fn who_looks_different_when_nobody_wrote_it_down_is_asked() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let [_, (two, disk)] = two_away(&center).await;
        center.label("two", json!({"site": "c"})).await;
        center.crash().await;
        let center = Center::open(&directory).await;
        center
            .status_when("p1", "bp", |s| counts(s) == [2, 1, 1, 0, 0])
            .await;
        center.label("two", json!({"site": "b"})).await;
        // Reading what is computed waits for what was written before.
        let bindings = ResourceRef::new("control.kubestellar.io", "v1alpha1", "bindings");
        let binding = center.client("p1").find(&bindings, None, "bp").await;
        assert!(binding.unwrap().is_some());
        let mut edge = Edge::connect(&center, &two, disk).await;
        edge.quiet().await;
        assert!(edge.everything, "what it has is not known any more");
        assert_eq!((edge.items, edge.listed), (0, false));
        center
            .status_when("p1", "bp", |s| counts(s) == [2, 2, 0, 0, 0])
            .await;
        let mut edge = Edge::connect(&center, &two, edge.cut()).await;
        edge.quiet().await;
        assert!(!edge.everything, "it is known again");
    });
}

#[test]
fn what_cannot_be_understood_is_refused() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let bad = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "Customizer", "metadata": {"name": "b"},
            "spec": {"targets": [{"resources": ["configmaps"]}], "patches": [{"path": "data.value", "value": "1 +"}]}});
        let client = center.client("p1");
        assert_eq!(
            client.create(&customizers(), bad).await.unwrap_err().code,
            422
        );
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "t", "namespace": "default",
            "annotations": {"control.kubestellar.io/expand-templates": "true"}}, "data": {"value": "{{.open"}});
        assert_eq!(
            client
                .create(&config_maps(), object)
                .await
                .unwrap_err()
                .code,
            422
        );
    });
}

#[test]
fn a_customizer_says_for_whom_it_acts() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for (name, site) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
            center.destination(name, json!({"site": site})).await;
        }
        center.config("p1", "web", "1").await;
        let spec = json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]});
        center.policy("p1", "bp", spec).await;
        let object = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "Customizer", "metadata": {"name": "c"}, "spec": {
            "clusterSelectors": [{"matchLabels": {"site": "a"}}], "targets": [{"resources": ["configmaps"]}], "patches": [{"merge": {"data": {"x": "y"}}}]}});
        let resource = customizers();
        center.client("p1").create(&resource, object).await.unwrap();
        let says = |o: &Value| {
            let status = &o["status"];
            status["objects"] == 1
                && status["clusters"] == 2
                && status["failing"] == 0
                && status["observedGeneration"] == 1
        };
        center.object_when("p1", &resource, None, "c", says).await;
    });
}
