//! Deleting everything of one resource in one place, object by object, each with its own event and its finalizers
//! honoured. Used for namespaces, for custom resources, and by the floor above for whole logical clusters.

use std::collections::BTreeMap;

use atoll_kube::{Status, meta};
use atoll_store::{Append, AppendError, At, Check, Key, Version, Write};
use futures::{StreamExt as _, stream};

use crate::{
    ClusterName, Clusters, DeleteOptions, ObjectKey, Propagation, Registry, ResourceId,
    ResourceRef,
    read::{read_error, row},
    write::delete::AT_ONCE,
};

/// Objects looked at between two snapshots.
const CHUNK: usize = 512;

/// What could not be deleted yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Objects that are still there.
    pub objects: u64,
    /// The finalizers that hold them, and how many objects each.
    pub finalizers: BTreeMap<String, u64>,
}

impl Remaining {
    /// Adds what another resource has left.
    pub fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        for (finalizer, count) in &other.finalizers {
            *self.finalizers.entry(finalizer.clone()).or_default() += count;
        }
    }
}

/// Deletes every object of `id` in `cluster` (and `namespace`, when given); says what finalizers still hold.
pub async fn empty(
    registry: &Registry,
    cluster: &ClusterName,
    id: &ResourceId,
    namespace: Option<&str>,
) -> Result<Remaining, Status> {
    let surface = registry.surface(cluster)?;
    let served = surface
        .resource(&id.group, &id.resource)
        .is_some_and(|entry| entry.id() == *id);
    let prefix = id.prefix(&Clusters::One(cluster.clone()), namespace, None);
    let mut remaining = Remaining::default();
    let mut after: Option<Key> = None;
    loop {
        let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
        let chunk: Vec<(Key, Version)> = snapshot
            .range(&prefix, after.as_ref())
            .take(CHUNK)
            .collect::<Result<_, _>>()
            .map_err(read_error)?;
        let Some((last, _)) = chunk.last() else {
            return Ok(remaining);
        };
        after = Some(last.clone());
        let mut deletes = stream::iter(chunk)
            .map(|(key, version)| async move {
                if served {
                    delete(registry, cluster, id, key).await
                } else {
                    erase(registry, key, version).await
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some(held) = deletes.next().await {
            if let Some(finalizers) = held? {
                remaining.objects += 1;
                for finalizer in finalizers {
                    *remaining.finalizers.entry(finalizer).or_default() += 1;
                }
            }
        }
    }
}

/// Deletes one object as the system; gives the finalizers that hold it, `None` when it is gone.
async fn delete(
    registry: &Registry,
    cluster: &ClusterName,
    id: &ResourceId,
    key: Key,
) -> Result<Option<Vec<String>>, Status> {
    let Some(parts) = ObjectKey::parse(&key) else {
        return Ok(None);
    };
    let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
    let Some(version) = snapshot.get(&key).map_err(read_error)? else {
        return Ok(None);
    };
    if !row(&version.row)?.is_deleting() {
        let resource = ResourceRef::new(&id.group, "", &id.resource);
        let options = DeleteOptions {
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        let client = registry.as_system(cluster.clone());
        if client
            .delete(&resource, parts.namespace(), parts.name, &options)
            .await?
        {
            return Ok(None);
        }
    }
    let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
    let Some(version) = snapshot.get(&key).map_err(read_error)? else {
        return Ok(None);
    };
    let object = row(&version.row)?.value("", "", 0, None);
    Ok(Some(meta::finalizers(&object).map(str::to_owned).collect()))
}

/// Deletes a row whose resource nobody serves any more: there is no API through which its finalizers could be taken.
async fn erase(
    registry: &Registry,
    key: Key,
    version: Version,
) -> Result<Option<Vec<String>>, Status> {
    let append = Append {
        checks: vec![Check::At(key.clone(), version.modified)],
        writes: vec![Write::Delete(key, None)],
    };
    match registry.store().append(append).await {
        Ok(_) => Ok(None),
        Err(AppendError::Failed { current: None, .. }) => Ok(None),
        Err(error) => Err(Status::internal(error)),
    }
}
