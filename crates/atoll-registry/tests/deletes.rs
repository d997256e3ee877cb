//! Delete: preconditions, finalizers, namespaces, dependents.

#![allow(clippy::unwrap_used)] // in helpers too

mod support;

use std::sync::Arc;

use atoll_kube::{GroupResource, Status};
use atoll_registry::{
    Body, DeleteOptions, Hook, ListOptions, Operation, PatchType, Propagation, Registry, Review,
    WriteOptions,
};
use serde_json::{Value, json};
use support::*;

#[tokio::test]
async fn a_delete_answers_success_with_what_was_deleted() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let made = at.create(config_map("a")).await.unwrap();
    let answer = w
        .registry
        .delete(&at.call(Some("a")), &DeleteOptions::default())
        .await
        .unwrap()
        .value()
        .unwrap();
    assert_eq!(answer["status"], "Success");
    assert_eq!(answer["details"]["kind"], "configmaps");
    assert_eq!(answer["details"]["uid"], made["metadata"]["uid"]);
    assert_eq!(at.delete("a").await.unwrap_err().code, 404);
}

#[tokio::test]
async fn preconditions_hold_or_conflict() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let made = at.create(config_map("a")).await.unwrap();
    let wrong_uid = DeleteOptions {
        uid: Some("x".into()),
        ..DeleteOptions::default()
    };
    let status = at.delete_with("a", wrong_uid).await.unwrap_err();
    assert_eq!(status.code, 409);
    assert!(
        status.message.contains("UID in precondition: x"),
        "{status}"
    );
    let wrong_version = DeleteOptions {
        resource_version: Some("1".into()),
        ..DeleteOptions::default()
    };
    assert_eq!(
        at.delete_with("a", wrong_version).await.unwrap_err().code,
        409
    );
    let dry = DeleteOptions {
        dry_run: true,
        ..DeleteOptions::default()
    };
    assert!(at.delete_with("a", dry).await.unwrap());
    let right = DeleteOptions {
        uid: made["metadata"]["uid"].as_str().map(Into::into),
        resource_version: Some(version(&made).to_string()),
        ..DeleteOptions::default()
    };
    assert!(at.delete_with("a", right).await.unwrap());
}

#[tokio::test]
async fn finalizers_hold_until_the_last_is_taken() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let mut sent = config_map("a");
    sent["metadata"]["finalizers"] = json!(["example.dev/one", "example.dev/two"]);
    at.create(sent).await.unwrap();
    assert!(!at.delete("a").await.unwrap());
    let marked = at.get("a").await.unwrap();
    assert_eq!(
        marked["metadata"]["deletionTimestamp"],
        "2027-01-15T08:00:00Z"
    );
    let head = w.store.head();
    w.advance(10);
    assert!(!at.delete("a").await.unwrap());
    assert_eq!(w.store.head(), head, "asking twice changes nothing");
    let more = json!({"metadata": {"finalizers": ["example.dev/one", "example.dev/new"]}});
    let status = at.patch("a", PatchType::Merge, more).await.unwrap_err();
    assert_eq!(status.code, 422);
    at.patch(
        "a",
        PatchType::Merge,
        json!({"metadata": {"finalizers": ["example.dev/two"]}}),
    )
    .await
    .unwrap();
    let start = w.store.head();
    at.patch(
        "a",
        PatchType::Merge,
        json!({"metadata": {"finalizers": null}}),
    )
    .await
    .unwrap();
    assert_eq!(at.get("a").await.unwrap_err().code, 404);
    let options = atoll_registry::WatchOptions {
        resource_version: Some(start.to_string()),
        ..Default::default()
    };
    assert_eq!(
        next(&mut at.watch(options).await.unwrap()).await,
        "DELETED a"
    );
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"l": label});
        at.create(object).await.unwrap();
    }
    let selection = ListOptions {
        labels: labels("l=x"),
        ..ListOptions::default()
    };
    let answer = w
        .registry
        .delete_collection(&at.call(None), &selection, &DeleteOptions::default())
        .await
        .unwrap();
    // What went is told, as the list of before.
    let gone = answer.value().unwrap();
    assert_eq!(gone["kind"], "ConfigMapList");
    assert!(gone["metadata"]["resourceVersion"].is_string(), "{gone}");
    let names: Vec<_> = gone["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["metadata"]["name"])
        .collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(at.names(ListOptions::default()).await.unwrap(), ["b"]);
}

