//! From policies to edges: what moves, what stays, what is held, and what survives a crash.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use atoll_registry::ResourceRef;
use serde_json::json;
use support::{Center, Disk, Edge, config_maps, configs, counts, deployments, policies};

fn everything_labelled(app: &str, site: &str) -> serde_json::Value {
    json!({"clusterSelectors": [{"matchLabels": {"site": site}}], "downsync": [{"objectSelectors": [{"matchLabels": {"app": app}}]}]})
}

#[test]
fn an_object_travels_changes_and_goes() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("first", |e| e.disk.configs() == configs(&[("web", "1")]))
            .await;
        let status = center
            .status_when("p1", "bp", |s| counts(s) == [1, 1, 0, 0, 0])
            .await;
        assert_eq!(
            status["conditions"]
                .as_array()
                .unwrap()
                .iter()
                .find(|c| c["type"] == "Ready")
                .unwrap()["status"],
            "True"
        );
        center.config("p1", "web", "2").await;
        edge.until("second", |e| e.disk.configs() == configs(&[("web", "2")]))
            .await;
        center
            .delete("p1", &config_maps(), Some("default"), "web")
            .await;
        edge.until("gone", |e| {
            e.disk.copies.is_empty() && e.tombstones.len() == 1
        })
        .await;
        center
            .status_when("p1", "bp", |s| counts(s) == [0, 0, 0, 0, 0])
            .await;
    });
}

#[test]
fn a_label_change_moves_the_placement() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let (a, b) = (
            center.destination("a", json!({"site": "a"})).await,
            center.destination("b", json!({"site": "b"})).await,
        );
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        let (mut edge_a, mut edge_b) = (
            Edge::connect(&center, &a, Disk::default()).await,
            Edge::connect(&center, &b, Disk::default()).await,
        );
        edge_a
            .until("placed", |e| e.disk.configs().len() == 1)
            .await;
        edge_b.quiet().await;
        assert!(edge_b.disk.copies.is_empty());
        center.label("b", json!({"site": "a"})).await;
        edge_b
            .until("placed", |e| e.disk.configs().len() == 1)
            .await;
        center.label("a", json!({"site": "z"})).await;
        edge_a.until("removed", |e| e.disk.copies.is_empty()).await;
        assert_eq!(edge_a.tombstones.len(), 1);
    });
}

#[test]
fn overlapping_policies_are_additive() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "first", everything_labelled("web", "a"))
            .await;
        center.policy("p1", "second", json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"], "objectNames": ["web"]}]})).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;
        center.delete("p1", &policies(), None, "first").await;
        // Another change comes behind the deletion: when it is there, the deletion has been decided.
        center.config("p1", "web", "2").await;
        edge.until("updated", |e| e.disk.configs() == configs(&[("web", "2")]))
            .await;
        assert!(edge.tombstones.is_empty());
        center.delete("p1", &policies(), None, "second").await;
        edge.until("removed", |e| e.disk.copies.is_empty()).await;
    });
}

#[test]
fn a_big_removal_is_held_until_confirmed() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let mut uids = Vec::new();
        for i in 0..12 {
            uids.push(
                center
                    .destination(&format!("d{i}"), json!({"site": "a"}))
                    .await,
            );
        }
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        let mut edge = Edge::connect(&center, &uids[0], Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 12).await;
        let patch = json!({"spec": {"clusterSelectors": [{"matchLabels": {"site": "mistyped"}}]}});
        center
            .client("p1")
            .patch(
                &policies(),
                None,
                "bp",
                atoll_registry::PatchType::Merge,
                patch,
            )
            .await
            .unwrap();
        let status = center
            .status_when("p1", "bp", |s| s.get("removalHeld").is_some())
            .await;
        assert_eq!(
            (counts(&status)[0], &status["removalHeld"]["count"]),
            (12, &json!(12))
        );
        edge.quiet().await;
        assert!(edge.tombstones.is_empty());
        let confirm = json!({"spec": {"confirmRemoval": status["removalHeld"]["token"]}});
        center
            .client("p1")
            .patch(
                &policies(),
                None,
                "bp",
                atoll_registry::PatchType::Merge,
                confirm,
            )
            .await
            .unwrap();
        edge.until("removed", |e| e.disk.copies.is_empty()).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 0).await;
    });
}

