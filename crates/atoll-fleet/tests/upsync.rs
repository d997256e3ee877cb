//! Upsync: what is born at an edge and a policy names comes up, is shown in the mailbox, and becomes a real object where it is asked for.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use std::sync::Arc;
use std::time::Duration;

use atoll_kube::UserInfo;
use atoll_registry::{Call, ClusterName, Clusters, ListOptions, PatchType, ResourceRef};
use atoll_wire::{Born, BornObject, ObjectRef};
use serde_json::{Value, json};
use support::{Center, Disk, Edge, config_maps, policies};

fn reference(resource: &str, kind: &str, group: &str, name: &str) -> ObjectRef {
    ObjectRef {
        group: group.into(),
        version: "v1".into(),
        kind: kind.into(),
        resource: resource.into(),
        namespace: "default".into(),
        name: name.into(),
        namespaced: true,
    }
}

fn config(name: &str) -> ObjectRef {
    reference("configmaps", "ConfigMap", "", name)
}

fn born(object: ObjectRef, value: &str) -> BornObject {
    let body = json!({"metadata": {"name": "a lie", "uid": "u", "labels": {"own": "label"}}, "data": {"value": value}});
    BornObject {
        object: Some(object),
        uid: "u".into(),
        body: body.to_string().into(),
    }
}

fn gone(object: ObjectRef) -> BornObject {
    BornObject {
        object: Some(object),
        uid: String::new(),
        body: Vec::new().into(),
    }
}

/// What the mailbox of `one` shows of a resource, by name.
async fn mailbox(center: &Center, resource: ResourceRef) -> Vec<(String, Value)> {
    let call = Call {
        user: Arc::new(UserInfo::new("test", ["system:masters"])),
        user_agent: "test".into(),
        clusters: Clusters::One(ClusterName::new("i1")),
        resource,
        namespace: None,
        name: None,
        now: center.registry.now(),
    };
    let mailbox = center.fleet.mailbox();
    let listed = mailbox
        .list(
            &ClusterName::new("i1"),
            "one",
            &call,
            &ListOptions::default(),
        )
        .await;
    let objects = listed.map(|l| l.objects).unwrap_or_default();
    let shown = objects
        .iter()
        .map(|o| (o.name().to_owned(), o.value().unwrap()));
    shown.collect()
}

