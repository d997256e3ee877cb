//! Patches: each type says what should differ, and is made anew from what is there.

#![allow(clippy::unwrap_used)] // in helpers too

mod support;

use atoll_registry::{PatchType, WriteOptions};
use serde_json::json;
use support::*;

#[tokio::test]
async fn every_patch_type_changes_what_it_says() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    at.create(config_map("a")).await.unwrap();
    let rows = [
        (PatchType::Merge, json!({"data": {"m": "1"}}), "m"),
        (
            PatchType::Json,
            json!([{"op": "add", "path": "/data/j", "value": "1"}]),
            "j",
        ),
        (PatchType::Strategic, json!({"data": {"s": "1"}}), "s"),
        (
            PatchType::Apply,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"p": "1"}}),
            "p",
        ),
    ];
    for (kind, patch, key) in rows {
        let patched = at.patch("a", kind, patch).await.unwrap();
        assert_eq!(patched["data"][key], "1", "{kind:?}");
        assert_eq!(patched["data"]["k"], "v", "{kind:?}");
    }
    assert_eq!(
        at.patch("b", PatchType::Merge, json!({}))
            .await
            .unwrap_err()
            .code,
        404
    );
    let status = at
        .patch(
            "a",
            PatchType::Merge,
            json!({"metadata": {"resourceVersion": "1"}}),
        )
        .await
        .unwrap_err();
    assert_eq!(status.code, 409);
    let status = at
        .patch("a", PatchType::Merge, json!({"metadata": {"name": "b"}}))
        .await
        .unwrap_err();
    assert_eq!(status.code, 400);
}

/// As a genuine Kubernetes 1.36 does it.
#[tokio::test]
async fn apply_with_a_version_nothing_has_only_creates() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let call = at.call(Some("a"));
    let apply = |version: &str| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": version}, "data": {"k": "v"}});
        let forced = WriteOptions {
            force: true,
            ..options()
        };
        let body = atoll_registry::Body::Value(config);
        let (registry, call) = (&w.registry, &call);
        async move { registry.patch(call, PatchType::Apply, body, &forced).await }
    };
    let made = apply("1").await.unwrap();
    assert!(made.created);
    let version = made.value().unwrap()["metadata"]["resourceVersion"].clone();
    assert_ne!(version, "1");
    assert_eq!(apply("1").await.unwrap_err().code, 409);
    assert!(!apply("0").await.unwrap().created);
    assert!(!apply(version.as_str().unwrap()).await.unwrap().created);
}

#[tokio::test]
async fn apply_creates_what_is_missing_and_keeps_the_record() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let call = at.call(Some("a"));
    let body = || atoll_registry::Body::Value(config.clone());
    let made = w
        .registry
        .patch(&call, PatchType::Apply, body(), &options())
        .await
        .unwrap();
    assert!(made.created);
    let made = made.value().unwrap();
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Apply");
    assert!(!made["metadata"]["uid"].as_str().unwrap().is_empty());
    w.advance(60);
    let again = w
        .registry
        .patch(&call, PatchType::Apply, body(), &options())
        .await
        .unwrap();
    assert_eq!(
        again.value().unwrap(),
        made,
        "applied twice is applied once"
    );
    let other = WriteOptions {
        field_manager: Some("other".into()),
        ..options()
    };
    let clash = atoll_registry::Body::Value(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "w"}}),
    );
    let status = w
        .registry
        .patch(&call, PatchType::Apply, clash.clone(), &other)
        .await
        .unwrap_err();
    assert_eq!(status.code, 409);
    let forced = WriteOptions {
        force: true,
        ..other
    };
    let forced = w
        .registry
        .patch(&call, PatchType::Apply, clash, &forced)
        .await
        .unwrap()
        .value()
        .unwrap();
    assert_eq!(forced["data"]["k"], "w");
    let nameless = WriteOptions::default();
    assert_eq!(
        w.registry
            .patch(&call, PatchType::Apply, body(), &nameless)
            .await
            .unwrap_err()
            .code,
        422
    );
}

#[tokio::test]
async fn concurrent_unconditional_patches_all_count() {
    let w = std::sync::Arc::new(World::new().await);
    w.at("u1/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|i| {
            let w = w.clone();
            tokio::spawn(async move {
                let patch = json!({"data": {format!("k{i}"): "1"}});
                w.at("u1/default", "v1/configmaps")
                    .patch("a", PatchType::Merge, patch)
                    .await
                    .unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let found = w.at("u1/default", "v1/configmaps").get("a").await.unwrap();
    assert_eq!(found["data"].as_object().unwrap().len(), 17);
}