#[tokio::test]
async fn a_namespace_goes_after_its_content() {
    let w = World::new().await;
    let namespaces = w.at("u1", "v1/namespaces");
    let made = namespaces
        .create(json!({"metadata": {"name": "n"}}))
        .await
        .unwrap();
    assert_eq!(made["status"]["phase"], "Active");
    let at = w.at("u1/n", "v1/configmaps");
    at.create(config_map("a")).await.unwrap();
    let mut held = config_map("b");
    held["metadata"]["finalizers"] = json!(["example.dev/wait"]);
    at.create(held).await.unwrap();
    w.at("u1/n", "v1/secrets")
        .create(json!({"metadata": {"name": "s"}}))
        .await
        .unwrap();
    w.at("u1/default", "v1/configmaps")
        .create(config_map("stays"))
        .await
        .unwrap();
    assert!(!namespaces.delete("n").await.unwrap());
    assert_eq!(
        namespaces.get("n").await.unwrap()["status"]["phase"],
        "Terminating"
    );
    let status = at.create(config_map("c")).await.unwrap_err();
    assert_eq!(status.code, 403);
    assert!(
        status.message.contains("because it is being terminated"),
        "{status}"
    );
    settle(&w, async || {
        namespaces.get("n").await.unwrap()["status"]
            .to_string()
            .contains("example.dev/wait in 1 resource instances")
    })
    .await;
    assert_eq!(at.names(ListOptions::default()).await.unwrap(), ["b"]);
    at.patch(
        "b",
        PatchType::Merge,
        json!({"metadata": {"finalizers": null}}),
    )
    .await
    .unwrap();
    settle(&w, async || namespaces.get("n").await.is_err()).await;
    assert_eq!(
        w.at("u1", "v1/configmaps")
            .names(ListOptions::default())
            .await
            .unwrap(),
        ["stays"]
    );
}

#[tokio::test]
async fn a_namespace_keeps_its_finalizer_whatever_is_written() {
    let w = World::new().await;
    let at = w.at("u1", "v1/namespaces");
    at.create(json!({"metadata": {"name": "n", "labels": {"a": "b"}}}))
        .await
        .unwrap();
    at.update(json!({"metadata": {"name": "n", "labels": {"a": "b"}}}))
        .await
        .unwrap();
    at.patch("n", PatchType::Merge, json!({"spec": null}))
        .await
        .unwrap();
    let config = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    at.patch("n", PatchType::Apply, config).await.unwrap();
    let kept = at.get("n").await.unwrap();
    assert_eq!(kept["spec"]["finalizers"], json!(["kubernetes"]));
    assert!(
        !kept["metadata"]["managedFields"]
            .to_string()
            .contains("f:finalizers"),
        "nobody owns what the system adds"
    );
    assert!(!at.delete("n").await.unwrap());
}

#[tokio::test]
async fn the_default_namespace_stays() {
    let w = World::new().await;
    let status = w
        .at("u1", "v1/namespaces")
        .delete("default")
        .await
        .unwrap_err();
    assert_eq!(status.code, 403);
    assert!(
        status.message.contains("this namespace may not be deleted"),
        "{status}"
    );
}

fn owned(name: &str, owners: &[&Value], blocking: bool) -> Value {
    let mut object = config_map(name);
    object["metadata"]["ownerReferences"] = owners
        .iter()
        .map(|o| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": o["metadata"]["name"],
                "uid": o["metadata"]["uid"], "blockOwnerDeletion": blocking})
        })
        .collect();
    object
}

fn how(propagation: Propagation) -> DeleteOptions {
    DeleteOptions {
        propagation: Some(propagation),
        ..DeleteOptions::default()
    }
}

#[tokio::test]
async fn background_takes_dependents_whose_last_owner_is_gone() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let a = at.create(config_map("a")).await.unwrap();
    let b = at.create(config_map("b")).await.unwrap();
    let child = at.create(owned("child", &[&a], false)).await.unwrap();
    at.create(owned("grandchild", &[&child], false))
        .await
        .unwrap();
    at.create(owned("shared", &[&a, &b], false)).await.unwrap();
    assert!(
        at.delete_with("a", how(Propagation::Background))
            .await
            .unwrap()
    );
    settle(&w, async || {
        at.names(ListOptions::default()).await.unwrap() == ["b", "shared"]
    })
    .await;
    settle(&w, async || {
        let shared = at.get("shared").await.unwrap();
        shared["metadata"]["ownerReferences"]
            .as_array()
            .is_some_and(|o| o.len() == 1 && o[0]["name"] == "b")
    })
    .await;
}

