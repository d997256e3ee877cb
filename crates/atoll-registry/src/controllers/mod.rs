//! The controllers that belong to the API itself, for all logical clusters at once: emptying namespaces, emptying custom
//! resources before their definition goes, collecting garbage, showing
//! what quotas count. Each resumes from indexes and rows, not from memory.

mod crd;
mod empty;
mod garbage;
mod namespace;
mod quota;

use std::sync::Arc;

use atoll_kube::Status;
use atoll_store::{At, Key};
use bytes::Bytes;

pub use empty::{Remaining, empty};

use crate::{INDEX_DELETING, ObjectKey, Registry, controller::Driver, indexes, read::read_error};

/// The driver with all of them: what every server runs.
#[must_use]
pub fn all(driver: Driver) -> Driver {
    driver
        .with(Arc::new(namespace::Namespaces))
        .with(Arc::new(crd::CustomResources))
        .with(Arc::new(garbage::GarbageCollector))
        .with(Arc::new(quota::Quotas))
}

/// The objects of a resource that are being deleted, as queue keys of cluster and name.
fn pending_deletions(
    registry: &Registry,
    group: &str,
    resource: &str,
    enqueue: &mut dyn FnMut(String),
) -> Result<(), Status> {
    let snapshot = registry.store().snapshot(At::Latest).map_err(read_error)?;
    let family = indexes::value(&[group, resource, ""]);
    for key in snapshot.index(INDEX_DELETING, &family, None) {
        let key = key.map_err(read_error)?;
        if let Some(parts) = ObjectKey::parse(&key) {
            enqueue(join(&[parts.cluster, parts.name]));
        }
    }
    Ok(())
}

/// A queue key made of parts (none of which contains a zero byte).
fn join(parts: &[&str]) -> String {
    parts.join("\0")
}

/// A store key as a queue key. Keys of served objects are text.
fn text(key: &Key) -> String {
    String::from_utf8_lossy(key.as_bytes()).into_owned()
}

/// The inverse of [`text`].
fn key(text: &str) -> Option<Key> {
    Key::from_bytes(Bytes::copy_from_slice(text.as_bytes())).ok()
}
