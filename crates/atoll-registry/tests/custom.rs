//! CustomResourceDefinitions: usable at the revision they appear, gone with everything of theirs.

#![allow(clippy::unwrap_used)] // in helpers too

mod support;

use std::sync::Arc;

use atoll_registry::controller::Driver;
use atoll_registry::{
    ClusterName, ListOptions, Object, PatchType, WatchItem, WatchOptions, controllers,
};
use serde_json::{Value, json};
use support::*;

const CRDS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";

fn widget(name: &str) -> Value {
    json!({"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3, "extra": 1}})
}

fn condition(crd: &Value, ty: &str) -> String {
    let found = crd["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == ty)
        .unwrap();
    format!(
        "{} {}",
        found["status"].as_str().unwrap(),
        found["reason"].as_str().unwrap()
    )
}

#[tokio::test]
async fn a_definition_is_usable_at_its_own_revision() {
    let w = World::new().await;
    let before = w.registry.surface(&ClusterName::new("u1")).unwrap();
    let made = w
        .at("u1", CRDS)
        .create(crd("widgets", "Widget"))
        .await
        .unwrap();
    assert_eq!(w.store.head().0, version(&made), "one append");
    assert_eq!(condition(&made, "Established"), "True InitialNamesAccepted");
    assert_eq!(condition(&made, "NamesAccepted"), "True NoConflicts");
    let after = w.registry.surface(&ClusterName::new("u1")).unwrap();
    assert_ne!(before.id(), after.id());
    assert!(after.resource("example.dev", "widgets").is_some());

    let at = w.at("u1/default", "example.dev/v1/widgets");
    let one = at.create(widget("a")).await.unwrap();
    assert_eq!(
        one["spec"],
        json!({"size": 3, "color": "red"}),
        "pruned and defaulted"
    );
    assert_eq!(one["metadata"]["generation"], 1);
    let status = at
        .create(json!({"metadata": {"name": "b"}, "spec": {"size": 0}}))
        .await
        .unwrap_err();
    assert_eq!(status.code, 422);
    assert!(status.message.contains("spec.size"), "{status}");
    assert_eq!(
        w.at("u2/default", "example.dev/v1/widgets")
            .create(widget("a"))
            .await
            .unwrap_err()
            .code,
        404
    );
    let red = ListOptions {
        fields: fields("spec.color=red"),
        ..ListOptions::default()
    };
    assert_eq!(at.names(red).await.unwrap(), ["a"], "selectableFields");
    let strategic = at
        .patch("a", PatchType::Strategic, json!({}))
        .await
        .unwrap_err();
    assert_eq!(strategic.code, 415);
}

#[tokio::test]
async fn custom_objects_have_status_and_scale() {
    let w = World::new().await;
    w.at("u1", CRDS)
        .create(crd("widgets", "Widget"))
        .await
        .unwrap();
    let at = w.at("u1/default", "example.dev/v1/widgets");
    let mut sent = widget("a");
    sent["status"] = json!({"phase": "Lies"});
    let made = at.create(sent).await.unwrap();
    assert_eq!(made.get("status"), None);
    let status = w.at("u1/default", "example.dev/v1/widgets/status");
    let patched = status
        .patch(
            "a",
            PatchType::Merge,
            json!({"spec": {"size": 9}, "status": {"phase": "Up"}}),
        )
        .await
        .unwrap();
    assert_eq!(
        (&patched["spec"]["size"], &patched["status"]["phase"]),
        (&json!(3), &json!("Up"))
    );
    let scale = w.at("u1/default", "example.dev/v1/widgets/scale");
    let scaled = scale
        .patch("a", PatchType::Merge, json!({"spec": {"replicas": 4}}))
        .await
        .unwrap();
    assert_eq!(scaled["spec"]["replicas"], 4);
    assert_eq!(at.get("a").await.unwrap()["spec"]["replicas"], 4);
    assert_eq!(at.get("a").await.unwrap()["metadata"]["generation"], 2);
}

#[tokio::test]
async fn equal_definitions_are_shared_between_clusters() {
    let w = World::new().await;
    for cluster in ["u1", "u2"] {
        w.at(cluster, CRDS)
            .create(crd("widgets", "Widget"))
            .await
            .unwrap();
    }
    let surface = |name: &str| w.registry.surface(&ClusterName::new(name)).unwrap();
    assert!(Arc::ptr_eq(&surface("u1"), &surface("u2")));
}

#[tokio::test]
async fn taken_names_are_reported_and_freed_names_given() {
    let w = World::new().await;
    let at = w.at("u1", CRDS);
    at.create(crd("widgets", "Widget")).await.unwrap();
    let late = at.create(crd("gadgets", "Widget")).await.unwrap();
    assert!(
        condition(&late, "NamesAccepted").starts_with("False"),
        "{late}"
    );
    assert!(
        condition(&late, "Established").starts_with("False"),
        "{late}"
    );
    assert_eq!(
        w.at("u1/default", "example.dev/v1/gadgets")
            .names(ListOptions::default())
            .await
            .unwrap_err()
            .code,
        404
    );
    at.delete("widgets.example.dev").await.unwrap();
    settle(&w, async || {
        condition(&at.get("gadgets.example.dev").await.unwrap(), "Established").starts_with("True")
    })
    .await;
    assert_eq!(
        w.at("u1/default", "example.dev/v1/gadgets")
            .names(ListOptions::default())
            .await
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test]
async fn deleting_a_definition_empties_it_first() {
    let w = World::new().await;
    let at = w.at("u1", CRDS);
    at.create(crd("widgets", "Widget")).await.unwrap();
    let widgets = w.at("u1/default", "example.dev/v1/widgets");
    widgets.create(widget("a")).await.unwrap();
    let mut held = widget("b");
    held["metadata"]["finalizers"] = json!(["example.dev/wait"]);
    widgets.create(held).await.unwrap();
    assert!(!at.delete("widgets.example.dev").await.unwrap());
    let marked = at.get("widgets.example.dev").await.unwrap();
    assert_eq!(
        marked["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    let refused = widgets.create(widget("c")).await.unwrap_err();
    assert_eq!(refused.code, 405);
    assert!(refused.message.contains("terminating"), "{refused}");
    settle(&w, async || {
        widgets.names(ListOptions::default()).await.unwrap() == ["b"]
    })
    .await;
    widgets
        .patch(
            "b",
            PatchType::Merge,
            json!({"metadata": {"finalizers": []}}),
        )
        .await
        .unwrap();
    settle(&w, async || at.get("widgets.example.dev").await.is_err()).await;
    assert_eq!(
        widgets
            .names(ListOptions::default())
            .await
            .unwrap_err()
            .code,
        404
    );
    assert!(
        w.registry
            .surface(&ClusterName::new("u1"))
            .unwrap()
            .local()
            .is_empty()
    );
    at.create(crd("widgets", "Widget")).await.unwrap();
    assert_eq!(
        widgets.names(ListOptions::default()).await.unwrap().len(),
        0,
        "a new one starts empty"
    );
}

#[tokio::test]
async fn bad_definitions_name_the_field() {
    let w = World::new().await;
    let mut wrong_name = crd("widgets", "Widget");
    wrong_name["metadata"]["name"] = "other.example.dev".into();
    let mut no_schema = crd("widgets", "Widget");
    no_schema["spec"]["versions"][0]
        .as_object_mut()
        .unwrap()
        .remove("schema");
    let mut kcp = crd("widgets", "Widget");
    kcp["spec"]["group"] = "tenancy.kcp.io".into();
    kcp["metadata"]["name"] = "widgets.tenancy.kcp.io".into();
    for (crd, field) in [
        (wrong_name, "metadata.name"),
        (no_schema, "schema"),
        (kcp, "spec.group"),
    ] {
        let status = w.at("u1", CRDS).create(crd).await.unwrap_err();
        assert_eq!(status.code, 422, "{status}");
        assert!(status.message.contains(field), "{status}");
    }
}

#[tokio::test]
async fn definitions_made_at_once_all_count() {
    let w = Arc::new(World::new().await);
    let tasks: Vec<_> = ["Alpha", "Beta", "Gamma", "Delta"]
        .into_iter()
        .map(|kind| {
            let w = w.clone();
            tokio::spawn(async move {
                let made = w
                    .at("u1", CRDS)
                    .create(crd(&format!("{}s", kind.to_lowercase()), kind))
                    .await
                    .unwrap();
                assert_eq!(condition(&made, "Established"), "True InitialNamesAccepted");
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(
        w.registry
            .surface(&ClusterName::new("u1"))
            .unwrap()
            .local()
            .len(),
        4
    );
}

#[tokio::test]
async fn custom_objects_are_listed_and_watched_across_clusters() {
    let w = World::new().await;
    let all = w.at("*", "example.dev/v1/widgets");
    assert_eq!(
        all.names(ListOptions::default()).await.unwrap_err().code,
        404,
        "nobody has any"
    );
    for (cluster, name) in [("u1", "a"), ("u2", "b")] {
        w.at(cluster, CRDS)
            .create(crd("widgets", "Widget"))
            .await
            .unwrap();
        w.at(&format!("{cluster}/default"), "example.dev/v1/widgets")
            .create(widget(name))
            .await
            .unwrap();
    }
    let list = all.list_with(ListOptions::default()).await.unwrap();
    let shown: Vec<_> = list
        .objects
        .iter()
        .map(|o| format!("{}/{}", o.cluster(), o.name()))
        .collect();
    assert_eq!(shown, ["u1/a", "u2/b"]);
    assert_eq!(list.objects[1].value().unwrap()["kind"], "Widget");
    let mut stream = all
        .watch(atoll_registry::WatchOptions::default())
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await, "ADDED a");
    assert_eq!(next(&mut stream).await, "ADDED b");
    w.at("u1/default", "example.dev/v1/widgets")
        .delete("a")
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await, "DELETED a");
}

#[tokio::test]
async fn each_clusters_objects_are_shown_as_it_defines_them() {
    let w = World::new().await;
    let all = w.at("*", "example.dev/v1/widgets");
    for (cluster, kind) in [("u1", "Widget"), ("u2", "Gadget")] {
        w.at(cluster, CRDS)
            .create(crd("widgets", kind))
            .await
            .unwrap();
        let mut object = widget("x");
        object["kind"] = json!(kind);
        let at = w.at(&format!("{cluster}/default"), "example.dev/v1/widgets");
        at.create(object).await.unwrap();
    }
    let kinds = |objects: &[Object]| -> Vec<String> {
        let kind = |o: &Object| o.value().unwrap()["kind"].as_str().unwrap().to_owned();
        objects.iter().map(kind).collect()
    };
    let list = all.list_with(ListOptions::default()).await.unwrap();
    assert_eq!(kinds(&list.objects), ["Widget", "Gadget"]);
    let mut stream = all.watch(WatchOptions::default()).await.unwrap();
    let mut seen = Vec::new();
    for n in 0..4 {
        if n == 2 {
            for (cluster, kind) in [("u2", "Gadget"), ("u1", "Widget")] {
                let mut object = widget("y");
                object["kind"] = json!(kind);
                let at = w.at(&format!("{cluster}/default"), "example.dev/v1/widgets");
                at.create(object).await.unwrap();
            }
        }
        match stream.next().await {
            Some(WatchItem::Event { object, .. }) => seen.push(object),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds(&seen), ["Widget", "Gadget", "Gadget", "Widget"]);
}

#[tokio::test]
async fn an_open_watch_follows_its_definition_and_ends_with_it() {
    let w = World::new().await;
    let running = tokio::spawn(controllers::all(Driver::new(w.registry.clone())).run());
    let crds = w.at("u1", CRDS);
    crds.create(crd("widgets", "Widget")).await.unwrap();
    let at = w.at("u1/default", "example.dev/v1/widgets");
    at.create(widget("a")).await.unwrap();
    let mut stream = at.watch(WatchOptions::default()).await.unwrap();
    let mut quiet = w
        .at("u1/other", "example.dev/v1/widgets")
        .watch(WatchOptions::default())
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await, "ADDED a");
    let columns = json!([{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]);
    let patch = json!([{"op": "add", "path": "/spec/versions/0/additionalPrinterColumns", "value": columns}]);
    crds.patch("widgets.example.dev", PatchType::Json, patch)
        .await
        .unwrap();
    at.create(widget("b")).await.unwrap();
    match stream.next().await {
        Some(WatchItem::Event { object, .. }) => {
            let columns = &object.served.version().columns;
            assert!(columns.iter().any(|c| c.name == "Size"), "{columns:?}");
        }
        other => panic!("{other:?}"),
    }
    crds.delete("widgets.example.dev").await.unwrap();
    let mut gone = [next(&mut stream).await, next(&mut stream).await];
    gone.sort();
    assert_eq!(gone, ["DELETED a", "DELETED b"]);
    assert!(stream.next().await.is_none());
    assert!(quiet.next().await.is_none());
    stop(running).await;
}
