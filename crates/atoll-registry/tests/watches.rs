//! Watch: where it starts, what it tells, how it ends.

#![allow(clippy::unwrap_used)] // in helpers too

mod support;

use std::time::Duration;

use atoll_registry::{EventKind, PatchType, VersionMatch, WatchItem, WatchOptions};
use serde_json::json;
use support::*;

fn from(revision: impl ToString) -> WatchOptions {
    WatchOptions {
        resource_version: Some(revision.to_string()),
        ..WatchOptions::default()
    }
}

#[tokio::test]
async fn a_watch_tells_every_change_after_its_revision_in_order() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let a = at.create(config_map("a")).await.unwrap();
    let mut stream = at.watch(from(version(&a))).await.unwrap();
    at.create(config_map("b")).await.unwrap();
    w.at("u2/default", "v1/configmaps")
        .create(config_map("elsewhere"))
        .await
        .unwrap();
    at.patch("a", PatchType::Merge, json!({"data": {"k": "w"}}))
        .await
        .unwrap();
    at.delete("b").await.unwrap();
    for expected in ["ADDED b", "MODIFIED a"] {
        assert_eq!(next(&mut stream).await, expected);
    }
    let (kind, gone) = next_object(&mut stream).await;
    assert_eq!(
        (kind, &gone["metadata"]["name"]),
        (EventKind::Deleted, &json!("b"))
    );
    assert_eq!(
        version(&gone),
        w.store.head().0,
        "a deleted object carries the revision of its deletion"
    );
    let mut replay = at.watch(from(version(&a))).await.unwrap();
    for expected in ["ADDED b", "MODIFIED a", "DELETED b"] {
        assert_eq!(
            next(&mut replay).await,
            expected,
            "the same again from history"
        );
    }
}

#[tokio::test]
async fn without_a_revision_it_begins_with_what_is_there() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    for name in ["a", "b"] {
        at.create(config_map(name)).await.unwrap();
    }
    for options in [WatchOptions::default(), from(0)] {
        let mut stream = at.watch(options).await.unwrap();
        assert_eq!(next(&mut stream).await, "ADDED a");
        assert_eq!(next(&mut stream).await, "ADDED b");
        at.patch(
            "b",
            PatchType::Merge,
            json!({"data": {"n": w.store.head().to_string()}}),
        )
        .await
        .unwrap();
        assert_eq!(next(&mut stream).await, "MODIFIED b");
    }
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    at.create(config_map("a")).await.unwrap();
    let options = WatchOptions {
        send_initial_events: Some(true),
        version_match: Some(VersionMatch::NotOlderThan),
        bookmarks: true,
        ..WatchOptions::default()
    };
    let mut stream = at.watch(options.clone()).await.unwrap();
    assert_eq!(next(&mut stream).await, "ADDED a");
    match stream.next().await {
        Some(WatchItem::Bookmark {
            revision,
            initial_end: true,
            ..
        }) => assert_eq!(revision, w.store.head()),
        other => panic!("{other:?}"),
    }
    let mut empty = w
        .at("u2/default", "v1/configmaps")
        .watch(options)
        .await
        .unwrap();
    assert_eq!(next(&mut empty).await, "BOOKMARK end");
}

#[tokio::test]
async fn a_quiet_watch_gets_bookmarks_that_move_on() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let a = at.create(config_map("a")).await.unwrap();
    let options = WatchOptions {
        bookmarks: true,
        ..from(version(&a))
    };
    let mut stream = at.watch(options).await.unwrap();
    for i in 0..3 {
        w.at("u2/default", "v1/configmaps")
            .create(config_map(&format!("x{i}")))
            .await
            .unwrap();
    }
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    let revision = match stream.next().await {
        Some(WatchItem::Bookmark {
            revision,
            initial_end: false,
            ..
        }) => revision,
        other => panic!("{other:?}"),
    };
    let waited = before.elapsed();
    assert!(
        waited > Duration::from_secs(50) && waited < Duration::from_secs(70),
        "{waited:?}"
    );
    assert!(revision.0 >= version(&a));
    let mut resumed = at.watch(from(revision)).await.unwrap();
    tokio::time::resume();
    at.create(config_map("b")).await.unwrap();
    assert_eq!(next(&mut resumed).await, "ADDED b");
    assert_eq!(next(&mut stream).await, "ADDED b");
}

