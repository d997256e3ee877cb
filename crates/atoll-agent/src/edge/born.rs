//! Objects that were born at the edge: those of the kinds that the center asked for, whole, as lists and watches show them.
//!
//! One task looks which kinds there are and watches each; kinds that come later are found at the next look. What is ours is left out: it came from the center.

use std::{collections::BTreeSet, time::Duration};

use atoll_client::{Client, ClientError, Request};
use atoll_wire::{BornObject, GatherClause, ObjectRef};
use http::Method;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Edge, LABEL,
    kinds::{Kinds, Served},
};
use crate::plan::OWN_NAMESPACE;

/// How often is looked which kinds there are.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// How long to wait before a failed list or watch is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long one watch lasts.
const WATCH_SECONDS: u32 = 540;
/// How many objects a page of a list has.
const PAGE: u32 = 100;

/// What is seen.
#[derive(Debug)]
pub enum BornSight {
    /// These are the kinds that are watched (`group/resource`).
    Kinds(BTreeSet<String>),
    /// An object as it is now.
    Seen(BornObject),
    /// An object went away.
    Gone(ObjectRef),
    /// All objects of a kind were told.
    Listed(String, Vec<ObjectRef>),
}

/// A kind that is watched.
#[derive(Clone)]
struct Kind {
    /// Of any object of it: all but namespace and name.
    reference: ObjectRef,
    served: Served,
}

impl Kind {
    fn key(&self) -> String {
        key(&self.reference)
    }
}

/// `group/resource`.
pub fn key(object: &ObjectRef) -> String {
    format!("{}/{}", object.group, object.resource)
}