#[tokio::test]
async fn foreground_waits_for_blocking_dependents() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let a = at.create(config_map("a")).await.unwrap();
    let mut child = owned("child", &[&a], true);
    child["metadata"]["finalizers"] = json!(["example.dev/wait"]);
    at.create(child).await.unwrap();
    assert!(
        !at.delete_with("a", how(Propagation::Foreground))
            .await
            .unwrap()
    );
    assert_eq!(
        at.get("a").await.unwrap()["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    settle(&w, async || {
        at.get("child").await.unwrap()["metadata"]
            .get("deletionTimestamp")
            .is_some()
    })
    .await;
    assert!(at.get("a").await.is_ok(), "the owner waits");
    at.patch(
        "child",
        PatchType::Merge,
        json!({"metadata": {"finalizers": null}}),
    )
    .await
    .unwrap();
    settle(&w, async || {
        at.names(ListOptions::default()).await.unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn orphans_stay_without_the_reference() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let a = at.create(config_map("a")).await.unwrap();
    at.create(owned("child", &[&a], true)).await.unwrap();
    assert!(!at.delete_with("a", how(Propagation::Orphan)).await.unwrap());
    settle(&w, async || {
        at.names(ListOptions::default()).await.unwrap() == ["child"]
    })
    .await;
    assert_eq!(
        at.get("child").await.unwrap()["metadata"]
            .get("ownerReferences")
            .unwrap_or(&json!([])),
        &json!([])
    );
}

#[tokio::test]
async fn an_owner_that_never_was_takes_its_dependent_along() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let ghost =
        json!({"metadata": {"name": "ghost", "uid": "00000000-aaaa-4000-8000-000000000000"}});
    at.create(owned("child", &[&ghost], false)).await.unwrap();
    settle(&w, async || {
        at.names(ListOptions::default()).await.unwrap().is_empty()
    })
    .await;
}

/// Makes a dependent of an object while that object is being removed: after its removal was decided, before it is done.
struct InTheLastMoment;

#[async_trait::async_trait]
impl Hook for InTheLastMoment {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new("", "configmaps")]
    }

    async fn admit(&self, registry: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        if review.operation == Operation::Remove && review.name() == "owner" {
            let mut call = review.call.clone();
            call.name = None;
            let late = owned("late", &[&*review.object], false);
            let options = WriteOptions::default();
            registry.create(&call, Body::Value(late), &options).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_dependent_made_while_its_owner_goes_goes_too() {
    let w = World::with(|builder| builder.hook(Arc::new(InTheLastMoment)), |_| ()).await;
    let at = w.at("u1/default", "v1/configmaps");
    at.create(config_map("owner")).await.unwrap();
    at.delete("owner").await.unwrap();
    assert!(at.get("late").await.is_ok());
    settle(&w, async || at.get("late").await.is_err()).await;
}

#[tokio::test]
async fn nothing_is_collected_in_a_payload_workspace() {
    let w = World::new().await;
    let (payload, acting) = (
        w.at("p1/default", "v1/configmaps"),
        w.at("u1/default", "v1/configmaps"),
    );
    for at in [&payload, &acting] {
        let a = at.create(config_map("a")).await.unwrap();
        at.create(owned("child", &[&a], true)).await.unwrap();
        at.delete_with("a", how(Propagation::Background))
            .await
            .unwrap();
    }
    settle(&w, async || {
        acting
            .names(ListOptions::default())
            .await
            .unwrap()
            .is_empty()
    })
    .await;
    assert_eq!(
        payload.names(ListOptions::default()).await.unwrap(),
        ["child"]
    );
}

#[tokio::test]
async fn pods_end_gracefully_at_an_edge_and_at_once_elsewhere() {
    let w = World::new().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let edge = w.at("k1/default", "v1/pods");
    edge.create(pod.clone()).await.unwrap();
    assert!(!edge.delete("p").await.unwrap());
    let ending = edge.get("p").await.unwrap();
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(
        ending["metadata"]["deletionTimestamp"],
        "2027-01-15T08:00:30Z"
    );
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    assert!(edge.delete_with("p", now).await.unwrap());
    let payload = w.at("p1/default", "v1/pods");
    payload.create(pod).await.unwrap();
    assert!(payload.delete("p").await.unwrap());
}