#[tokio::test]
async fn selectors_turn_changes_into_comings_and_goings() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let start = w.store.head();
    let set = |label: &'static str| {
        at.patch(
            "a",
            PatchType::Merge,
            json!({"metadata": {"labels": {"l": label}}}),
        )
    };
    at.create(config_map("a")).await.unwrap();
    set("x").await.unwrap();
    at.patch("a", PatchType::Merge, json!({"data": {"k": "2"}}))
        .await
        .unwrap();
    set("y").await.unwrap();
    set("x").await.unwrap();
    at.delete("a").await.unwrap();
    let options = WatchOptions {
        labels: labels("l=x"),
        ..from(start)
    };
    let mut stream = at.watch(options).await.unwrap();
    for expected in ["ADDED a", "MODIFIED a"] {
        assert_eq!(next(&mut stream).await, expected);
    }
    let (kind, gone) = next_object(&mut stream).await;
    assert_eq!(kind, EventKind::Deleted);
    assert_eq!(
        gone["metadata"]["labels"]["l"], "x",
        "shown as it last matched"
    );
    assert_eq!(gone["data"]["k"], "2");
    for expected in ["ADDED a", "DELETED a"] {
        assert_eq!(next(&mut stream).await, expected);
    }
}

#[tokio::test]
async fn field_selectors_and_single_objects_can_be_watched() {
    let w = World::new().await;
    let at = w.at("k1/default", "v1/pods");
    let start = w.store.head();
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    at.create(pod("a")).await.unwrap();
    at.create(pod("b")).await.unwrap();
    let status = w.at("k1/default", "v1/pods/status");
    status
        .patch(
            "b",
            PatchType::Merge,
            json!({"status": {"phase": "Running"}}),
        )
        .await
        .unwrap();
    let mut running = at
        .watch(WatchOptions {
            fields: fields("status.phase=Running"),
            ..from(start)
        })
        .await
        .unwrap();
    assert_eq!(next(&mut running).await, "ADDED b");
    let mut one = at
        .watch(WatchOptions {
            fields: fields("metadata.name=b"),
            ..from(start)
        })
        .await
        .unwrap();
    assert_eq!(next(&mut one).await, "ADDED b");
    assert_eq!(next(&mut one).await, "MODIFIED b");
    let refused = at
        .watch(WatchOptions {
            fields: fields("spec.x=1"),
            ..from(start)
        })
        .await;
    assert_eq!(refused.err().unwrap().code, 400);
}

#[tokio::test]
async fn one_watch_covers_all_clusters() {
    let w = World::new().await;
    let mut stream = w
        .at("*", "v1/configmaps")
        .watch(from(w.store.head()))
        .await
        .unwrap();
    w.at("u1/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap();
    w.at("u2/default", "v1/configmaps")
        .create(config_map("b"))
        .await
        .unwrap();
    let (_, a) = next_object(&mut stream).await;
    let (_, b) = next_object(&mut stream).await;
    let cluster = |v: &serde_json::Value| v["metadata"]["annotations"]["kcp.io/cluster"].clone();
    assert_eq!((cluster(&a), cluster(&b)), (json!("u1"), json!("u2")));
}

#[tokio::test]
async fn the_future_is_refused_and_bad_options_too() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    tokio::time::pause();
    let status = at.watch(from(w.store.head().0 + 100)).await.err().unwrap();
    assert_eq!(status.code, 504);
    assert_eq!(at.watch(from("x")).await.err().unwrap().code, 400);
    let options = WatchOptions {
        send_initial_events: Some(true),
        ..WatchOptions::default()
    };
    let status = at.watch(options).await.err().unwrap();
    assert_eq!(status.code, 422);
    assert!(
        status
            .message
            .contains("sendInitialEvents requires setting resourceVersionMatch"),
        "{status}"
    );
}

#[tokio::test]
async fn a_start_before_the_kept_history_ends_with_410() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let a = at.create(config_map("a")).await.unwrap();
    at.patch("a", PatchType::Merge, json!({"data": {"k": "w"}}))
        .await
        .unwrap();
    w.embedded.forget_history().await.unwrap();
    let mut stream = at.watch(from(version(&a))).await.unwrap();
    match stream.next().await {
        Some(WatchItem::Error(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
            assert!(
                status.message.contains("too old resource version"),
                "{status}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut stream).await, "END");
}