/// Looks and watches until the receiver is gone.
pub async fn look_out(edge: Edge, clauses: Vec<GatherClause>, tell: mpsc::Sender<BornSight>) {
    let mut watches = JoinSet::new();
    let mut watched = BTreeSet::new();
    loop {
        match kinds(&edge, &clauses).await {
            Ok(found) => {
                let keys: BTreeSet<String> = found.iter().map(Kind::key).collect();
                for kind in found {
                    if watched.insert(kind.key()) {
                        watches.spawn(watch(edge.client.clone(), kind, tell.clone()));
                    }
                }
                if tell.send(BornSight::Kinds(keys)).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "cannot see which kinds the edge has"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = tell.closed() => return,
        }
    }
}

/// The kinds of the edge that some clause names.
async fn kinds(edge: &Edge, clauses: &[GatherClause]) -> Result<Vec<Kind>, ClientError> {
    let groups = if clauses.iter().any(|c| c.any_group) {
        Kinds::groups(&edge.client).await?
    } else {
        let named: BTreeSet<String> = clauses.iter().map(|c| c.group.clone()).collect();
        named.into_iter().collect()
    };
    let mut found = Vec::new();
    for group in groups {
        for (version, name, served) in Kinds::preferred(&edge.client, &group).await? {
            if clauses
                .iter()
                .any(|c| c.has_resource(&group, &served.resource))
            {
                let reference = ObjectRef {
                    group: group.clone(),
                    version,
                    kind: name,
                    resource: served.resource.clone(),
                    namespaced: served.namespaced,
                    ..ObjectRef::default()
                };
                found.push(Kind { reference, served });
            }
        }
    }
    Ok(found)
}

async fn watch(client: Client, kind: Kind, tell: mpsc::Sender<BornSight>) {
    let mut from: Option<String> = None;
    loop {
        let round = match from.take() {
            None => list(&client, &kind, &tell).await.map(Some),
            Some(version) => follow(&client, &kind, version, &tell).await,
        };
        if tell.is_closed() {
            return;
        }
        match round {
            Ok(version) => from = version,
            // The kind went away, and with it all its objects.
            Err(error) if error.is_not_found() => {
                let _ = tell.send(BornSight::Listed(kind.key(), Vec::new())).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) => {
                tracing::debug!(%error, kind = %kind.key(), "cannot see what is born at the edge; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn list(
    client: &Client,
    kind: &Kind,
    tell: &mpsc::Sender<BornSight>,
) -> Result<String, ClientError> {
    let collection = kind.served.collection("");
    let (mut all, mut rest) = (Vec::new(), String::new());
    loop {
        let page = client
            .get(&format!("{collection}?limit={PAGE}{rest}"))
            .await?;
        for item in page["items"].as_array().into_iter().flatten() {
            if let Some(object) = born(kind, item.clone()) {
                all.extend(object.object.clone());
                let _ = tell.send(BornSight::Seen(object)).await;
            }
        }
        match page["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() => rest = format!("&continue={token}"),
            _ => {
                let _ = tell.send(BornSight::Listed(kind.key(), all)).await;
                let version = page["metadata"]["resourceVersion"].as_str();
                return Ok(version.unwrap_or_default().to_owned());
            }
        }
    }
}

/// Follows a watch to its end. Returns where to go on, or `None` when a new list is needed.
async fn follow(
    client: &Client,
    kind: &Kind,
    mut version: String,
    tell: &mpsc::Sender<BornSight>,
) -> Result<Option<String>, ClientError> {
    let path = format!(
        "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}",
        kind.served.collection("")
    );
    let mut lines = match client.lines(Request::new(Method::GET, path)).await {
        Err(error) if error.is_gone() => return Ok(None),
        lines => lines?,
    };
    while let Some(mut event) = lines.next_value().await? {
        let (what, object) = (event["type"].take(), event["object"].take());
        if what == "ERROR" {
            return Ok(None);
        }
        if let Some(at) = object["metadata"]["resourceVersion"].as_str() {
            version = at.to_owned();
        }
        let sight = match what.as_str() {
            Some("DELETED") => reference(kind, &object).map(BornSight::Gone),
            Some("ADDED" | "MODIFIED") => match born(kind, object.clone()) {
                Some(object) => Some(BornSight::Seen(object)),
                // It may have become ours.
                None => reference(kind, &object).map(BornSight::Gone),
            },
            _ => None,
        };
        if let Some(sight) = sight
            && tell.send(sight).await.is_err()
        {
            return Ok(None);
        }
    }
    Ok(Some(version))
}

fn reference(kind: &Kind, object: &Value) -> Option<ObjectRef> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    Some(ObjectRef {
        namespace: text("namespace").to_owned(),
        name: Some(text("name")).filter(|n| !n.is_empty())?.to_owned(),
        ..kind.reference.clone()
    })
}

/// An object that was born here, without what the API server keeps for itself; `None` for one that is ours, or about to go.
fn born(kind: &Kind, mut object: Value) -> Option<BornObject> {
    let reference = reference(kind, &object)?;
    let metadata = object["metadata"].as_object_mut()?;
    let ours = metadata
        .get("labels")
        .is_some_and(|labels| labels.get(LABEL).is_some());
    if ours || reference.namespace == OWN_NAMESPACE || metadata.contains_key("deletionTimestamp") {
        return None;
    }
    for field in [
        "managedFields",
        "resourceVersion",
        "generation",
        "selfLink",
        "ownerReferences",
        "finalizers",
    ] {
        metadata.remove(field);
    }
    let uid = metadata.get("uid").and_then(Value::as_str);
    let uid = uid.unwrap_or_default().to_owned();
    Some(BornObject {
        object: Some(reference),
        uid,
        body: object.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_ours_did_not_come_from_here() {
        let kind = Kind {
            reference: ObjectRef {
                group: "g".into(),
                resource: "reports".into(),
                namespaced: true,
                ..ObjectRef::default()
            },
            served: Served {
                root: "/apis/g/v1".into(),
                resource: "reports".into(),
                namespaced: true,
                has_status: false,
                api_version: "g/v1".into(),
            },
        };
        let object = |labels: Value, namespace: &str| json!({"metadata": {"name": "r", "namespace": namespace, "uid": "u", "resourceVersion": "7", "labels": labels}, "status": {"a": 1}});
        let found = born(&kind, object(json!({}), "shop")).unwrap();
        assert_eq!(found.uid, "u");
        let body: Value = serde_json::from_slice(&found.body).unwrap();
        assert_eq!(body["status"]["a"], 1);
        assert!(body["metadata"].get("resourceVersion").is_none());
        assert!(born(&kind, object(json!({LABEL: "d"}), "shop")).is_none());
        assert!(born(&kind, object(json!({}), OWN_NAMESPACE)).is_none());
    }
}