/// Waits until something is so.
async fn eventually<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    for _ in 0..500 {
        if is().await {
            return;
        }
        // Polls a state that has no event of its own here.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

async fn value_of(center: &Center, cluster: &str, name: &str) -> Option<Value> {
    let client = center.client(cluster);
    let found = client.find(&config_maps(), Some("default"), name).await;
    found.unwrap().map(|o| o["data"]["value"].clone())
}

async fn spec(center: &Center, patch: Value) {
    let client = center.client("p1");
    let patch = json!({"spec": patch});
    let done = client
        .patch(&policies(), None, "bp", PatchType::Merge, patch)
        .await;
    done.unwrap();
}

#[test]
fn what_is_born_at_an_edge_comes_up_stays_fresh_and_goes() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        let clause = json!([{"apiGroup": "", "resources": ["configmaps"], "names": ["report", "other"], "workspace": "p2"},
            {"apiGroup": "nowhere.test", "resources": ["cogs"]}]);
        center
            .policy(
                "p1",
                "bp",
                json!({"clusterSelectors": [{}], "upsync": clause}),
            )
            .await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("it is asked", |e| e.gather.is_some()).await;
        assert_eq!(edge.gather.as_ref().unwrap().clauses.len(), 2);

        // What is asked for comes up; what is not is not kept, whatever the agent says.
        let said = |objects: Vec<BornObject>| Born {
            objects,
            ..Born::default()
        };
        let cog = reference("cogs", "Cog", "nowhere.test", "c1");
        edge.say(said(vec![
            born(config("report"), "1"),
            born(config("unasked"), "1"),
            born(reference("secrets", "Secret", "", "report"), "1"),
            born(cog.clone(), "1"),
        ]))
        .await;
        eventually("the real object is there", || async {
            value_of(&center, "p2", "report-one").await == Some(json!("1"))
        })
        .await;
        let client = center.client("p2");
        let real = client
            .get(&config_maps(), Some("default"), "report-one")
            .await
            .unwrap();
        assert_eq!(
            real["metadata"]["labels"],
            json!({"own": "label", "edge.atoll.dev/upsynced-from": "one"})
        );
        let shown = mailbox(&center, config_maps()).await;
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert_eq!(
            (shown[0].0.as_str(), &shown[0].1["data"]["value"]),
            ("report", &json!("1"))
        );
        // A kind that only the edge knows is shown, too.
        let cogs = mailbox(&center, ResourceRef::new("nowhere.test", "v1", "cogs")).await;
        assert_eq!(cogs.len(), 1);
        assert_eq!(value_of(&center, "p2", "unasked-one").await, None);

        // It is kept fresh, and never goes down again.
        edge.say(said(vec![born(config("report"), "2")])).await;
        eventually("it is fresh", || async {
            value_of(&center, "p2", "report-one").await == Some(json!("2"))
        })
        .await;
        center
            .policy(
                "p2",
                "all",
                json!({"clusterSelectors": [{}], "downsync": [{"resources": ["configmaps"]}]}),
            )
            .await;
        center.config("p2", "down", "1").await;
        edge.until("what is not from an edge goes there", |e| {
            e.disk.configs().contains_key("down")
        })
        .await;
        edge.quiet().await;
        assert!(!edge.disk.configs().contains_key("report-one"));

        // All of it is there after a restart; what went meanwhile goes.
        edge.say(said(vec![born(config("other"), "1")])).await;
        eventually("the other is there", || async {
            value_of(&center, "p2", "other-one").await.is_some()
        })
        .await;
        drop(client);
        let disk = edge.cut();
        center.crash().await;
        let center = Center::open(&directory).await;
        assert_eq!(mailbox(&center, config_maps()).await.len(), 3);
        let mut edge = Edge::connect(&center, &uid, disk).await;
        edge.until("it is asked again", |e| e.gather.is_some())
            .await;
        edge.say(Born {
            objects: vec![born(config("report"), "2"), born(cog.clone(), "1")],
            present: vec![config("report"), cog],
            complete: true,
            beyond: 0,
        })
        .await;
        eventually("what is gone is gone", || async {
            value_of(&center, "p2", "other-one").await.is_none()
        })
        .await;
        assert_eq!(
            value_of(&center, "p2", "report-one").await,
            Some(json!("2"))
        );
        edge.say(said(vec![gone(config("report"))])).await;
        eventually("the first is gone", || async {
            value_of(&center, "p2", "report-one").await.is_none()
        })
        .await;

        // Nothing is asked for any more: the agent is told, and nothing is kept.
        edge.say(said(vec![born(config("report"), "3")])).await;
        eventually("it is back", || async {
            value_of(&center, "p2", "report-one").await.is_some()
        })
        .await;
        spec(&center, json!({"upsync": null})).await;
        edge.until("it is asked for nothing", |e| {
            e.gather.as_ref().is_some_and(|g| g.clauses.is_empty())
        })
        .await;
        eventually("its real objects are gone", || async {
            value_of(&center, "p2", "report-one").await.is_none()
        })
        .await;
    });
}

#[test]
fn an_edge_has_a_quota_and_what_somebody_else_made_stays() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let uid = center.destination("one", json!({"site": "a"})).await;
        center.config("p2", "mine-one", "kept").await;
        let clause = json!([{"apiGroup": "", "resources": ["*"], "workspace": "p2"}]);
        center
            .policy(
                "p1",
                "bp",
                json!({"clusterSelectors": [{}], "upsync": clause}),
            )
            .await;
        let mut edge = Edge::connect(&center, &uid, Disk::default()).await;
        edge.until("it is asked", |e| e.gather.is_some()).await;
        edge.say(Born {
            objects: vec![born(config("mine"), "theirs")],
            ..Born::default()
        })
        .await;
        let says = |words: &'static str| move |s: &Value| s["errors"].to_string().contains(words);
        center
            .status_when("p1", "bp", says("was not made of what came up"))
            .await;
        assert_eq!(
            value_of(&center, "p2", "mine-one").await,
            Some(json!("kept"))
        );

        spec(
            &center,
            json!({"upsync": [{"apiGroup": "", "resources": ["*"]}]}),
        )
        .await;
        let many = (0..1100).map(|i| born(config(&format!("c{i}")), "1"));
        edge.say(Born {
            objects: many.collect(),
            ..Born::default()
        })
        .await;
        center
            .status_when("p1", "bp", says("more than may come up"))
            .await;
        assert_eq!(mailbox(&center, config_maps()).await.len(), 1000);
    });
}