#[test]
fn a_restart_sends_nothing_again_and_counts_read_as_before() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let (one, two) = (
            center.destination("one", json!({"site": "a"})).await,
            center.destination("two", json!({"site": "a"})).await,
        );
        let away = center.destination("away", json!({"site": "a"})).await;
        for name in ["web", "db"] {
            center.config("p1", name, "1").await;
        }
        center.policy("p1", "bp", json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}], "downsync": [{"resources": ["configmaps"]}]})).await;
        let mut edge = Edge::connect(&center, &one, Disk::default()).await;
        let mut failing = Edge::connect(&center, &two, Disk::default())
            .await
            .behaving(|_| (atoll_wire::ErrorKind::Forbidden, serde_json::Value::Null));
        edge.until("placed", |e| e.disk.configs().len() == 2).await;
        failing
            .until("placed", |e| e.disk.configs().len() == 2)
            .await;
        let before = center
            .status_when("p1", "bp", |s| counts(s) == [6, 2, 0, 2, 2])
            .await;
        assert_eq!(before["problems"][0]["reason"], "Forbidden");
        assert_eq!(before["problems"][0]["examples"], json!(["two"]));
        let (disk, _) = (edge.cut(), failing.cut());
        center.crash().await;

        let center = Center::open(&directory).await;
        let after = center.status_when("p1", "bp", |s| counts(s)[0] == 6).await;
        assert_eq!(counts(&after), counts(&before));
        assert_eq!(after["problems"], before["problems"]);
        let mut edge = Edge::connect(&center, &one, disk).await;
        edge.quiet().await;
        assert_eq!(
            (edge.items, edge.bodies, edge.listed),
            (0, 0, false),
            "nothing is sent to an edge that is current"
        );
        // An edge that was away all the time gets everything, and a change reaches both.
        let mut late = Edge::connect(&center, &away, Disk::default()).await;
        late.until("caught up", |e| e.disk.configs().len() == 2)
            .await;
        center.config("p1", "web", "2").await;
        edge.until("changed", |e| {
            e.disk.configs() == configs(&[("db", "1"), ("web", "2")])
        })
        .await;
        assert_eq!(edge.items, 1);
    });
}

#[test]
fn removals_wait_for_an_edge_that_is_away_also_over_a_restart() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;
        let disk = edge.cut();
        center.delete("p1", &policies(), None, "bp").await;
        center.crash().await;
        let center = Center::open(&directory).await;
        let mut edge = Edge::connect(&center, &uid, disk).await;
        edge.until("removed", |e| e.disk.copies.is_empty()).await;
        assert_eq!(edge.tombstones.len(), 1);
    });
}

#[test]
fn a_restored_center_deletes_and_downgrades_nothing_until_a_person_resumes() {
    support::run(|directory| async move {
        let center = Center::open(&directory.join("now")).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "1").await;
        center.policy("p1", "bp", json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}], "downsync": [{"resources": ["configmaps"]}]})).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;
        copy(&center, &directory).await;
        // After the copy: a change, a new object.
        center.config("p1", "web", "2").await;
        center.config("p1", "later", "1").await;
        edge.until("newer", |e| {
            e.disk.configs() == configs(&[("later", "1"), ("web", "2")])
        })
        .await;
        let disk = edge.cut();
        center.crash().await;

        let center = Center::open(&directory.join("then")).await;
        // Written to beyond what was lost.
        for i in 0..60 {
            center.config("p1", "other", &i.to_string()).await;
        }
        let mut edge = Edge::connect(&center, &uid, disk).await;
        edge.until("new objects", |e| e.disk.configs().contains_key("other"))
            .await;
        edge.quiet().await;
        assert_eq!(edge.resumption, Some(atoll_wire::Resumption::Held));
        assert!(edge.tombstones.is_empty());
        let held = edge.disk.configs();
        assert_eq!(
            (held["web"].as_str(), held["later"].as_str()),
            ("2", "1"),
            "nothing is deleted or downgraded"
        );
        // Still held after another reconnect.
        let disk = edge.cut();
        let mut edge = Edge::connect(&center, &uid, disk).await;
        edge.quiet().await;
        assert_eq!(edge.resumption, Some(atoll_wire::Resumption::Held));
        let managed = center
            .object_when("i1", &support::managed_clusters(), None, "one", |o| {
                o["status"]["conditions"].as_array().is_some_and(|l| {
                    l.iter()
                        .any(|c| c["type"] == "edge.atoll.dev/Held" && c["status"] == "True")
                })
            })
            .await;
        let message = managed["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["type"] == "edge.atoll.dev/Held")
            .unwrap()["message"]
            .clone();
        let token = message
            .as_str()
            .unwrap()
            .rsplit_once('=')
            .unwrap()
            .1
            .trim_end_matches(')')
            .to_owned();
        let patch = json!({"metadata": {"annotations": {"edge.atoll.dev/resume": token}}});
        center
            .client("i1")
            .patch(
                &support::managed_clusters(),
                None,
                "one",
                atoll_registry::PatchType::Merge,
                patch,
            )
            .await
            .unwrap();
        edge.until("resumed", |e| {
            e.disk.configs().get("web").map(String::as_str) == Some("1")
        })
        .await;
        assert!(
            edge.tombstones
                .iter()
                .all(|t| t.mode == atoll_wire::RemovalMode::Orphan as i32),
            "unknown copies are let go, not removed"
        );
    });
}

