//! Get and list: revisions, pages, selectors, wildcards.

#![allow(clippy::unwrap_used)] // in helpers too

mod support;

use atoll_registry::{GetOptions, ListOptions, PatchType, VersionMatch};
use serde_json::json;
use support::*;

fn page(limit: u64, token: Option<String>) -> ListOptions {
    ListOptions {
        limit,
        continue_token: token,
        ..ListOptions::default()
    }
}

async fn fill(w: &World, place: &str, names: &[&str]) {
    for name in names {
        w.at(place, "v1/configmaps")
            .create(config_map(name))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn pages_come_from_one_revision_and_count_down() {
    let w = World::new().await;
    fill(&w, "u1/default", &["a", "b", "c", "d", "e"]).await;
    fill(&w, "u2/default", &["z"]).await;
    let at = w.at("u1/default", "v1/configmaps");
    let first = at.list_with(page(2, None)).await.unwrap();
    assert_eq!(first.remaining, Some(3));
    at.delete("c").await.unwrap();
    fill(&w, "u1/default", &["bb"]).await;
    let second = at
        .list_with(page(2, first.continue_token.clone()))
        .await
        .unwrap();
    let third = at
        .list_with(page(2, second.continue_token.clone()))
        .await
        .unwrap();
    let names: Vec<_> = [&first, &second, &third]
        .into_iter()
        .flat_map(|l| l.objects.iter().map(|o| o.name().to_owned()))
        .collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    assert_eq!(
        (second.revision, third.revision),
        (first.revision, first.revision)
    );
    assert_eq!((second.remaining, third.remaining), (Some(1), None));
    assert_eq!(third.continue_token, None);
    let exact = at.list_with(page(5, None)).await.unwrap();
    assert_eq!(
        exact.continue_token, None,
        "a page that just fits is the last"
    );
}

#[tokio::test]
async fn a_token_is_for_its_own_list() {
    let w = World::new().await;
    fill(&w, "u1/default", &["a", "b"]).await;
    let at = w.at("u1/default", "v1/configmaps");
    let token = at.list_with(page(1, None)).await.unwrap().continue_token;
    let other = ListOptions {
        labels: labels("x=y"),
        ..page(1, token.clone())
    };
    assert_eq!(at.list_with(other).await.unwrap_err().code, 400);
    assert_eq!(
        at.list_with(page(1, Some("garbage".into())))
            .await
            .unwrap_err()
            .code,
        400
    );
    let versioned = ListOptions {
        resource_version: Some("1".into()),
        ..page(1, token.clone())
    };
    assert_eq!(at.list_with(versioned).await.unwrap_err().code, 400);
    let elsewhere = w
        .at("u2/default", "v1/configmaps")
        .list_with(page(1, token))
        .await;
    assert_eq!(
        elsewhere.unwrap_err().code,
        400,
        "a token never opens another cluster"
    );
}

#[tokio::test]
async fn an_expired_token_gives_one_that_goes_on() {
    let w = World::new().await;
    fill(&w, "u1/default", &["a", "b", "c"]).await;
    let at = w.at("u1/default", "v1/configmaps");
    let first = at.list_with(page(1, None)).await.unwrap();
    let token = first.continue_token.clone();
    at.patch("a", PatchType::Merge, json!({"data": {"n": "1"}}))
        .await
        .unwrap();
    w.embedded.forget_history().await.unwrap();
    let status = at.list_with(page(1, token)).await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    let token = status.continue_token.map(Into::into);
    assert_eq!(at.names(page(5, token)).await.unwrap(), ["b", "c"]);
}

#[tokio::test]
async fn reads_at_revisions() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let made = at.create(config_map("a")).await.unwrap();
    fill(&w, "u1/default", &["b"]).await;
    let list = |rv: u64, version_match| {
        at.names(ListOptions {
            resource_version: Some(rv.to_string()),
            version_match,
            ..ListOptions::default()
        })
    };
    assert_eq!(
        list(version(&made), Some(VersionMatch::Exact))
            .await
            .unwrap(),
        ["a"]
    );
    assert_eq!(
        list(version(&made), Some(VersionMatch::NotOlderThan))
            .await
            .unwrap(),
        ["a", "b"]
    );
    assert_eq!(list(0, None).await.unwrap(), ["a", "b"]);
    tokio::time::pause();
    let future = w.store.head().0 + 100;
    let status = list(future, None).await.unwrap_err();
    assert_eq!(status.code, 504);
    assert!(
        status.message.contains("Too large resource version"),
        "{status}"
    );
    let call = at.call(Some("a"));
    let get = |rv: &str| GetOptions {
        resource_version: Some(rv.into()),
    };
    assert_eq!(w.registry.get(&call, &get("0")).await.unwrap().name(), "a");
    assert_eq!(
        w.registry
            .get(&call, &get(&future.to_string()))
            .await
            .unwrap_err()
            .code,
        504
    );
    assert_eq!(
        w.registry.get(&call, &get("x")).await.unwrap_err().code,
        400
    );
}

#[tokio::test]
async fn selectors_select() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/secrets");
    for (name, label, ty) in [("a", "x", "t/1"), ("b", "y", "t/2"), ("c", "x", "t/2")] {
        let secret = json!({"metadata": {"name": name, "labels": {"l": label}}, "type": ty});
        at.create(secret).await.unwrap();
    }
    let rows = [
        ("l=x", "", vec!["a", "c"]),
        ("l in (y,z)", "", vec!["b"]),
        ("!l", "", vec![]),
        ("", "type=t/2", vec!["b", "c"]),
        ("l=x", "type!=t/1", vec!["c"]),
        ("", "metadata.name=b", vec!["b"]),
        ("", "metadata.name!=b", vec!["a", "c"]),
        ("", "metadata.namespace=other", vec![]),
        ("", "metadata.name=b,type=t/1", vec![]),
    ];
    for (l, f, expected) in rows {
        let options = ListOptions {
            labels: labels(l),
            fields: fields(f),
            ..ListOptions::default()
        };
        assert_eq!(
            at.names(options).await.unwrap(),
            expected,
            "labels {l:?} fields {f:?}"
        );
    }
    let refused = [
        (
            "v1/configmaps",
            "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        ("v1/secrets", "field label not supported: spec.x"),
    ];
    for (resource, text) in refused {
        let options = ListOptions {
            fields: fields("spec.x=1"),
            ..ListOptions::default()
        };
        let status = w
            .at("u1/default", resource)
            .names(options)
            .await
            .unwrap_err();
        assert_eq!((status.code, &*status.message), (400, text));
    }
}

#[tokio::test]
async fn lists_cover_a_namespace_a_cluster_or_all() {
    let w = World::new().await;
    w.seed_namespace("u1", "other").await;
    fill(&w, "u1/default", &["a"]).await;
    fill(&w, "u1/other", &["b"]).await;
    fill(&w, "u2/default", &["c"]).await;
    let rows = [
        ("u1/default", vec!["a"]),
        ("u1", vec!["a", "b"]),
        ("*", vec!["a", "b", "c"]),
        ("*/default", vec!["a", "c"]),
        ("u1/none", vec![]),
    ];
    for (place, expected) in rows {
        assert_eq!(
            w.at(place, "v1/configmaps")
                .names(ListOptions::default())
                .await
                .unwrap(),
            expected,
            "{place}"
        );
    }
    let wild = w.at("*", "v1/configmaps");
    let objects = wild
        .list_with(ListOptions::default())
        .await
        .unwrap()
        .objects;
    assert_eq!(
        objects[2].value().unwrap()["metadata"]["annotations"]["kcp.io/cluster"],
        "u2"
    );
    assert_eq!(wild.get("a").await.unwrap_err().code, 405);
    assert_eq!(wild.create(config_map("x")).await.unwrap_err().code, 405);
    assert_eq!(wild.delete("a").await.unwrap_err().code, 405);
}

#[tokio::test]
async fn events_of_both_groups_are_the_same_objects() {
    let w = World::new().await;
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i", "action": "Do",
        "reason": "R", "type": "Normal", "note": "hello", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}});
    w.at("u1/default", "events.k8s.io/v1/events")
        .create(event)
        .await
        .unwrap();
    let core = w.at("u1/default", "v1/events").get("e").await.unwrap();
    assert_eq!(core["apiVersion"], "v1");
    assert_eq!(core["message"], "hello");
    assert_eq!(core["involvedObject"]["name"], "p");
    let new = w
        .at("u1/default", "events.k8s.io/v1/events")
        .get("e")
        .await
        .unwrap();
    assert_eq!(
        (&new["apiVersion"], &new["note"]),
        (&json!("events.k8s.io/v1"), &json!("hello"))
    );
    for (resource, field) in [
        ("v1/events", "involvedObject.name=p"),
        ("events.k8s.io/v1/events", "regarding.name=p"),
    ] {
        let options = ListOptions {
            fields: fields(field),
            ..ListOptions::default()
        };
        assert_eq!(
            w.at("u1/default", resource).names(options).await.unwrap(),
            ["e"],
            "{resource}"
        );
    }
}
