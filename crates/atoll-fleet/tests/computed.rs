//! Bindings, WorkStatuses and the mailbox view: what an informer holds after churn equals a fresh list.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use atoll_kube::UserInfo;
use atoll_registry::{
    Call, ClusterName, Clusters, EventKind, GetOptions, ListOptions, Object, ResourceRef,
    WatchItem, WatchOptions, WatchStream,
};
use serde_json::{Value, json};
use support::{Center, Disk, Edge, config_maps};

fn call(
    center: &Center,
    cluster: &str,
    resource: ResourceRef,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Call {
    Call {
        user: Arc::new(UserInfo::new("test", ["system:masters"])),
        user_agent: "test".into(),
        clusters: Clusters::One(ClusterName::new(cluster)),
        resource,
        namespace: namespace.map(Into::into),
        name: name.map(Into::into),
        now: center.registry.now(),
    }
}

fn bindings() -> ResourceRef {
    ResourceRef::new("control.kubestellar.io", "v1alpha1", "bindings")
}

fn work_statuses() -> ResourceRef {
    ResourceRef::new("control.kubestellar.io", "v1alpha1", "workstatuses")
}

/// Without what only says how new it is.
fn plain(object: &Object) -> (String, Value) {
    let mut value = object.value().unwrap();
    value["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    (
        format!("{}/{}", object.namespace().unwrap_or(""), object.name()),
        value,
    )
}

fn apply(cache: &mut BTreeMap<String, Value>, item: WatchItem) {
    match item {
        WatchItem::Event {
            kind: EventKind::Deleted,
            object,
            ..
        } => {
            cache.remove(&plain(&object).0);
        }
        WatchItem::Event { object, .. } => {
            let (key, value) = plain(&object);
            cache.insert(key, value);
        }
        WatchItem::Bookmark { .. } => {}
        WatchItem::Error(status) => panic!("{status:?}"),
    }
}

/// Follows a watch until what it holds equals a list made now.
async fn converge<F: Future<Output = Vec<Object>>>(
    stream: &mut WatchStream,
    cache: &mut BTreeMap<String, Value>,
    list: impl Fn() -> F,
) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let fresh: BTreeMap<String, Value> = list().await.iter().map(plain).collect();
        if *cache == fresh {
            return;
        }
        match tokio::time::timeout_at(deadline, stream.next()).await {
            Ok(Some(item)) => apply(cache, item),
            other => panic!("the watch ended ({other:?}) with {cache:#?} instead of {fresh:#?}"),
        }
    }
}

#[test]
fn informers_equal_a_fresh_list_after_churn() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "1").await;
        center.policy("p1", "bp", json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}], "downsync": [{"resources": ["configmaps"]}]})).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;

        let registry = center.registry.clone();
        let list = |cluster: &'static str, resource: ResourceRef| {
            let (registry, call) = (
                registry.clone(),
                call(&center, cluster, resource, None, None),
            );
            move || {
                let (registry, call) = (registry.clone(), call.clone());
                async move {
                    registry
                        .list(&call, &ListOptions::default())
                        .await
                        .unwrap()
                        .objects
                }
            }
        };
        let mailbox = center.fleet.mailbox();
        let inventory = ClusterName::new("i1");
        let mail_call = call(&center, "i1", config_maps(), None, None);
        let mail = || async {
            mailbox
                .list(&inventory, "one", &mail_call, &ListOptions::default())
                .await
                .unwrap()
                .objects
        };

        // A list, then a watch from its revision, as every informer does.
        let mut watched = Vec::new();
        for (cluster, resource) in [("p1", bindings()), ("i1", work_statuses())] {
            let c = call(&center, cluster, resource.clone(), None, None);
            let listed = center
                .registry
                .list(&c, &ListOptions::default())
                .await
                .unwrap();
            assert_eq!(listed.objects.len(), 1);
            let options = WatchOptions {
                resource_version: Some(listed.revision.to_string()),
                ..Default::default()
            };
            let stream = center.registry.watch(&c, &options).await.unwrap();
            let cache: BTreeMap<String, Value> = listed.objects.iter().map(plain).collect();
            watched.push((cluster, resource, stream, cache));
        }
        let listed = mailbox
            .list(&inventory, "one", &mail_call, &ListOptions::default())
            .await
            .unwrap();
        let options = WatchOptions {
            resource_version: Some(listed.revision.to_string()),
            ..Default::default()
        };
        let mut mail_stream = mailbox
            .watch(&inventory, "one", &mail_call, &options)
            .await
            .unwrap();
        let mut mail_cache: BTreeMap<String, Value> = listed.objects.iter().map(plain).collect();

        let two = center.destination("two", json!({"site": "a"})).await;
        let mut other = Edge::connect(&center, &two, Disk::default()).await;
        for i in 0..12 {
            center
                .config("p1", &format!("c{}", i % 4), &i.to_string())
                .await;
            if i % 3 == 2 {
                center
                    .delete(
                        "p1",
                        &config_maps(),
                        Some("default"),
                        &format!("c{}", i % 4),
                    )
                    .await;
            }
            center
                .label("two", json!({"site": if i % 2 == 0 { "b" } else { "a" }}))
                .await;
        }
        center.config("p1", "web", "last").await;
        for edge in [&mut edge, &mut other] {
            edge.until("settled", |e| {
                e.disk.configs().get("web").map(String::as_str) == Some("last")
            })
            .await;
        }
        for (cluster, resource, stream, cache) in &mut watched {
            converge(stream, cache, list(cluster, resource.clone())).await;
            assert!(!cache.is_empty());
        }
        converge(&mut mail_stream, &mut mail_cache, mail).await;
        let fresh: BTreeMap<String, String> = mail()
            .await
            .iter()
            .map(|o| {
                (
                    o.name().to_owned(),
                    o.value().unwrap()["data"]["value"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                )
            })
            .collect();
        assert_eq!(
            fresh,
            edge.disk.configs(),
            "the mailbox is what the edge has"
        );
        let definitions = mailbox.definitions(&inventory, "one").await.unwrap();
        assert_eq!(
            definitions
                .iter()
                .map(|d| d.names.plural.as_str())
                .collect::<Vec<_>>(),
            ["configmaps"]
        );
    });
}

#[test]
fn a_revision_from_before_this_start_is_expired_and_a_missing_object_is_404() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        center
            .policy(
                "p1",
                "bp",
                json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]}),
            )
            .await;
        let get = call(&center, "p1", bindings(), None, Some("bp"));
        let binding = center
            .registry
            .get(&get, &GetOptions::default())
            .await
            .unwrap()
            .value()
            .unwrap();
        assert_eq!(binding["status"]["objects"], 0);
        let missing = call(&center, "p1", bindings(), None, Some("other"));
        assert_eq!(
            center
                .registry
                .get(&missing, &GetOptions::default())
                .await
                .unwrap_err()
                .code,
            404
        );
        let elsewhere = call(&center, "p2", bindings(), None, None);
        assert!(
            center
                .registry
                .list(&elsewhere, &ListOptions::default())
                .await
                .unwrap()
                .objects
                .is_empty()
        );
        let old = WatchOptions {
            resource_version: Some("1".into()),
            ..Default::default()
        };
        let mut stream = center
            .registry
            .watch(&call(&center, "p1", bindings(), None, None), &old)
            .await
            .unwrap();
        match stream.next().await {
            Some(WatchItem::Error(status)) => assert_eq!(status.code, 410),
            other => panic!("{other:?}"),
        }
    });
}