async fn copy(center: &Center, directory: &std::path::Path) {
    center.store.barrier().await;
    support::copy_directory(&directory.join("now"), &directory.join("then"));
}

#[test]
fn a_suspended_policy_serves_what_it_had_also_after_a_restart() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 1).await;
        let suspend = |on: bool| {
            let client = center.client("p1");
            async move {
                let patch = json!({"spec": {"suspend": on}});
                let merge = atoll_registry::PatchType::Merge;
                client
                    .patch(&policies(), None, "bp", merge, patch)
                    .await
                    .unwrap();
            }
        };
        suspend(true).await;
        center.config("p1", "web", "2").await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("the older one", |e| {
            e.disk.configs() == configs(&[("web", "1")])
        })
        .await;
        drop(edge);
        center.crash().await;

        let center = Center::open(&directory).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("the older one", |e| {
            e.disk.configs() == configs(&[("web", "1")])
        })
        .await;
        let patch = json!({"spec": {"suspend": false}});
        let merge = atoll_registry::PatchType::Merge;
        center
            .client("p1")
            .patch(&policies(), None, "bp", merge, patch)
            .await
            .unwrap();
        edge.until("the present one", |e| {
            e.disk.configs() == configs(&[("web", "2")])
        })
        .await;
    });
}

#[test]
fn an_event_about_one_destination_is_decided_for_one() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for i in 0..30 {
            let name = format!("d{i}");
            center.destination(&name, json!({"site": "a"})).await;
        }
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 30).await;
        let looked_at = || {
            let mut text = String::new();
            center.fleet.metrics(&mut text);
            let line = text
                .lines()
                .find(|l| l.starts_with("atoll_fleet_destinations_decided_total "));
            line.unwrap()
                .rsplit(' ')
                .next()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        let before = looked_at();
        center.label("d7", json!({"site": "z"})).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 29).await;
        center.label("d7", json!({"site": "a"})).await;
        center.label("d8", json!({"unread": "by-anybody"})).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 30).await;
        assert_eq!(looked_at() - before, 2);
    });
}

#[test]
fn what_no_revision_names_is_not_kept() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "0").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        for i in 0..15 {
            let value = i.to_string();
            center.config("p1", "web", &value).await;
            edge.until("each", |e| e.disk.configs() == configs(&[("web", &value)]))
                .await;
        }
        let rows = |family: &str| {
            let prefix = atoll_store::Prefix::new([atoll_registry::INTERNAL_GROUP, family]);
            let snapshot = center.store.snapshot(atoll_store::At::Latest).unwrap();
            snapshot.range(&prefix, None).count()
        };
        // What is not needed goes right behind the decision; ask for the decision, then for a change behind it.
        center.status_when("p1", "bp", |s| counts(s)[1] == 1).await;
        assert_eq!(rows("revisions"), 10);
        assert!(rows("bodies") <= 11, "{}", rows("bodies"));
        center.delete("p1", &policies(), None, "bp").await;
        edge.until("removed", |e| e.disk.copies.is_empty()).await;
        drop(edge);
        let store = center.store.clone();
        drop(store);
        center.crash().await;
        let center = Center::open(&directory).await;
        let rows = |family: &str| {
            let prefix = atoll_store::Prefix::new([atoll_registry::INTERNAL_GROUP, family]);
            let snapshot = center.store.snapshot(atoll_store::At::Latest).unwrap();
            snapshot.range(&prefix, None).count()
        };
        for family in ["revisions", "bodies", "placements", "assignments"] {
            assert_eq!(rows(family), 0, "{family}");
        }
    });
}

