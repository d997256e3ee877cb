//! StatusCollectors: what CombinedStatus objects show through reports, labels, objects and policies that change, edges that go, and restarts.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use atoll_registry::{ListOptions, PatchType, ResourceRef};
use atoll_wire::{CopyId, ErrorKind};
use serde_json::{Value, json};
use support::{Center, Disk, Edge, deployments};

fn collectors() -> ResourceRef {
    ResourceRef::new("control.kubestellar.io", "v1alpha1", "statuscollectors")
}

fn combined() -> ResourceRef {
    ResourceRef::new("control.kubestellar.io", "v1alpha1", "combinedstatuses")
}

async fn collector(center: &Center, name: &str, spec: Value) {
    let object = json!({"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "StatusCollector", "metadata": {"name": name}, "spec": spec});
    let client = center.client("p1");
    client.create(&collectors(), object).await.unwrap();
}

/// By region, how many edges and how many replicas are ready; and who is not as ready as it should be.
async fn set_up(center: &Center) -> Vec<String> {
    let mut uids = Vec::new();
    for (name, region) in [("one", "eu"), ("two", "eu"), ("three", "us")] {
        uids.push(center.destination(name, json!({"region": region})).await);
    }
    let regions = json!({"limit": 10, "groupBy": [{"name": "region", "def": "inventory.labels['region']"}],
        "combinedFields": [{"name": "edges", "type": "COUNT"}, {"name": "ready", "type": "SUM", "subject": "returned.status.readyReplicas"}]});
    collector(center, "regions", regions).await;
    let short = json!({"limit": 10, "filter": "obj.spec.replicas != returned.status.readyReplicas",
        "select": [{"name": "edge", "def": "inventory.name"}]});
    collector(center, "short", short).await;
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    center
        .client("p1")
        .create(&deployments(), web)
        .await
        .unwrap();
    center
        .policy("p1", "bp", json!({"clusterSelectors": [{}], "downsync": [{"resources": ["deployments"], "statusCollectors": ["regions", "short", "absent"]}]}))
        .await;
    uids
}

/// An edge whose Deployments have so many ready replicas, and that has reported them.
async fn edge(center: &Center, uid: &str, disk: Disk, ready: u32) -> Edge {
    let edge = Edge::connect(center, uid, disk).await;
    let mut edge = edge.behaving(move |_| {
        let status = json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": ready, "updatedReplicas": 2, "availableReplicas": ready});
        (ErrorKind::None, status)
    });
    edge.until("placed", |e| !e.disk.copies.is_empty()).await;
    edge
}

/// Cells of one result's rows, as text.
fn rows(status: &Value, name: &str) -> Vec<Vec<String>> {
    let results = status["results"].as_array().unwrap();
    let Some(result) = results.iter().find(|r| r["name"] == name) else {
        return vec![vec!["no such result".into()]];
    };
    let rows = result["rows"].as_array().unwrap();
    let cell = |cell: &Value| {
        let text = cell["string"].as_str().or(cell["float"].as_str());
        text.map_or_else(|| cell.to_string(), str::to_owned)
    };
    rows.iter()
        .map(|row| {
            row["columns"]
                .as_array()
                .unwrap()
                .iter()
                .map(cell)
                .collect()
        })
        .collect()
}

fn table(rows: &[&[&str]]) -> Vec<Vec<String>> {
    let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
    rows.iter().map(row).collect()
}

/// All CombinedStatus objects.
async fn list(center: &Center) -> Vec<Value> {
    let client = center.client("p1");
    let options = ListOptions::default();
    let list = client.list(&combined(), Some("default"), &options).await;
    let objects = list.unwrap().objects;
    objects.iter().map(|o| o.value().unwrap()).collect()
}

/// The one CombinedStatus, once it is as waited for.
async fn shows(center: &Center, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let list = list(center).await;
        if let [one] = list.as_slice()
            && ready(one)
        {
            return one.clone();
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "never: {what}; {list:?}"
        );
        tokio::task::yield_now().await;
    }
}

fn coverage(status: &Value) -> [i64; 3] {
    ["expected", "reported", "stale"].map(|field| status[field].as_i64().unwrap())
}

#[test]
fn combined_statuses_follow_what_copies_report_also_over_a_restart() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uids = set_up(&center).await;
        let first = shows(&center, "nobody has reported", |s| coverage(s) == [3, 0, 3]).await;
        assert_eq!(rows(&first, "regions"), table(&[]));
        let status = center
            .status_when("p1", "bp", |s| {
                s.to_string().contains("StatusCollectorMissing")
            })
            .await;
        assert!(status.to_string().contains("absent"), "{status}");
        let mut edges = Vec::new();
        for (uid, ready) in uids.iter().zip([2, 1, 2]) {
            edges.push(edge(&center, uid, Disk::default(), ready).await);
        }
        let expected = |s: &Value| {
            rows(s, "regions") == table(&[&["eu", "2", "3"], &["us", "1", "2"]])
                && rows(s, "short") == table(&[&["two"]])
        };
        let shown = shows(&center, "all have reported", |s| {
            expected(s) && coverage(s) == [3, 3, 0]
        })
        .await;
        let labels = &shown["metadata"]["labels"];
        assert_eq!(labels["status.kubestellar.io/binding-policy"], "bp");
        assert_eq!(labels["status.kubestellar.io/name"], "web");
        // One reports something else.
        let disk = edges.remove(1).cut();
        let mut again = edge(&center, &uids[1], disk, 2).await;
        let copies: Vec<CopyId> = again.disk.copies.keys().cloned().collect();
        again.report(&copies).await;
        again.until("acknowledged", |_| true).await;
        edges.push(again);
        shows(&center, "another value", |s| {
            rows(s, "regions") == table(&[&["eu", "2", "4"], &["us", "1", "2"]])
                && rows(s, "short") == table(&[])
        })
        .await;
        // A label that is read.
        center.label("two", json!({"region": "us"})).await;
        let moved =
            |s: &Value| rows(s, "regions") == table(&[&["eu", "1", "2"], &["us", "2", "4"]]);
        shows(&center, "a label", moved).await;
        for edge in edges {
            edge.cut();
        }
        let before = shows(&center, "all are away", |s| {
            moved(s) && coverage(s) == [3, 3, 3]
        })
        .await;
        center.crash().await;

        let center = Center::open(&directory).await;
        // The very first answer is right.
        let [after] = list(&center).await.try_into().unwrap();
        let plain = |mut s: Value| {
            s["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("resourceVersion");
            s
        };
        assert_eq!(plain(after), plain(before));
        // The object is edited: expressions see it as it is.
        let client = center.client("p1");
        let patch = json!({"spec": {"replicas": 3}});
        client
            .patch(
                &deployments(),
                Some("default"),
                "web",
                PatchType::Merge,
                patch,
            )
            .await
            .unwrap();
        shows(&center, "another object", |s| {
            rows(s, "short") == table(&[&["one"], &["three"], &["two"]])
        })
        .await;
        // A collector is edited, another one comes, one goes.
        let patch = json!({"spec": {"filter": "inventory.name == 'one'"}});
        client
            .patch(&collectors(), None, "short", PatchType::Merge, patch)
            .await
            .unwrap();
        let all = json!({"limit": 5, "combinedFields": [{"name": "n", "type": "COUNT"}]});
        collector(&center, "absent", all).await;
        center.delete("p1", &collectors(), None, "regions").await;
        shows(&center, "other collectors", |s| {
            rows(s, "short") == table(&[&["one"]])
                && rows(s, "absent") == table(&[&["3"]])
                && rows(s, "regions") == table(&[&["no such result"]])
        })
        .await;
        // A destination goes, and then the policy.
        center
            .delete("i1", &support::managed_clusters(), None, "three")
            .await;
        shows(&center, "a destination is gone", |s| {
            rows(s, "absent") == table(&[&["2"]]) && coverage(s) == [2, 2, 2]
        })
        .await;
        center.delete("p1", &support::policies(), None, "bp").await;
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while !list(&center).await.is_empty() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "it goes with its policy"
            );
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn errors_of_a_few_copies_are_counted_with_examples() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uids = set_up(&center).await;
        let average = json!({"limit": 5, "combinedFields": [{"name": "mean", "type": "AVG", "subject": "returned.status.ratio"}]});
        collector(&center, "absent", average).await;
        let mut edges = Vec::new();
        for (uid, status) in uids.iter().zip([
            json!({"ratio": 4}),
            json!({"ratio": "2"}),
            json!({"other": 1}),
        ]) {
            let edge = Edge::connect(&center, uid, Disk::default()).await;
            let mut edge = edge.behaving(move |_| (ErrorKind::None, status.clone()));
            edge.until("placed", |e| !e.disk.copies.is_empty()).await;
            edges.push(edge);
        }
        let shown = shows(&center, "an average of two, and an error", |s| {
            s.to_string().contains("problems") && rows(s, "absent") == table(&[&["2"]])
        })
        .await;
        let results = shown["results"].as_array().unwrap();
        let result = results.iter().find(|r| r["name"] == "absent").unwrap();
        assert_eq!(result["problems"][0]["count"], 1, "{result}");
        assert_eq!(result["problems"][0]["examples"], json!(["three"]));
        assert_eq!(result["aggregationErrors"][0]["columnName"], "mean");
    });
}
