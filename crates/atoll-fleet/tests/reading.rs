//! Reading: explaining, listing copies, revisions, planning and applying what was planned.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use atoll_fleet::Asked;
use atoll_kube::{Status, UserInfo};
use atoll_registry::{ClusterName, PatchType};
use serde_json::{Value, json};
use support::{Center, Disk, Edge, config_maps, counts, policies};

async fn ask(
    center: &Center,
    what: &str,
    parameters: &[(&str, &str)],
    body: Option<Value>,
) -> Result<Value, Status> {
    let parameters = parameters
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let asked = Asked {
        cluster: ClusterName::new("p1"),
        user: Arc::new(UserInfo::new("ana", ["people"])),
        what: what.to_owned(),
        parameters: parameters.collect(),
        body,
    };
    center.fleet.reading().answer(asked).await
}

async fn explain(center: &Center, name: &str, destination: &str) -> Value {
    let parameters = [
        ("resource", "cm"),
        ("name", name),
        ("destination", destination),
    ];
    ask(center, "explain", &parameters, None).await.unwrap()
}

async fn plan(center: &Center, objects: Value) -> Value {
    let body = json!({"objects": objects});
    ask(center, "plan", &[], Some(body)).await.unwrap()
}

fn policy(name: &str, mut spec: Value) -> Value {
    spec["inventory"] = json!("i1");
    json!({"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy", "metadata": {"name": name}, "spec": spec})
}

fn config(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"value": value}})
}

fn clause(app: &str) -> Value {
    json!([{"resources": ["configmaps"], "objectSelectors": [{"matchLabels": {"app": app}}]}])
}

#[test]
fn why_an_object_is_or_is_not_there() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("paris", json!({"site": "paris"})).await;
        center.destination("rome", json!({"site": "rome"})).await;
        center
            .destination("oslo", json!({"site": "oslo", "cold": "yes"}))
            .await;
        center.config("p1", "web", "1").await;
        center.config("p1", "lonely", "1").await;
        let spec = json!({"clusterSelectors": [{"matchExpressions": [{"key": "site", "operator": "In", "values": ["paris", "oslo"]}]}],
            "clusterExpressions": ["!('cold' in cluster.labels)"], "downsync": clause("web")});
        center.policy("p1", "bp", spec).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 1).await;

        let there = explain(&center, "web", "paris").await;
        assert_eq!(there["copy"]["state"], "Unreported", "{there:#}");
        assert!(there["copy"]["awaited"].as_str().unwrap().contains("away"));
        assert_eq!(there["policies"][0]["object"]["clauses"], json!([0]));
        assert_eq!(there["policies"][0]["destination"]["revision"], 1);
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("it is there", |e| !e.disk.copies.is_empty())
            .await;
        edge.quiet().await;
        let there = explain(&center, "web", "paris").await;
        assert_eq!(there["copy"]["state"], "Current", "{there:#}");

        let reason = |answer: &Value| answer["policies"][0]["destination"]["reason"].clone();
        let no = explain(&center, "web", "rome").await;
        assert_eq!(reason(&no), "LabelsDoNotMatch", "{no:#}");
        let no = explain(&center, "web", "oslo").await;
        assert_eq!(reason(&no), "ExpressionIsFalse", "{no:#}");
        assert!(
            no["summary"]
                .as_str()
                .unwrap()
                .contains("clusterExpressions[0]")
        );
        let no = explain(&center, "lonely", "paris").await;
        let why = no["policies"][0]["object"]["message"].as_str().unwrap();
        assert_eq!(why, "spec.downsync[0].objectSelectors does not match");
        assert_eq!(no["copy"]["state"], "Absent");

        // So many of them: the others are told that they were not chosen.
        let patch = json!({"spec": {"clusterExpressions": null, "numberOfClusters": 1}});
        let client = center.client("p1");
        let done = client
            .patch(&policies(), None, "bp", PatchType::Merge, patch)
            .await;
        done.unwrap();
        let no = explain(&center, "web", "oslo").await;
        assert_eq!(reason(&no), "OthersChosen", "{no:#}");
        let taint = json!({"spec": {"taints": [{"key": "broken", "effect": "NoSelect"}]}});
        let inventory = center.client("i1");
        let clusters = support::managed_clusters();
        let done = inventory
            .patch(&clusters, None, "oslo", PatchType::Merge, taint)
            .await;
        done.unwrap();
        let no = explain(&center, "web", "oslo").await;
        assert_eq!(reason(&no), "Tainted", "{no:#}");

        // What is not there, or not theirs to see, is not found.
        for (name, destination) in [("web", "nowhere"), ("nothing", "paris")] {
            let parameters = [
                ("resource", "configmaps"),
                ("name", name),
                ("destination", destination),
            ];
            let refused = ask(&center, "explain", &parameters, None)
                .await
                .unwrap_err();
            assert_eq!(refused.code, 404, "{name} {destination}");
        }
    });
}