#[test]
fn consent_withdrawn_stops_new_placements_and_removes_nothing() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let one = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "1").await;
        let user = std::sync::Arc::new(atoll_kube::UserInfo::new("alice", ["people"]));
        let alice = atoll_registry::client::Client::new(
            center.registry.clone(),
            user,
            atoll_registry::Clusters::One(atoll_registry::ClusterName::new("p1")),
        );
        let mut spec = everything_labelled("web", "a");
        spec["inventory"] = json!("i1");
        let policy = |name: &str| json!({"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy", "metadata": {"name": name}, "spec": spec});
        alice.create(&policies(), policy("bp")).await.unwrap();
        let mut edge = Edge::connect(&center, &one, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;
        center
            .consent
            .withdrawn
            .store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(
            alice
                .create(&policies(), policy("other"))
                .await
                .unwrap_err()
                .code,
            403
        );
        center.destination("two", json!({"site": "a"})).await;
        let status = center
            .status_when("p1", "bp", |s| s.get("errors").is_some())
            .await;
        assert_eq!(counts(&status)[0], 1);
        edge.quiet().await;
        assert!(edge.tombstones.is_empty());
    });
}

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

#[test]
fn an_edge_gets_and_reports_only_what_is_its_own() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let (one, two) = (
            center.destination("one", json!({"site": "a"})).await,
            center.destination("two", json!({"site": "b"})).await,
        );
        center.config("p1", "web", "secret").await;
        center.config("p1", "open", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        center
            .policy("p1", "other", everything_labelled("open", "b"))
            .await;
        let mut edge = Edge::connect(&center, &one, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;
        let mut spy = Edge::connect(&center, &two, Disk::default()).await;
        spy.until("placed", |e| e.disk.configs().len() == 1).await;
        // It knows everything about the other's copy but the content.
        let stolen = edge.disk.copies.values().next().unwrap().clone();
        let (copy, hash) = (stolen.copy.clone().unwrap(), stolen.body_hash.clone());
        let (bodies, own) = (spy.bodies, spy.disk.copies.values().next().unwrap().clone());
        let hashes = vec![hash.clone(), own.body_hash.clone()];
        spy.say(atoll_wire::Need { hashes }).await;
        spy.until("an answer", |e| !e.denied.is_empty()).await;
        assert_eq!(spy.denied, [hash.to_vec()]);
        assert_eq!(spy.bodies, bodies + 1, "its own is given again");
        assert!(!spy.disk.bodies.contains_key(hash.as_ref()));

        // What it says of the other's copy is not taken in: neither an error, nor that it is gone.
        let before = center
            .status_when("p1", "bp", |s| counts(s) == [1, 1, 0, 0, 0])
            .await;
        spy.disk.copies.insert(copy.clone(), stolen);
        spy = spy.behaving(|_| (atoll_wire::ErrorKind::Forbidden, json!({"a": "lie"})));
        spy.report(&[own.copy.unwrap(), copy.clone()]).await;
        let done = atoll_wire::TombstoneDone {
            copy: Some(copy),
            outcome: atoll_wire::TombstoneOutcome::Removed as i32,
            ..Default::default()
        };
        spy.say(done).await;
        spy.quiet().await;
        spy.until("acknowledged", |_| true).await;
        // Its own error is shown; by then the lie would be, too.
        center
            .status_when("p1", "other", |s| counts(s) == [1, 0, 0, 1, 0])
            .await;
        let after = center.status_when("p1", "bp", |_| true).await;
        assert_eq!(after, before);
        center.config("p1", "web", "2").await;
        edge.until("changed", |e| e.disk.configs() == configs(&[("web", "2")]))
            .await;
        assert!(edge.tombstones.is_empty());
    });
}

#[test]
fn foreign_and_recreated_identities_are_refused() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({})).await;
        let mut nobody = Edge::connect(&center, "no-such-uid", Disk::default()).await;
        nobody.until("refused", |e| e.refused.is_some()).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.quiet().await;
        center
            .delete("i1", &support::managed_clusters(), None, "one")
            .await;
        edge.until("refused", |e| e.refused.is_some()).await;
        let again = center.destination("one", json!({})).await;
        assert_ne!(uid, again);
        let mut old = Edge::connect(&center, &uid, Disk::default()).await;
        old.until("refused", |e| e.refused.is_some()).await;
        assert_eq!(
            old.refused.unwrap().reason,
            atoll_wire::RefusedReason::Unknown as i32
        );
    });
}

