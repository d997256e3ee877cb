//! Watches over HTTP: frames, forms, many at once, and how they end.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests

mod common;

use std::time::Duration;

use common::{ANN, Center, Client, single, start};
use http::Method;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps";

async fn shop() -> (Center, Client) {
    let center = start(single()).await;
    let ann = center.client(ANN).await;
    let got = ann
        .post(
            "/api/v1/namespaces",
            &json!({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"shop"}}),
        )
        .await;
    assert_eq!(got.status.as_u16(), 201, "{}", got.text());
    (center, ann)
}

async fn create(ann: &Client, name: &str, labels: Value) -> Value {
    let body =
        json!({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":name,"labels":labels}});
    let got = ann.post(CONFIG_MAPS, &body).await;
    assert_eq!(got.status.as_u16(), 201, "{}", got.text());
    got.json()
}

async fn label(ann: &Client, name: &str, value: &str) {
    let patch = format!("{{\"metadata\":{{\"labels\":{{\"x\":{value:?}}}}}}}");
    let headers = [("content-type", "application/merge-patch+json")];
    let got = ann
        .send(
            Method::PATCH,
            &format!("{CONFIG_MAPS}/{name}"),
            &headers,
            patch,
        )
        .await;
    assert_eq!(got.status.as_u16(), 200, "{}", got.text());
}

fn told(frame: Option<Value>) -> (String, String) {
    let frame = frame.expect("a frame");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&frame["type"]),
        text(&frame["object"]["metadata"]["name"]),
    )
}

fn told_is(frame: Option<Value>, kind: &str, name: &str) {
    assert_eq!(told(frame), (kind.to_owned(), name.to_owned()));
}

#[tokio::test]
async fn a_watch_tells_what_its_selector_sees() {
    let (_center, ann) = shop().await;
    create(&ann, "old", json!({"x":"1"})).await;
    let mut all = ann.watch(&format!("{CONFIG_MAPS}?watch=1"), &[]).await;
    let mut some = ann
        .watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=x%3D1"), &[])
        .await;
    told_is(all.next().await, "ADDED", "old");
    told_is(some.next().await, "ADDED", "old");
    create(&ann, "new", json!({"x":"2"})).await;
    told_is(all.next().await, "ADDED", "new");
    label(&ann, "new", "1").await;
    told_is(all.next().await, "MODIFIED", "new");
    told_is(some.next().await, "ADDED", "new");
    label(&ann, "old", "2").await;
    told_is(all.next().await, "MODIFIED", "old");
    told_is(some.next().await, "DELETED", "old");
    ann.send(Method::DELETE, &format!("{CONFIG_MAPS}/new"), &[], "")
        .await;
    told_is(all.next().await, "DELETED", "new");
    told_is(some.next().await, "DELETED", "new");
}

#[tokio::test]
async fn a_watch_resumes_and_speaks_tables_and_metadata() {
    let (_center, ann) = shop().await;
    let from = create(&ann, "a", json!({})).await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    create(&ann, "b", json!({})).await;
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}");
    told_is(ann.watch(&path, &[]).await.next().await, "ADDED", "b");
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let frame = ann.watch(&path, &table).await.next().await.unwrap();
    assert_eq!(
        (
            &frame["object"]["kind"],
            &frame["object"]["rows"][0]["cells"][0]
        ),
        (&json!("Table"), &json!("b"))
    );
    let partial = [(
        "accept",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    )];
    let frame = ann.watch(&path, &partial).await.next().await.unwrap();
    assert_eq!(frame["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let (_center, ann) = shop().await;
    create(&ann, "a", json!({})).await;
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watch = ann.watch(&path, &[]).await;
    told_is(watch.next().await, "ADDED", "a");
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
}

#[tokio::test]
async fn a_watch_ends_by_its_time_and_with_the_server() {
    let (mut center, ann) = shop().await;
    let mut short = ann
        .watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1"), &[])
        .await;
    assert!(
        tokio::time::timeout(Duration::from_secs(20), short.next())
            .await
            .unwrap()
            .is_none()
    );
    let mut long = ann.watch(&format!("{CONFIG_MAPS}?watch=1"), &[]).await;
    let server = center.server.take().unwrap();
    tokio::time::timeout(Duration::from_secs(9), server.stop())
        .await
        .expect("stops within its grace");
    assert!(long.next().await.is_none());
}

#[tokio::test]
async fn an_event_reaches_its_watcher_among_a_thousand() {
    let (_center, ann) = shop().await;
    let mut watches = Vec::new();
    for n in 0..1000 {
        let path = format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dc{n}");
        watches.push(ann.watch(&path, &[]).await);
    }
    create(&ann, "c500", json!({})).await;
    told_is(watches[500].next().await, "ADDED", "c500");
    create(&ann, "c7", json!({})).await;
    told_is(watches[7].next().await, "ADDED", "c7");
}

/// Resident memory of this process, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .next()
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn idle_watches_are_small() {
    const CONNECTIONS: usize = 5;
    const EACH: usize = 1000;
    let (center, ann) = shop().await;
    let mut watches = Vec::new();
    let open = |client: Client, n: usize| async move {
        let path =
            format!("{CONFIG_MAPS}?watch=1&resourceVersion=1&fieldSelector=metadata.name%3Dd{n}");
        client.open(Method::GET, &path, &[], "").await
    };
    for n in 0..500 {
        watches.push(open(ann.clone(), n).await);
    }
    let before = resident();
    for _ in 0..CONNECTIONS {
        let client = center.client(ANN).await;
        for n in 0..EACH {
            watches.push(open(client.clone(), n).await);
        }
    }
    let each = resident().saturating_sub(before) / (CONNECTIONS * EACH);
    // Both ends of each watch are in this process: the server's half has to be well below 8 KiB.
    assert!(
        each < 6 * 1024,
        "{each} bytes for each watch, client and server together"
    );
    println!("{each} bytes for each watch, client and server together");
}
