//! ResourceQuotas: counts are exact, also while many write at once, and nothing is ever exceeded.

#![allow(clippy::unwrap_used)]

mod support;

use atoll_registry::ListOptions;
use futures::future::join_all;
use serde_json::{Value, json};
use support::*;

fn quota(name: &str, hard: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"hard": hard}})
}

/// What a quota's status shows once it has been quiet.
async fn used(w: &World, name: &str, expected: Value) {
    let at = w.at("u1/default", "v1/resourcequotas");
    settle(w, async || {
        at.get(name).await.unwrap()["status"]["used"] == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_never_exceeded_by_many_at_once() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    at.create(config_map("before")).await.unwrap();
    let hard = json!({"count/configmaps": "10", "secrets": "2", "cpu": "1"});
    w.at("u1/default", "v1/resourcequotas")
        .create(quota("q", hard))
        .await
        .unwrap();
    let made = join_all((0..64).map(|i| at.create(config_map(&format!("c{i}"))))).await;
    let (done, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 9, "one was there before");
    let status = refused[0].as_ref().unwrap_err();
    assert_eq!(status.code, 403);
    assert!(
        status.message.ends_with("exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=10, limited: count/configmaps=10"),
        "{status}"
    );
    used(&w, "q", json!({"count/configmaps": "10", "secrets": "0"})).await;
    let names = at.names(ListOptions::default()).await.unwrap();
    join_all(names[..5].iter().map(|name| at.delete(name))).await;
    used(&w, "q", json!({"count/configmaps": "5", "secrets": "0"})).await;
    let made = join_all((0..20).map(|i| at.create(config_map(&format!("d{i}"))))).await;
    assert_eq!(made.iter().filter(|r| r.is_ok()).count(), 5);
    assert!(
        w.at("u2/default", "v1/configmaps")
            .create(config_map("a"))
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_comes_among_writers_counts_every_object_once() {
    for _ in 0..8 {
        let w = World::new().await;
        let at = w.at("u1/default", "v1/configmaps");
        join_all((0..20).map(|i| at.create(config_map(&format!("old{i}"))))).await;
        let quotas = w.at("u1/default", "v1/resourcequotas");
        let comes = quotas.create(quota("q", json!({"configmaps": "1000"})));
        let creates = join_all((0..40).map(|i| at.create(config_map(&format!("new{i}")))));
        let old: Vec<String> = (0..20).map(|i| format!("old{i}")).collect();
        let deletes = join_all(old.iter().map(|name| at.delete(name)));
        let (comes, creates, deletes) = tokio::join!(comes, creates, deletes);
        comes.unwrap();
        assert!(creates.iter().all(Result::is_ok) && deletes.iter().all(Result::is_ok));
        used(&w, "q", json!({"configmaps": "40"})).await;
    }
}

#[tokio::test]
async fn quotas_limit_custom_kinds_and_themselves_and_let_go() {
    let w = World::new().await;
    w.at("u1", "apiextensions.k8s.io/v1/customresourcedefinitions")
        .create(crd("widgets", "Widget"))
        .await
        .unwrap();
    let quotas = w.at("u1/default", "v1/resourcequotas");
    let hard = json!({"count/widgets.example.dev": 1, "resourcequotas": 2});
    quotas.create(quota("a", hard)).await.unwrap();
    quotas
        .create(quota("b", json!({"count/widgets.example.dev": 5})))
        .await
        .unwrap();
    assert_eq!(
        quotas.create(quota("c", json!({}))).await.unwrap_err().code,
        403
    );
    let at = w.at("u1/default", "example.dev/v1/widgets");
    let widget = |name: &str| json!({"metadata": {"name": name}, "spec": {"size": 3}});
    at.create(widget("one")).await.unwrap();
    let status = at.create(widget("two")).await.unwrap_err();
    assert!(status.message.contains("exceeded quota: a,"), "{status}");
    quotas.delete("a").await.unwrap();
    for name in ["two", "three", "four", "five"] {
        at.create(widget(name)).await.unwrap();
    }
    assert_eq!(at.create(widget("six")).await.unwrap_err().code, 403);
    quotas.delete("b").await.unwrap();
    at.create(widget("six")).await.unwrap();
    let row = w.store.snapshot(atoll_store::At::Latest).unwrap();
    let key = atoll_registry::admission_key(&atoll_registry::ClusterName::new("u1"));
    assert!(row.get(&key).unwrap().is_none(), "nothing is left of it");
}

#[tokio::test]
async fn quotas_in_payload_and_with_scopes_limit_nothing() {
    let w = World::new().await;
    for cluster in ["p1", "u1"] {
        let mut quota = quota("q", json!({"configmaps": 0}));
        if cluster == "u1" {
            quota["spec"]["scopes"] = json!(["BestEffort"]);
        }
        w.at(&format!("{cluster}/default"), "v1/resourcequotas")
            .create(quota)
            .await
            .unwrap();
        w.at(&format!("{cluster}/default"), "v1/configmaps")
            .create(config_map("a"))
            .await
            .unwrap();
    }
}