#[test]
fn copies_come_in_pages_that_miss_none() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for i in 0..7 {
            let half = if i % 2 == 0 { "even" } else { "odd" };
            center
                .destination(&format!("d{i}"), json!({"half": half}))
                .await;
        }
        for name in ["a", "b", "c"] {
            center.config("p1", name, "1").await;
        }
        let spec = json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]});
        center.policy("p1", "bp", spec).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 21).await;
        let (mut members, mut token) = (BTreeSet::new(), String::new());
        loop {
            let parameters = [
                ("policy", "bp"),
                ("limit", "3"),
                ("continue", token.as_str()),
            ];
            let page = ask(&center, "destinations", &parameters, None)
                .await
                .unwrap();
            assert_eq!(page["total"], 7);
            for item in page["items"].as_array().unwrap() {
                assert_eq!(item["revision"], 1);
                assert!(members.insert(item["name"].to_string()), "twice: {item}");
            }
            match page["continue"].as_str() {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(members.len(), 7);
        for (filter, expected) in [
            (None, 21),
            (Some(("labelSelector", "app=b")), 7),
            (Some(("destinationSelector", "half=odd")), 9),
            (Some(("state", "Unreported")), 21),
            (Some(("state", "Failed")), 0),
            (Some(("policy", "bp")), 21),
            (Some(("destination", "d3")), 3),
            (Some(("name", "c")), 7),
        ] {
            let mut seen = BTreeSet::new();
            let mut token = String::new();
            loop {
                let mut parameters = vec![("limit", "4"), ("continue", token.as_str())];
                parameters.extend(filter);
                let page = ask(&center, "copies", &parameters, None).await.unwrap();
                for item in page["items"].as_array().unwrap() {
                    let name = format!("{}@{}", item["object"]["name"], item["destination"]);
                    assert!(seen.insert(name), "twice: {item}");
                    assert_eq!(item["policies"], json!([{"policy": "bp", "revision": 1}]));
                }
                match page["continue"].as_str() {
                    Some(next) => token = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(seen.len(), expected, "{filter:?}");
        }
    });
}

#[test]
fn revisions_can_be_listed_compared_and_looked_into() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        center.destination("paris", json!({"site": "paris"})).await;
        center.config("p1", "web", "1").await;
        let spec = json!({"clusterSelectors": [{}], "downsync": clause("web")});
        center.policy("p1", "bp", spec).await;
        center.status_when("p1", "bp", |s| s["revision"] == 1).await;
        center.config("p1", "web", "2").await;
        center.status_when("p1", "bp", |s| s["revision"] == 2).await;

        let history = ask(&center, "history", &[("policy", "bp")], None)
            .await
            .unwrap();
        let revisions: Vec<(i64, i64)> = history["revisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| {
                (
                    r["revision"].as_i64().unwrap(),
                    r["destinations"].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(revisions, [(2, 1), (1, 0)]);
        let diff = ask(&center, "diff", &[("policy", "bp")], None)
            .await
            .unwrap();
        assert_eq!(
            diff["changes"][0]["classes"],
            json!([{"change": "Changed", "differences": [{"path": "data.value", "old": "1", "new": "2"}]}]),
            "{diff:#}"
        );
        let mut body = Vec::new();
        for revision in ["1", "2"] {
            let parameters = [
                ("destination", "paris"),
                ("policy", "bp"),
                ("revision", revision),
            ];
            let desired = ask(&center, "desired", &parameters, None).await.unwrap();
            body.push(desired["items"][0]["body"]["data"]["value"].clone());
        }
        assert_eq!(body, ["1", "2"]);
        let missing = ask(&center, "diff", &[("policy", "bp"), ("from", "7")], None).await;
        let missing = missing.unwrap_err();
        assert_eq!(missing.code, 404);
        assert!(
            missing.message.contains("kept are 1, 2"),
            "{}",
            missing.message
        );
    });
}

