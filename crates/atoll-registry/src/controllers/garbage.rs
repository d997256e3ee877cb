//! The garbage collector: what owner references promise.
//!
//! Background: dependents of an owner that is gone go too, or lose the reference when another owner lives. Foreground:
//! they go first, and the owner waits for those that block it. Orphan: they lose the reference, then the owner goes.
//! Works only in clusters where things act; nothing in a payload workspace is ever collected.

use std::time::Duration;

use async_trait::async_trait;
use atoll_kube::{
    GroupResource, Status,
    ids::split_api_version,
    meta::{self, FOREGROUND_DELETION, ORPHAN_DEPENDENTS},
};
use atoll_store::{Append, AppendError, At, Check, Event, Key, Prefix, Snapshot, Write};
use serde_json::Value;

use super::{join, key as parse_key, text};
use crate::{
    ClusterName, DeleteOptions, INDEX_DELETING, INDEX_OWNER, INTERNAL_GROUP, ObjectKey,
    Propagation, Registry, ResourceRef,
    client::Client,
    controller::{Controller, Next},
    indexes,
    read::{read_error, row},
    surface::Surface,
    write::dependents::{GARBAGE, garbage_key},
};

pub(super) struct GarbageCollector;

/// First part of a queue key: an owner is gone; the rest is cluster and uid.
const GONE: &str = "gone";
/// An owner that may be waiting for its dependents; the rest is its store key.
const WAITS: &str = "waits";
/// The same, known by reference: cluster, namespace, apiVersion, kind, name.
const NAMED: &str = "named";

#[async_trait]
impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn resources(&self) -> Vec<GroupResource> {
        Vec::new()
    }

    fn wake(&self, event: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String)) {
        if key.group == INTERNAL_GROUP {
            if key.resource == GARBAGE && !event.is_delete() {
                enqueue(join(&[GONE, key.cluster, key.name]));
            }
            return;
        }
        if let Some(current) = &event.current {
            if row(current).is_ok_and(|r| r.is_deleting() && r.has_finalizers()) {
                enqueue(join(&[WAITS, &text(&event.key)]));
            }
            return;
        }
        // A dependent is gone: perhaps an owner waited for it.
        let Some(version) = &event.previous else {
            return;
        };
        let Ok(previous) = row(&version.row) else {
            return;
        };
        if previous.owners().next().is_none() {
            return;
        }
        let object = previous.value("", "", 0, None);
        for owner in meta::owner_references(&object).filter(|o| o.block_owner_deletion) {
            enqueue(join(&[
                NAMED,
                key.cluster,
                key.namespace,
                owner.api_version,
                owner.kind,
                owner.name,
            ]));
        }
    }

    fn pending(&self, registry: &Registry, enqueue: &mut dyn FnMut(String)) -> Result<(), Status> {
        let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
        for item in snapshot.range(&Prefix::new([INTERNAL_GROUP, GARBAGE, ""]), None) {
            let (key, _) = item.map_err(read_error)?;
            if let Some(parts) = ObjectKey::parse(&key) {
                enqueue(join(&[GONE, parts.cluster, parts.name]));
            }
        }
        for value in snapshot.index_values(INDEX_DELETING, b"") {
            let (value, _) = value.map_err(read_error)?;
            for key in snapshot.index(INDEX_DELETING, &value, None) {
                enqueue(join(&[WAITS, &text(&key.map_err(read_error)?)]));
            }
        }
        Ok(())
    }

    async fn reconcile(&self, registry: &Registry, key: &str) -> Result<Next, Status> {
        let Some((what, rest)) = key.split_once('\0') else {
            return Ok(Next::Done);
        };
        match what {
            GONE => {
                let Some((cluster, uid)) = rest.split_once('\0') else {
                    return Ok(Next::Done);
                };
                owner_gone(registry, ClusterName::new(cluster), uid).await
            }
            WAITS => match parse_key(rest) {
                Some(key) => owner_waits(registry, &key).await,
                None => Ok(Next::Done),
            },
            _ => {
                let parts: Vec<&str> = rest.split('\0').collect();
                let [cluster, namespace, api_version, kind, name] = parts[..] else {
                    return Ok(Next::Done);
                };
                let cluster = ClusterName::new(cluster);
                let surface = registry.surface(&cluster)?;
                match owner_key(&surface, &cluster, namespace, api_version, kind, name) {
                    Some(key) => owner_waits(registry, &key).await,
                    None => Ok(Next::Done),
                }
            }
        }
    }
}

