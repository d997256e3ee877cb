//! Policies, objects and labels decide who has what.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use atoll_registry::ResourceRef;
use serde_json::json;
use support::{Center, Disk, Edge, config_maps, configs, counts, everything_labelled, policies};

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