#[test]
fn an_edge_is_emptied_on_request_and_says_when_it_is() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;
        let patch = json!({"metadata": {"annotations": {"edge.atoll.dev/purge": "true"}}});
        center
            .client("i1")
            .patch(
                &support::managed_clusters(),
                None,
                "one",
                atoll_registry::PatchType::Merge,
                patch,
            )
            .await
            .unwrap();
        edge.until("emptied", |e| e.disk.copies.is_empty()).await;
        center
            .object_when("i1", &support::managed_clusters(), None, "one", |o| {
                o["status"]["conditions"].as_array().is_some_and(|l| {
                    l.iter()
                        .any(|c| c["type"] == "edge.atoll.dev/Purged" && c["status"] == "True")
                })
            })
            .await;
    });
}

#[test]
fn a_workspace_with_copies_is_deleted_only_when_it_is_said_what_becomes_of_them() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        let logical = ResourceRef::new("core.kcp.io", "v1alpha1", "logicalclusters");
        let object = json!({"apiVersion": "core.kcp.io/v1alpha1", "kind": "LogicalCluster", "metadata": {"name": "cluster"}, "spec": {}});
        center.client("p1").create(&logical, object).await.unwrap();
        center.config("p1", "web", "1").await;
        center
            .policy("p1", "bp", everything_labelled("web", "a"))
            .await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("placed", |e| e.disk.configs().len() == 1).await;
        let delete = || async {
            let options = atoll_registry::DeleteOptions::default();
            center
                .client("p1")
                .delete(&logical, None, "cluster", &options)
                .await
        };
        assert_eq!(delete().await.unwrap_err().code, 403);
        let patch =
            json!({"metadata": {"annotations": {"edge.atoll.dev/deletion-policy": "Orphan"}}});
        center
            .client("p1")
            .patch(
                &logical,
                None,
                "cluster",
                atoll_registry::PatchType::Merge,
                patch,
            )
            .await
            .unwrap();
        delete().await.unwrap();
        // Its content goes one by one, as the workspace's deletion does it.
        center
            .delete("p1", &config_maps(), Some("default"), "web")
            .await;
        edge.until("let go", |e| !e.tombstones.is_empty()).await;
        assert!(
            edge.tombstones
                .iter()
                .all(|t| t.mode == atoll_wire::RemovalMode::Orphan as i32)
        );
    });
}

#[test]
fn who_missed_the_last_change_is_sent_just_that_and_need_not_list() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("e1", json!({"site": "a"})).await;
        for (name, value) in [("a", "1"), ("b", "1"), ("c", "1")] {
            center.config("p1", name, value).await;
        }
        let spec = json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]});
        center.policy("p1", "bp", spec).await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        let first = configs(&[("a", "1"), ("b", "1"), ("c", "1")]);
        edge.until("placed", |e| e.disk.configs() == first).await;
        let disk = edge.cut();
        // One changes and one goes while the edge is away, and the center is killed.
        center.config("p1", "b", "2").await;
        let changed = |s: &serde_json::Value| s["revision"] == 2;
        center.status_when("p1", "bp", changed).await;
        center.crash().await;
        let center = Center::open(&directory).await;
        let mut edge = Edge::connect(&center, &uid, disk.clone()).await;
        let second = configs(&[("a", "1"), ("b", "2"), ("c", "1")]);
        edge.until("the change", |e| e.disk.configs() == second)
            .await;
        assert_eq!((edge.items, edge.listed), (1, false));
        edge.cut();
        center
            .delete("p1", &support::config_maps(), Some("default"), "c")
            .await;
        let changed = |s: &serde_json::Value| s["revision"] == 3;
        center.status_when("p1", "bp", changed).await;
        // Two changes behind, and a copy that is to be removed.
        let mut edge = Edge::connect(&center, &uid, disk).await;
        let third = configs(&[("a", "1"), ("b", "2")]);
        edge.until("both changes", |e| e.disk.configs() == third)
            .await;
        assert_eq!(
            (edge.items, edge.listed, edge.tombstones.len()),
            (1, false, 1)
        );
    });
}