fn owner_key(
    surface: &Surface,
    cluster: &ClusterName,
    namespace: &str,
    api_version: &str,
    kind: &str,
    name: &str,
) -> Option<Key> {
    let (group, _) = split_api_version(api_version);
    let entry = surface.kind(group, kind)?;
    let namespace = entry.definition.namespaced().then_some(namespace);
    Some(entry.id().key(cluster.as_str(), namespace, name))
}

/// One object that names an owner.
struct Dependent {
    key: Key,
    value: Value,
}

fn dependents(
    snapshot: &dyn Snapshot,
    cluster: &ClusterName,
    uid: &str,
) -> Result<Vec<Dependent>, Status> {
    let owned = indexes::value(&[cluster.as_str(), uid]);
    let keys: Vec<Key> = snapshot
        .index(INDEX_OWNER, &owned, None)
        .collect::<Result<_, _>>()
        .map_err(read_error)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        // The index may be newer than the snapshot.
        if let Some(version) = snapshot.get(&key).map_err(read_error)? {
            let value = row(&version.row)?.value("", "", version.modified.0, None);
            found.push(Dependent { key, value });
        }
    }
    Ok(found)
}

/// An owner is gone: its dependents follow it or forget it; then so does the row that said so.
async fn owner_gone(registry: &Registry, cluster: ClusterName, uid: &str) -> Result<Next, Status> {
    let row_key = garbage_key(cluster.as_str(), uid);
    let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
    let Some(row_version) = snapshot.get(&row_key).map_err(read_error)? else {
        return Ok(Next::Done);
    };
    let acts = registry
        .cluster_kind(&cluster)
        .is_ok_and(crate::ClusterKind::collects_garbage);
    if acts {
        let surface = registry.surface(&cluster)?;
        let client = registry
            .as_system(cluster.clone())
            .managed_by("garbage-collector");
        for dependent in dependents(snapshot.as_ref(), &cluster, uid)? {
            if meta::is_deleting(&dependent.value) {
                continue;
            }
            settle(snapshot.as_ref(), &surface, &cluster, &client, dependent).await?;
        }
    }
    let append = Append {
        checks: vec![Check::At(row_key.clone(), row_version.modified)],
        writes: vec![Write::Delete(row_key, None)],
    };
    match registry.store().append(append).await {
        // Written again meanwhile: its own event asks for another look.
        Ok(_) | Err(AppendError::Failed { .. }) => Ok(Next::Done),
        Err(error) => Err(Status::internal(error)),
    }
}

/// Deletes a dependent that has no living owner left; takes the dead ones out of one that has.
async fn settle(
    snapshot: &dyn Snapshot,
    surface: &Surface,
    cluster: &ClusterName,
    client: &Client,
    dependent: Dependent,
) -> Result<(), Status> {
    let namespace = meta::namespace(&dependent.value).to_owned();
    let (mut dead, mut living) = (Vec::new(), 0);
    for owner in meta::owner_references(&dependent.value) {
        // An owner of a kind that is not served here cannot be judged: it counts as living.
        let Some(key) = owner_key(
            surface,
            cluster,
            &namespace,
            owner.api_version,
            owner.kind,
            owner.name,
        ) else {
            living += 1;
            continue;
        };
        let found = snapshot.get(&key).map_err(read_error)?;
        let lives = match found {
            Some(version) => row(&version.row)?.uid() == owner.uid,
            None => false,
        };
        if lives {
            living += 1;
        } else {
            dead.push(owner.uid.to_owned());
        }
    }
    if dead.is_empty() {
        return Ok(());
    }
    if living == 0 {
        return remove(client, &dependent, Propagation::Background).await;
    }
    forget(surface, client, dependent, &dead).await
}

fn resource_of(key: &Key) -> Option<(ResourceRef, ObjectKey<'_>)> {
    let parts = ObjectKey::parse(key)?;
    Some((ResourceRef::new(parts.group, "", parts.resource), parts))
}

