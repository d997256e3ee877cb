//! Reading objects straight from a snapshot of the store, for code that runs inside a request or an append and therefore
//! has to see exactly one revision.

use atoll_kube::{RowRef, Status};
use atoll_registry::{ClusterName, Clusters, ObjectKey, ResourceId};
use atoll_store::{Key, ReadError, Snapshot, Version};
use serde_json::Value;

/// An object as stored, with its key and revisions.
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) version: Version,
    pub(crate) value: Value,
}

/// One object, or `None`.
pub(crate) fn find(
    snapshot: &dyn Snapshot,
    resource: &ResourceId,
    cluster: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<Stored>, Status> {
    let key = resource.key(cluster, namespace, name);
    match snapshot.get(&key).map_err(unreadable)? {
        None => Ok(None),
        Some(version) => Ok(Some(Stored {
            value: parse(&key, &version)?,
            key,
            version,
        })),
    }
}

/// Every object of a resource in a cluster, across its namespaces.
pub(crate) fn all(
    snapshot: &dyn Snapshot,
    resource: &ResourceId,
    cluster: &str,
) -> Result<Vec<Value>, Status> {
    let prefix = resource.prefix(&Clusters::One(ClusterName::new(cluster)), None, None);
    let mut objects = Vec::new();
    for item in snapshot.range(&prefix, None) {
        let (key, version) = item.map_err(unreadable)?;
        objects.push(parse(&key, &version)?);
    }
    Ok(objects)
}

/// A row as a value without apiVersion and kind.
pub(crate) fn parse(key: &Key, version: &Version) -> Result<Value, Status> {
    match RowRef::parse(&version.row) {
        Ok(row) => Ok(row.value("", "", version.modified.0, None)),
        Err(error) => Err(Status::internal(format!("{key:?}: {error}"))),
    }
}

/// A key's parts; keys of objects always have them.
pub(crate) fn parts(key: &Key) -> Option<ObjectKey<'_>> {
    ObjectKey::parse(key)
}

/// The replica cannot be read: nobody's fault but ours.
pub(crate) fn unreadable(error: ReadError) -> Status {
    Status::internal(error)
}
