//! What edges report returns into the objects of the payload workspace.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use serde_json::json;
use support::{Center, Disk, Edge, counts, deployments, policies};

#[test]
fn status_returns_and_is_never_ready_too_early() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let (one, two) = (
            center.destination("one", json!({"site": "a"})).await,
            center.destination("two", json!({"site": "a"})).await,
        );
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        center
            .client("p1")
            .create(&deployments(), deployment)
            .await
            .unwrap();
        center
        .policy("p1", "bp", json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}],
            "downsync": [{"resources": ["deployments"], "wantSingletonReportedState": true, "wantMultiWECReportedState": true}]}))
        .await;
        let running = |n: i64| {
            move |_: &atoll_wire::Item| {
                (
                    atoll_wire::ErrorKind::None,
                    json!({"replicas": n, "readyReplicas": n, "updatedReplicas": n, "availableReplicas": n}),
                )
            }
        };
        let mut first = Edge::connect(&center, &one, Disk::default())
            .await
            .behaving(running(2));
        first.until("placed", |e| e.disk.copies.len() == 1).await;
        let early = center
            .object_when("p1", &deployments(), Some("default"), "web", |o| {
                o.pointer("/status/replicas").is_some()
            })
            .await;
        assert_eq!(
            early["status"]["readyReplicas"].as_i64().unwrap_or(0),
            0,
            "one of two has reported"
        );
        let generation = early["metadata"]["generation"].clone();
        let mut second = Edge::connect(&center, &two, Disk::default())
            .await
            .behaving(running(2));
        second.until("placed", |e| e.disk.copies.len() == 1).await;
        let both = center
            .object_when("p1", &deployments(), Some("default"), "web", |o| {
                o.pointer("/status/readyReplicas") == Some(&json!(2))
            })
            .await;
        assert_eq!(both["metadata"]["generation"], generation);
        first.quiet().await;
        assert_eq!(first.items, 1, "writing status makes no revision");
        // Now there is one: its own status.
        center.label("two", json!({"site": "z"})).await;
        second.until("removed", |e| e.disk.copies.is_empty()).await;
        center
            .object_when("p1", &deployments(), Some("default"), "web", |o| {
                o.pointer("/status/availableReplicas") == Some(&json!(2))
            })
            .await;
    });
}

/// A Deployment of two replicas, and a policy that wants its only copy's status back.
async fn one_deployment(center: &Center) -> String {
    let uid = center.destination("one", json!({"site": "a"})).await;
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let client = center.client("p1");
    client.create(&deployments(), deployment).await.unwrap();
    let spec = json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}], "downsync": [{"resources": ["deployments"], "wantSingletonReportedState": true}]});
    center.policy("p1", "bp", spec).await;
    uid
}

/// The edge connected again, when something that came behind whatever the start has written is there and reported.
async fn witnessed(center: &Center, uid: &str, disk: Disk) -> Edge {
    let mut edge = Edge::connect(center, uid, disk).await.behaving(rolled_out);
    edge.quiet().await;
    center.config("p1", "witness", "1").await;
    let spec = json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}], "downsync": [{"resources": ["configmaps"]}]});
    center.policy("p1", "witness", spec).await;
    edge.until("the witness", |e| e.disk.configs().len() == 1)
        .await;
    center
        .status_when("p1", "witness", |s| counts(s) == [1, 1, 0, 0, 0])
        .await;
    edge
}

/// As an edge would say it: in its own generations, at its own time.
fn rolled_out(item: &atoll_wire::Item) -> (atoll_wire::ErrorKind, serde_json::Value) {
    let _ = item;
    (
        atoll_wire::ErrorKind::None,
        json!({"observedGeneration": 71, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
            "conditions": [{"type": "Available", "status": "True", "reason": "R", "message": "on this edge", "lastTransitionTime": "2026-11-21T04:00:00Z"}]}),
    )
}

