//! Signals: live values of an inventory that policies choose by.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use std::collections::BTreeSet;

use atoll_registry::{PatchType, ResourceRef};
use serde_json::{Value, json};
use support::{Center, Disk, Edge, counts, managed_clusters};

fn signals() -> ResourceRef {
    ResourceRef::new("edge.atoll.dev", "v1alpha1", "signals")
}

async fn carbon(center: &Center, eu: i64, us: i64) {
    let client = center.client("i1");
    let values = json!({"eu": eu, "us": us});
    let patch = json!({"spec": {"values": values}});
    let done = client
        .patch(&signals(), None, "carbon", PatchType::Merge, patch)
        .await;
    done.unwrap();
}

async fn make(center: &Center, spec: Value) {
    let object = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "Signal", "metadata": {"name": "carbon"}, "spec": spec});
    center
        .client("i1")
        .create(&signals(), object)
        .await
        .unwrap();
}

/// Where a policy is placed, by its Binding.
async fn placed(center: &Center, policy: &str) -> BTreeSet<String> {
    let bindings = ResourceRef::new("control.kubestellar.io", "v1alpha1", "bindings");
    let binding = center.client("p1").get(&bindings, None, policy).await;
    let destinations = binding.unwrap()["spec"]["destinations"].clone();
    let names = destinations.as_array().unwrap().iter();
    names
        .map(|d| d["clusterId"].as_str().unwrap().to_owned())
        .collect()
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|n| (*n).to_owned()).collect()
}

fn decisions(center: &Center) -> u64 {
    let mut text = String::new();
    center.fleet.metrics(&mut text);
    let line = text
        .lines()
        .find(|l| l.starts_with("atoll_fleet_decisions"));
    let value = line.and_then(|l| l.split(' ').nth(1));
    value.unwrap().parse::<f64>().unwrap() as u64
}

#[test]
fn scores_by_carbon_of_the_region_move_the_fewest_copies() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let mut edges = Vec::new();
        for (name, region) in [("eu1", "eu"), ("eu2", "eu"), ("us1", "us")] {
            let uid = center.destination(name, json!({"region": region})).await;
            edges.push(Edge::connect(&center, &uid, Disk::default()).await);
            // Nothing moves to where nobody is.
            let there = |o: &Value| {
                let conditions = o["status"]["conditions"].as_array();
                conditions.into_iter().flatten().any(|c| {
                    c["type"] == "ManagedClusterConditionAvailable" && c["status"] == "True"
                })
            };
            center
                .object_when("i1", &managed_clusters(), None, name, there)
                .await;
        }
        make(
            &center,
            json!({"labelKey": "region", "values": {"eu": 100, "us": 300}, "hysteresis": 20}),
        )
        .await;
        center.config("p1", "web", "1").await;
        let what = json!([{"resources": ["configmaps"]}]);
        let spec = json!({"clusterSelectors": [{}], "numberOfClusters": 2, "scores": [{"signal": "carbon", "weight": -1}], "downsync": what});
        center.policy("p1", "green", spec).await;
        let all = json!({"clusterSelectors": [{}], "downsync": what});
        center.policy("p1", "all", all).await;
        center
            .status_when("p1", "green", |s| counts(s)[0] == 2)
            .await;
        center.status_when("p1", "all", |s| counts(s)[0] == 3).await;
        assert_eq!(placed(&center, "green").await, names(&["eu1", "eu2"]));

        let before = decisions(&center);
        // Within the hysteresis: the value that counts is as it was, and nobody is asked.
        carbon(&center, 115, 300).await;
        placed(&center, "green").await;
        assert_eq!(decisions(&center), before);

        // One of two has to go, and only one; the policy that reads no signal is left alone.
        carbon(&center, 115, 20).await;
        placed(&center, "green").await;
        let after = placed(&center, "green").await;
        assert!(after.contains("us1") && after.len() == 2, "{after:?}");
        assert_eq!(decisions(&center), before + 1);
    });
}

#[test]
fn what_is_too_old_is_unknown_and_moves_nobody() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for (name, region) in [("eu1", "eu"), ("us1", "us")] {
            center.destination(name, json!({"region": region})).await;
        }
        make(
            &center,
            json!({"labelKey": "region", "values": {"eu": 1, "us": 9}, "ttlSeconds": 3600}),
        )
        .await;
        center.config("p1", "web", "1").await;
        let what = json!([{"resources": ["configmaps"]}]);
        let scored = json!({"clusterSelectors": [{}], "numberOfClusters": 1, "scores": [{"signal": "carbon", "weight": -1}], "downsync": what});
        center.policy("p1", "scored", scored).await;
        let clean = "'carbon' in signals && signals['carbon'] < 5";
        let gated =
            json!({"clusterSelectors": [{}], "clusterExpressions": [clean], "downsync": what});
        center.policy("p1", "gated", gated).await;
        center
            .status_when("p1", "scored", |s| counts(s)[0] == 1)
            .await;
        center
            .status_when("p1", "gated", |s| counts(s)[0] == 1)
            .await;
        assert_eq!(placed(&center, "gated").await, names(&["eu1"]));
        assert_eq!(placed(&center, "scored").await, names(&["eu1"]));

        // From now on it lives for a second.
        let short = json!({"spec": {"ttlSeconds": 1}});
        let client = center.client("i1");
        let done = client
            .patch(&signals(), None, "carbon", PatchType::Merge, short)
            .await;
        done.unwrap();
        let ended = |s: &Value| s["errors"].to_string().contains("was good until");
        center.status_when("p1", "scored", ended).await;
        assert_eq!(placed(&center, "scored").await, names(&["eu1"]));
        // An expression that holds nowhere any more lets go, as it says.
        center
            .status_when("p1", "gated", |s| counts(s)[0] == 0)
            .await;
    });
}

#[test]
fn only_admission_says_what_counts() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let client = center.client("i1");
        let wrong = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "Signal", "metadata": {"name": "x"}, "spec": {"labelKey": "a", "values": {"x": {}}}});
        let refused = client.create(&signals(), wrong).await.unwrap_err();
        assert_eq!(refused.code, 422, "{}", refused.message);
        make(&center, json!({"labelKey": "site", "values": {"a": "red"}})).await;
        let forged = json!({"status": {"values": {"a": "green"}}});
        let part = signals().sub("status");
        let done = client
            .patch(&part, None, "carbon", PatchType::Merge, forged)
            .await;
        done.unwrap();
        let stored = client.get(&signals(), None, "carbon").await.unwrap();
        assert_eq!(stored["status"]["values"], json!({"a": "red"}));
        assert!(stored["status"]["lastUpdated"].is_string());
    });
}
