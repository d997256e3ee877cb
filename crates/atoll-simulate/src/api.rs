//! Writing to the center as any client does, many requests at a time.

use std::time::Duration;

use anyhow::Context as _;
use atoll_client::{Client, Patch};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::center::Center;

/// Requests in flight.
const AT_ONCE: usize = 64;

pub(crate) const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";
pub(crate) const COLLECTORS: &str = "/apis/control.kubestellar.io/v1alpha1/statuscollectors";
pub(crate) const COMBINED: &str = "/apis/control.kubestellar.io/v1alpha1/combinedstatuses";
pub(crate) const ROLLOUT_POLICIES: &str = "/apis/edge.atoll.dev/v1alpha1/rolloutpolicies";
pub(crate) const CUSTOMIZERS: &str = "/apis/edge.atoll.dev/v1alpha1/customizers";
pub(crate) const POLICIES: &str = "/apis/control.kubestellar.io/v1alpha1/bindingpolicies";

/// Creates objects, each below its path; the answers come in the order of the objects.
pub(crate) async fn create_all(
    client: &Client,
    objects: impl Iterator<Item = (String, Value)>,
) -> anyhow::Result<Vec<Value>> {
    let requests = objects.map(|(path, object)| async move {
        client
            .post(&path, &object)
            .await
            .with_context(|| format!("cannot create below {path}"))
    });
    let mut answers = futures::stream::iter(requests).buffered(AT_ONCE);
    let mut made = Vec::new();
    while let Some(answer) = answers.next().await {
        made.push(answer?);
    }
    Ok(made)
}

/// Applies merge patches to objects.
pub(crate) async fn patch_all(
    client: &Client,
    patches: impl Iterator<Item = (String, Value)>,
) -> anyhow::Result<()> {
    let requests = patches.map(|(path, patch)| async move {
        client
            .patch(&path, Patch::Merge, &patch)
            .await
            .with_context(|| format!("cannot change {path}"))
    });
    let mut answers = futures::stream::iter(requests).buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}

/// A whole list, page by page.
pub(crate) async fn list(client: &Client, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let page = client
            .get(&format!("{path}?limit=5000&continue={next}"))
            .await
            .with_context(|| format!("cannot list {path}"))?;
        let Value::Object(mut page) = page else {
            return Ok(items);
        };
        let kind = |v: Option<&Value>| {
            v.and_then(Value::as_str)
                .unwrap_or_default()
                .trim_end_matches("List")
                .to_owned()
        };
        let (api_version, kind) = (
            page.get("apiVersion").cloned().unwrap_or_default(),
            kind(page.get("kind")),
        );
        if let Some(Value::Array(found)) = page.remove("items") {
            items.extend(found.into_iter().map(|mut item| {
                // Items of a list do not repeat what they are.
                item["apiVersion"] = api_version.clone();
                item["kind"] = kind.clone().into();
                item
            }));
        }
        next = page
            .get("metadata")
            .and_then(|m| m.get("continue")?.as_str())
            .unwrap_or_default()
            .to_owned();
        if next.is_empty() {
            return Ok(items);
        }
    }
}

/// Makes a workspace below root and waits until it is ready.
pub(crate) async fn workspace(center: &Center, name: &str, kind: &str) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
        "spec": {"type": {"name": kind, "path": "root"}},
    });
    let root = center.at("root");
    let path = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
    root.post(path, &object)
        .await
        .with_context(|| format!("cannot make workspace root:{name}"))?;
    while root
        .get(&format!("{path}/{name}"))
        .await?
        .pointer("/status/phase")
        != Some(&json!("Ready"))
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