#[test]
fn a_returned_status_counts_in_the_centers_generations() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = one_deployment(&center).await;
        let shown = |pointer: &'static str, expected: serde_json::Value| {
            let center = &center;
            async move {
                let ready = |o: &serde_json::Value| o.pointer(pointer) == Some(&expected);
                center
                    .object_when("p1", &deployments(), Some("default"), "web", ready)
                    .await
            }
        };
        let mut edge = Edge::connect(&center, &uid, Disk::default())
            .await
            .behaving(rolled_out);
        edge.until("placed", |e| e.disk.copies.len() == 1).await;
        shown("/status/observedGeneration", json!(1)).await;
        // A new content that the edge's controller has not seen yet.
        edge.observed = false;
        let patch = json!({"spec": {"replicas": 3}});
        let merge = atoll_registry::PatchType::Merge;
        let client = center.client("p1");
        client
            .patch(&deployments(), Some("default"), "web", merge, patch)
            .await
            .unwrap();
        edge.until("changed", |e| e.items == 2).await;
        // What is shown is made anew now, with something else in it.
        edge = edge.behaving(|_| {
            let status = json!({"observedGeneration": 72, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2});
            (atoll_wire::ErrorKind::None, status)
        });
        let copies: Vec<_> = edge.disk.copies.keys().cloned().collect();
        edge.report(&copies).await;
        edge.until("acknowledged", |_| true).await;
        let object = shown("/status/updatedReplicas", json!(1)).await;
        assert_eq!(object["metadata"]["generation"], 2);
        assert_eq!(object["status"]["observedGeneration"], 1);
        edge.observed = true;
        edge.report(&copies).await;
        edge.until("acknowledged", |_| true).await;
        shown("/status/observedGeneration", json!(2)).await;
    });
}

#[test]
fn a_returned_status_is_the_same_after_a_restart_and_goes_when_nobody_wants_it() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = one_deployment(&center).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default())
            .await
            .behaving(rolled_out);
        edge.until("placed", |e| e.disk.copies.len() == 1).await;
        let returned = |o: &serde_json::Value| o.pointer("/status/availableReplicas").is_some();
        let web = Some("default");
        let before = center
            .object_when("p1", &deployments(), web, "web", returned)
            .await;
        assert_eq!(
            before.pointer("/status/conditions/0/message"),
            Some(&json!("on this edge")),
            "as the edge said it"
        );
        let disk = edge.cut();
        center.crash().await;

        let center = Center::open(&directory).await;
        let edge = witnessed(&center, &uid, disk).await;
        let after = center
            .object_when("p1", &deployments(), web, "web", |_| true)
            .await;
        assert_eq!(after["status"], before["status"]);
        // Nobody wants it any more, and the center dies before it could do anything about that.
        let disk = edge.cut();
        center.delete("p1", &policies(), None, "bp").await;
        center.crash().await;
        let center = Center::open(&directory).await;
        let _edge = Edge::connect(&center, &uid, disk).await;
        center
            .object_when("p1", &deployments(), web, "web", |o| !returned(o))
            .await;
    });
}

#[test]
fn what_is_shown_of_a_status_is_durable() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = one_deployment(&center).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("placed", |e| e.disk.copies.len() == 1).await;
        let copies: Vec<_> = edge.disk.copies.keys().cloned().collect();
        let replicas = |n: i64| {
            move |_: &atoll_wire::Item| {
                let status = json!({"replicas": n, "conditions": [{"type": "A", "message": "only as it came"}]});
                (atoll_wire::ErrorKind::None, status)
            }
        };
        // The second is appended some time after the first: reports are paced.
        for n in [1, 2] {
            edge = edge.behaving(replicas(n));
            edge.report(&copies).await;
        }
        let web = Some("default");
        let before = center
            .object_when("p1", &deployments(), web, "web", |o| {
                o.pointer("/status/replicas") == Some(&json!(2))
            })
            .await;
        let disk = edge.cut();
        center.crash().await;
        let center = Center::open(&directory).await;
        let _edge = witnessed(&center, &uid, disk).await;
        let after = center
            .object_when("p1", &deployments(), web, "web", |_| true)
            .await;
        assert_eq!(after["status"], before["status"]);
    });
}

#[test]
fn a_wish_taken_back_clears_the_status() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = one_deployment(&center).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default())
            .await
            .behaving(rolled_out);
        edge.until("placed", |e| e.disk.copies.len() == 1).await;
        let returned = |o: &serde_json::Value| o.pointer("/status/availableReplicas").is_some();
        let web = Some("default");
        center
            .object_when("p1", &deployments(), web, "web", returned)
            .await;
        let patch = json!({"spec": {"downsync": [{"resources": ["deployments"]}]}});
        let merge = atoll_registry::PatchType::Merge;
        let client = center.client("p1");
        client
            .patch(&policies(), None, "bp", merge, patch)
            .await
            .unwrap();
        center
            .object_when("p1", &deployments(), web, "web", |o| !returned(o))
            .await;
        assert!(edge.tombstones.is_empty());
    });
}
