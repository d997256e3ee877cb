//! Whom policies choose beyond labels: expressions, so many of them, taints.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use atoll_registry::{PatchType, ResourceRef};
use serde_json::{Value, json};
use support::{Center, counts, managed_clusters, policies};

async fn change(center: &Center, name: &str, patch: Value) {
    let client = center.client("i1");
    let clusters = managed_clusters();
    client
        .patch(&clusters, None, name, PatchType::Merge, patch)
        .await
        .unwrap();
}

#[test]
fn so_many_of_those_for_whom_an_expression_holds() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for i in 0..6 {
            let tier = if i < 4 { "gold" } else { "tin" };
            center
                .destination(&format!("d{i}"), json!({"tier": tier}))
                .await;
        }
        center.config("p1", "web", "1").await;
        let spec = json!({"clusterSelectors": [{}], "clusterExpressions": ["cluster.labels['tier'] == 'gold'"], "downsync": [{"resources": ["configmaps"]}]});
        center.policy("p1", "bp", spec).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 4).await;
        // A label that only the expression reads.
        center.label("d5", json!({"tier": "gold"})).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 5).await;
        let patch = json!({"spec": {"numberOfClusters": 3}});
        let client = center.client("p1");
        client
            .patch(&policies(), None, "bp", PatchType::Merge, patch)
            .await
            .unwrap();
        center.status_when("p1", "bp", |s| counts(s)[0] == 3).await;
        let patch = json!({"spec": {"numberOfClusters": 9}});
        client
            .patch(&policies(), None, "bp", PatchType::Merge, patch)
            .await
            .unwrap();
        let status = center.status_when("p1", "bp", |s| counts(s)[0] == 5).await;
        assert!(
            status["errors"][0]
                .as_str()
                .unwrap()
                .contains("numberOfClusters"),
            "{status:#}"
        );
    });
}

/// Where a policy is placed, by its Binding.
async fn placed(center: &Center, policy: &str) -> Vec<String> {
    let bindings = ResourceRef::new("control.kubestellar.io", "v1alpha1", "bindings");
    let client = center.client("p1");
    let binding = client.get(&bindings, None, policy).await.unwrap();
    let destinations = binding["spec"]["destinations"].as_array().unwrap();
    let names = destinations
        .iter()
        .map(|d| d["clusterId"].as_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn spread_over_a_label_and_away_from_another_policy() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for (name, region) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")] {
            center.destination(name, json!({"region": region})).await;
        }
        center.config("p1", "web", "1").await;
        let what = json!([{"resources": ["configmaps"]}]);
        let spec = json!({"clusterSelectors": [{}], "numberOfClusters": 2, "spread": [{"labelKey": "region", "minGroups": 2}], "downsync": what});
        center.policy("p1", "first", spec).await;
        center
            .status_when("p1", "first", |s| counts(s)[0] == 2)
            .await;
        let first = placed(&center, "first").await;
        assert_ne!(
            first[0][..1],
            first[1][..1],
            "one in each region: {first:?}"
        );
        let spec = json!({"clusterSelectors": [{}], "numberOfClusters": 2, "antiAffinity": [{"policy": "first"}], "downsync": what});
        center.policy("p1", "second", spec).await;
        center
            .status_when("p1", "second", |s| counts(s)[0] == 2)
            .await;
        let second = placed(&center, "second").await;
        assert!(
            second.iter().all(|d| !first.contains(d)),
            "{first:?} {second:?}"
        );
    });
}

#[test]
fn a_taint_takes_out_and_keeps_away() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for name in ["one", "two"] {
            center.destination(name, json!({"site": "a"})).await;
        }
        center.config("p1", "web", "1").await;
        let spec = json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]});
        center.policy("p1", "bp", spec).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 2).await;
        change(
            &center,
            "two",
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSelect"}]}}),
        )
        .await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 1).await;
        change(
            &center,
            "two",
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSelectIfNew"}]}}),
        )
        .await;
        change(
            &center,
            "one",
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSelectIfNew"}]}}),
        )
        .await;
        center.label("one", json!({"any": "thing"})).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 1).await;
        let tolerant = json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}});
        let client = center.client("p1");
        client
            .patch(&policies(), None, "bp", PatchType::Merge, tolerant)
            .await
            .unwrap();
        center.status_when("p1", "bp", |s| counts(s)[0] == 2).await;
    });
}

#[test]
fn what_is_not_so_says_why_and_what_to_write() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let ready = |status: &Value| {
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.into_iter().find(|c| c["type"] == "Ready");
            ready.map(|c| c["message"].as_str().unwrap_or_default().to_owned())
        };
        let says =
            |words: &'static str| move |s: &Value| ready(s).is_some_and(|m| m.contains(words));
        let what = json!([{"resources": ["configmaps"]}]);
        let spec = json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}], "downsync": what});
        center.policy("p1", "bp", spec).await;
        center
            .status_when(
                "p1",
                "bp",
                says("no object of this workspace matches spec.downsync"),
            )
            .await;
        center
            .status_when("p1", "bp", says("the inventory has no destination"))
            .await;
        center.config("p1", "web", "1").await;
        center.destination("one", json!({"site": "b"})).await;
        center
            .status_when(
                "p1",
                "bp",
                says("none of the inventory's 1 destinations matches spec.clusterSelectors"),
            )
            .await;

        // An expression that fails names itself and the remedy.
        let spec = json!({"clusterSelectors": [{}], "clusterExpressions": ["true", "cluster.labels['tier'] == 'gold'"], "downsync": what});
        center.policy("p1", "failing", spec).await;
        let remedy = |s: &Value| {
            let errors = s["errors"].to_string();
            errors.contains("spec.clusterExpressions[1]: no such key: tier")
                && errors.contains("'tier' in cluster.labels")
        };
        center.status_when("p1", "failing", remedy).await;

        // So many cannot be had: of how many, and what keeps the others away.
        change(
            &center,
            "one",
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSelect"}]}}),
        )
        .await;
        let spec = json!({"clusterSelectors": [{}], "numberOfClusters": 2, "downsync": what});
        center.policy("p1", "many", spec).await;
        let why = |s: &Value| {
            let errors = s["errors"].to_string();
            errors.contains("2 are asked for, 0 can be had")
                && errors.contains("1 of them have a taint")
        };
        center.status_when("p1", "many", why).await;
    });
}
