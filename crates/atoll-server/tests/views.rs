//! Read-only APIs under `/services/`.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{Definition, GroupResource, Status, UserInfo, builtin};
use atoll_registry::{
    Attributes, Call, ClusterName, Clusters, GetOptions, List, ListOptions, Object, Registry,
    WatchOptions, WatchStream,
};
use atoll_server::View;
use common::{ANN, ROOT, single, start_with};
use http::Method;
use serde_json::json;

/// Shows the ConfigMaps of the one cluster to those who may `look`.
struct Window(Registry);

impl Window {
    fn call(call: &Call) -> Call {
        Call {
            clusters: Clusters::One(ClusterName::new("one")),
            ..call.clone()
        }
    }
}

#[async_trait]
impl View for Window {
    fn name(&self) -> &'static str {
        "window"
    }

    fn address_length(&self) -> usize {
        2
    }

    fn attributes(
        &self,
        address: &[String],
        user: Arc<UserInfo>,
        verb: &str,
    ) -> Result<Attributes, Status> {
        Ok(Attributes {
            user,
            verb: verb.to_owned(),
            clusters: Clusters::One(ClusterName::new("one")),
            group: "house.example".to_owned(),
            version: "v1".to_owned(),
            resource: "windows".to_owned(),
            subresource: None,
            namespace: None,
            name: Some(address.join("-")),
            path: None,
        })
    }

    async fn definitions(&self, _: &[String]) -> Result<Vec<Arc<Definition>>, Status> {
        let config_maps = builtin::lookup(&GroupResource::new("", "configmaps"));
        Ok(config_maps.into_iter().cloned().collect())
    }

    async fn get(&self, _: &[String], call: &Call, options: &GetOptions) -> Result<Object, Status> {
        self.0.get(&Self::call(call), options).await
    }

    async fn list(&self, _: &[String], call: &Call, options: &ListOptions) -> Result<List, Status> {
        self.0.list(&Self::call(call), options).await
    }

    async fn watch(
        &self,
        _: &[String],
        call: &Call,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        self.0.watch(&Self::call(call), options).await
    }
}

#[tokio::test]
async fn a_view_is_read_only_discoverable_and_guarded() {
    let center = start_with(single(), |builder| {
        let registry = builder.registry().clone();
        builder.view(Arc::new(Window(registry)))
    })
    .await;
    let ann = center.client(ANN).await;
    let made = ann
        .post(
            "/api/v1/namespaces",
            &json!({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"n"}}),
        )
        .await;
    assert_eq!(made.status.as_u16(), 201);
    let body = json!({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}});
    ann.post("/api/v1/namespaces/n/configmaps", &body).await;

    let base = "/services/window/east/2";
    let resources = ann.get(&format!("{base}/api/v1")).await.json();
    assert_eq!(resources["resources"].as_array().unwrap().len(), 1);
    assert_eq!(
        ann.get(&format!("{base}/api/v1/configmaps")).await.json()["items"][0]["metadata"]["name"],
        "a"
    );
    let path = format!("{base}/api/v1/namespaces/n/configmaps/a");
    assert_eq!(ann.get(&path).await.json()["kind"], "ConfigMap");
    let frame = ann
        .watch(&format!("{base}/api/v1/configmaps?watch=1"), &[])
        .await
        .next()
        .await
        .unwrap();
    assert_eq!(frame["type"], "ADDED");

    assert_eq!(
        ann.send(Method::DELETE, &path, &[], "")
            .await
            .status
            .as_u16(),
        405
    );
    assert_eq!(ann.get("/services/window/east").await.status.as_u16(), 404);
    assert_eq!(
        ann.get("/services/door/east/2/api/v1")
            .await
            .status
            .as_u16(),
        404
    );
    assert_eq!(center.connect().await.get(&path).await.status.as_u16(), 401);
    let root = center.client(ROOT).await;
    let as_bob = root.get_with(&path, &[("impersonate-user", "bob")]).await;
    assert_eq!(
        as_bob.status.as_u16(),
        403,
        "who acts as another sees what the other may see"
    );
    assert!(as_bob.text().contains("east-2"), "{}", as_bob.text());
}

#[tokio::test]
async fn an_overlay_fills_in_what_is_read_and_stores_nothing() {
    let center = start_with(single(), |builder| {
        let seen: atoll_server::Overlay =
            Arc::new(|object, value| value["data"]["seen"] = object.name().into());
        builder.overlay(GroupResource::new("", "configmaps"), seen)
    })
    .await;
    let ann = center.client(ANN).await;
    ann.post(
        "/api/v1/namespaces",
        &json!({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"n"}}),
    )
    .await;
    let path = "/api/v1/namespaces/n/configmaps";
    ann.post(
        path,
        &json!({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"k":"v"}}),
    )
    .await;
    assert_eq!(
        ann.get(&format!("{path}/a")).await.json()["data"]["seen"],
        "a"
    );
    assert_eq!(ann.get(path).await.json()["items"][0]["data"]["seen"], "a");
    let frame = ann
        .watch(&format!("{path}?watch=1"), &[])
        .await
        .next()
        .await
        .unwrap();
    assert_eq!(frame["object"]["data"]["seen"], "a");
    assert_eq!(
        ann.get("/api/v1/namespaces/n").await.json()["data"],
        json!(null)
    );
    let stored = center.registry.as_system(ClusterName::new("one"));
    let call = stored
        .get(
            &atoll_registry::ResourceRef::new("", "v1", "configmaps"),
            Some("n"),
            "a",
        )
        .await
        .unwrap();
    assert_eq!(call["data"], json!({"k":"v"}));
}
