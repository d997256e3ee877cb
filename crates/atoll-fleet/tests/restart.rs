//! What a restart, a restored center and an edge that was away change: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use serde_json::json;
use support::{Center, Disk, Edge, configs, counts, everything_labelled, policies};

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