async fn remove(
    client: &Client,
    dependent: &Dependent,
    propagation: Propagation,
) -> Result<(), Status> {
    let Some((resource, parts)) = resource_of(&dependent.key) else {
        return Ok(());
    };
    let options = DeleteOptions {
        uid: Some(meta::uid(&dependent.value).to_owned()),
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    match client
        .delete(&resource, parts.namespace(), parts.name, &options)
        .await
    {
        // Another object of that name by now.
        Err(status) if status.is_conflict() => Ok(()),
        Err(status) => Err(status),
        Ok(_) => Ok(()),
    }
}

/// Takes the references to these owners out of a dependent.
async fn forget(
    surface: &Surface,
    client: &Client,
    dependent: Dependent,
    owners: &[String],
) -> Result<(), Status> {
    let Some((resource, parts)) = resource_of(&dependent.key) else {
        return Ok(());
    };
    let kept: Vec<Value> = meta::metadata(&dependent.value)
        .get("ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|o| !owners.iter().any(|uid| o["uid"] == uid.as_str()))
        .cloned()
        .collect();
    if surface.resource(parts.group, parts.resource).is_none() {
        return Ok(());
    }
    let patch = serde_json::json!({ "metadata": {
        "uid": meta::uid(&dependent.value),
        "resourceVersion": meta::resource_version(&dependent.value),
        "ownerReferences": (!kept.is_empty()).then_some(kept),
    }});
    amend(client, &resource, &parts, patch).await
}

/// Patches an object's metadata; that it is gone by now is fine.
async fn amend(
    client: &Client,
    resource: &ResourceRef,
    parts: &ObjectKey<'_>,
    patch: Value,
) -> Result<(), Status> {
    let kind = crate::PatchType::Merge;
    match client
        .patch(resource, parts.namespace(), parts.name, kind, patch)
        .await
    {
        Err(status) if !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}

/// An owner that is being deleted: does what its finalizers of ours ask, and takes them when that is done.
async fn owner_waits(registry: &Registry, key: &Key) -> Result<Next, Status> {
    let Some((resource, parts)) = resource_of(key) else {
        return Ok(Next::Done);
    };
    let cluster = ClusterName::new(parts.cluster);
    let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
    let Some(version) = snapshot.get(key).map_err(read_error)? else {
        return Ok(Next::Done);
    };
    let owner = row(&version.row)?.value("", "", version.modified.0, None);
    let foreground = meta::has_finalizer(&owner, FOREGROUND_DELETION);
    let orphan = meta::has_finalizer(&owner, ORPHAN_DEPENDENTS);
    if !meta::is_deleting(&owner) || !(foreground || orphan) {
        return Ok(Next::Done);
    }
    let uid = meta::uid(&owner);
    let surface = registry.surface(&cluster)?;
    let client = registry
        .as_system(cluster.clone())
        .managed_by("garbage-collector");
    let blocks = |d: &Dependent| {
        meta::owner_references(&d.value).any(|o| o.uid == uid && o.block_owner_deletion)
    };
    if orphan {
        for dependent in dependents(snapshot.as_ref(), &cluster, uid)? {
            forget(&surface, &client, dependent, &[uid.to_owned()]).await?;
        }
    } else {
        for dependent in dependents(snapshot.as_ref(), &cluster, uid)? {
            let blocking = blocks(&dependent);
            if !meta::is_deleting(&dependent.value) {
                let how = if blocking {
                    Propagation::Foreground
                } else {
                    Propagation::Background
                };
                remove(&client, &dependent, how).await?;
            }
        }
        let now = registry.store().snapshot(At::Latest).map_err(read_error)?;
        if dependents(now.as_ref(), &cluster, uid)?.iter().any(blocks) {
            return Ok(Next::After(Duration::from_secs(30)));
        }
    }
    let finalizer = if orphan {
        ORPHAN_DEPENDENTS
    } else {
        FOREGROUND_DELETION
    };
    let kept: Vec<&str> = meta::finalizers(&owner)
        .filter(|f| *f != finalizer)
        .collect();
    let patch = serde_json::json!({ "metadata": {
        "uid": uid,
        "resourceVersion": meta::resource_version(&owner),
        "finalizers": kept,
    }});
    amend(&client, &resource, &parts, patch).await?;
    Ok(Next::Done)
}