#[test]
fn a_plan_says_what_happens_and_is_applied_only_while_it_is_true() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for (name, site) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
            center.destination(name, json!({"site": site})).await;
        }
        center.config("p1", "web", "1").await;
        let spec = json!({"clusterSelectors": [{}], "downsync": clause("web")});
        center.policy("p1", "bp", spec).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 3).await;

        // A narrower selector removes, and the plan says where; a wider one is warned of.
        let narrow = policy(
            "bp",
            json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}], "downsync": clause("web")}),
        );
        let planned = plan(&center, json!([narrow])).await;
        assert_eq!(
            planned["removals"],
            json!({"copies": 1, "destinations": {"count": 1, "examples": ["b1"]}}),
            "{planned:#}"
        );
        assert_eq!(planned["classes"].as_array().unwrap().len(), 1);
        let all = policy(
            "other",
            json!({"clusterSelectors": [{}], "downsync": [{"objectSelectors": [{}]}]}),
        );
        let planned = plan(&center, json!([all])).await;
        let warnings = planned["warnings"].to_string();
        assert!(
            warnings.contains("selects all 3 destinations"),
            "{planned:#}"
        );
        assert!(
            warnings.contains("every object of the workspace"),
            "{warnings}"
        );

        // What a plan says of an object's change is what then happens, and planning changed nothing.
        let changed = json!([config("web", "2")]);
        let planned = plan(&center, changed.clone()).await;
        let class = &planned["classes"][0];
        assert_eq!(
            class["differences"],
            json!([{"path": "data.value", "old": "1", "new": "2"}]),
            "{planned:#}"
        );
        assert_eq!(class["destinations"]["count"], 3);
        assert_eq!(
            planned["summary"],
            json!({"destinations": 3, "copies": {"changed": 3}})
        );
        let stored = center
            .client("p1")
            .get(&config_maps(), Some("default"), "web")
            .await
            .unwrap();
        assert_eq!(stored["data"]["value"], "1");

        // Something relevant comes in between: a destination more.
        center.destination("b2", json!({"site": "b"})).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 4).await;
        let body = json!({"objects": changed, "token": planned["token"]});
        let refused = ask(&center, "apply", &[], Some(body)).await.unwrap_err();
        assert_eq!(refused.code, 409, "{}", refused.message);
        // What does not concern it does not matter.
        let planned = plan(&center, changed.clone()).await;
        center.config("p1", "unrelated", "1").await;
        let body = json!({"objects": changed, "token": planned["token"]});
        ask(&center, "apply", &[], Some(body.clone()))
            .await
            .unwrap();
        center.status_when("p1", "bp", |s| s["revision"] == 2).await;
        let stored = center
            .client("p1")
            .get(&config_maps(), Some("default"), "web")
            .await
            .unwrap();
        assert_eq!(stored["data"]["value"], "2");
        // The same token again is that of another state.
        assert_eq!(
            ask(&center, "apply", &[], Some(body))
                .await
                .unwrap_err()
                .code,
            409
        );
    });
}

#[test]
fn a_plan_sees_through_customizers_templates_and_new_policies() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        for (name, site) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
            center.destination(name, json!({"site": site})).await;
        }
        center.config("p1", "web", "1").await;
        let spec = json!({"clusterSelectors": [{"matchLabels": {"site": "a"}}], "downsync": clause("web")});
        center.policy("p1", "bp", spec).await;
        center.status_when("p1", "bp", |s| counts(s)[0] == 2).await;

        // Several at once: a Customizer for one edge, and a policy that adds an edge.
        let customizer = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "Customizer", "metadata": {"name": "one"}, "spec": {
            "clusterExpressions": ["cluster.name == 'a1'"], "targets": [{"resources": ["configmaps"]}], "patches": [{"merge": {"data": {"extra": "yes"}}}]}});
        let more = policy(
            "more",
            json!({"clusterSelectors": [{"matchLabels": {"site": "b"}}], "downsync": clause("web")}),
        );
        let planned = plan(&center, json!([customizer, more])).await;
        let classes = planned["classes"].as_array().unwrap();
        let of = |change: &str| {
            classes
                .iter()
                .find(|c| c["change"] == change)
                .unwrap_or_else(|| panic!("{planned:#}"))
        };
        assert_eq!(of("Changed")["destinations"]["examples"], json!(["a1"]));
        assert_eq!(
            of("Changed")["differences"],
            json!([{"path": "data.extra", "new": "yes"}])
        );
        assert_eq!(of("Added")["destinations"]["examples"], json!(["b1"]));
        assert_eq!(classes.len(), 2, "{planned:#}");

        // A template that one property makes different everywhere is one class.
        let mut templated = config("web", "{{.site}}");
        templated["metadata"]["annotations"] =
            json!({"control.kubestellar.io/expand-templates": "true"});
        let planned = plan(&center, json!([templated])).await;
        assert_eq!(
            planned["classes"][0]["differences"][0]["new"], "a",
            "{planned:#}"
        );

        // Deleting the policy removes its copies, and says so.
        let body = json!({"delete": [{"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy", "metadata": {"name": "bp"}}]});
        let planned = ask(&center, "plan", &[], Some(body)).await.unwrap();
        assert_eq!(planned["removals"]["copies"], 2, "{planned:#}");

        // What cannot be stored cannot be planned.
        let wrong = json!({"objects": [policy("bp", json!({"numberOfClusters": 0}))]});
        let refused = ask(&center, "plan", &[], Some(wrong)).await.unwrap_err();
        assert_eq!(refused.code, 422, "{}", refused.message);
    });
}
